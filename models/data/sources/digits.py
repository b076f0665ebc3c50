"""`digits`: scikit-learn's real scanned digits as two views, the left and the right half of the image."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.values import InputSpec

CITE = "Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), as shipped by scikit-learn"


def load(*, root: Path | None = None, standardize: Literal["feature", "modality"] = "feature") -> Dataset:
    """Return 1,797 digits, modalities `left` and `right` (32,) each; 1,000 train, 300 validation, 497 test.

    Splits follow the order of the file. The source does not say who wrote which, so a writer may stand in
    two splits. `standardize` says whether each pixel has its own mean and std or a half of the image has one.
    """
    table = np.loadtxt(files()[0], np.uint8, delimiter=",")  # importing scikit-learn for it takes a second
    images, target = table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(np.int64)
    inputs = {"left": images[:, :, :4].reshape(-1, 32), "right": images[:, :, 4:].reshape(-1, 32)}
    rows = {"train": np.arange(1000), "validation": np.arange(1000, 1300), "test": np.arange(1300, 1797)}
    kinds = dict.fromkeys(inputs, "vector")
    return standardized(assemble("digits", inputs, target, rows, kinds, n_classes=10, cite=CITE), standardize)


def inputs(*, root: Path | None = None, **_: object) -> dict[str, InputSpec]:
    """Return the two halves."""
    return dict.fromkeys(("left", "right"), InputSpec("vector", (32,)))


def files(*, root: Path | None = None, **_: object) -> list[Path]:
    """Return the file that decides the content, found without importing scikit-learn."""
    home = Path(find_spec("sklearn").submodule_search_locations[0])
    return [home / "datasets" / "data" / "digits.csv.gz"]
