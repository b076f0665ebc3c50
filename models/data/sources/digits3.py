"""`digits3`: spoken, written and signed digits, real recordings of real people, paired by their class."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.files import find, read
from sweeper.models.data.splits import SPLITS, subset
from sweeper.models.errors import UserError
from sweeper.models.streams import numpy_stream
from sweeper.models.values import InputSpec

CITE = (
    "Jackson et al., Free Spoken Digit Dataset (2018, CC BY-SA 4.0); Alpaydin & Kaynak, Optical Recognition"
    " of Handwritten Digits (UCI, 1998, CC BY 4.0); Mavi, Sign Language Digits (arXiv:2011.08927, Apache-2.0)"
)
PIXELS = {"spoken": 32, "written": 8, "signed": 32}  # on either side
FILE = "digits3/spoken_written_signed_digits.npz"
N_CLASSES = 10
PER_CLASS = {"train": 200, "validation": 50, "test": 100}
FIRST_VALIDATION = {"spoken": 4, "written": 3250, "signed": 154}
FIRST_TEST = {"spoken": 5, "signed": 187}


def load(
    *,
    root: Path | None = None,
    pairing_seed: int = 0,
    modalities: list[Literal["spoken", "written", "signed"]] | None = None,
) -> Dataset:
    """Return 2,000 train, 500 validation and 1,000 test digits, balanced, as uint8 images.

    Modalities: `spoken` (1, 32, 32) log-mel, `written` (1, 8, 8), `signed` (1, 32, 32) grey. Rows of a split
    run through the classes in turn. Raises UserError if the file is missing or not this data.

    Who is where: spoken, speakers 0-3 train, 4 validation, 5 test. Signed, students 0-153 train, 154-186
    validation, 187-219 test. Written, test is the 13 writers that the source keeps apart; validation is the
    last 573 of the other 30 writers' 3,823 images, and these writers are in train too, because the source
    does not say who wrote which. So nobody in test is in train or validation, in any modality.

    Pairing is by class within a split, so modalities are independent given the class. Train and validation
    have as many triples as spoken recordings; test has twice as many, each spoken one with two partners, so
    its triples are not independent. In each class a modality's recordings are dealt in shuffled rounds: how
    often two of them are used differs by one at most. `pairing_seed` changes partners (and, where a modality
    has more recordings than are needed, which are used), never who is in which split; leaving a modality out
    changes nothing in the others.
    """
    path = files(root=root)[0]
    raw = read("digits3", path)
    inputs, sizes = {}, [PER_CLASS[split] * N_CLASSES for split in SPLITS]
    for modality in subset("digits3", "modality", modalities, list(PIXELS)):
        try:
            split, label = _splits(modality, raw), raw[f"{modality}_label"]
            picks = [_deal(modality, s, split, label, pairing_seed) for s in SPLITS]
            inputs[modality] = raw[modality][np.concatenate(picks), None]
        except KeyError as error:
            raise UserError(
                f"dataset 'digits3': {path} lacks the array {error}; it is another file"
            ) from error
    starts = np.cumsum([0, *sizes])
    rows = {s: np.arange(a, b) for s, a, b in zip(SPLITS, starts, starts[1:], strict=False)}
    target = np.arange(sum(sizes)) % N_CLASSES
    kinds = dict.fromkeys(inputs, "image")
    return standardized(assemble("digits3", inputs, target, rows, kinds, n_classes=N_CLASSES, cite=CITE))


def inputs(
    *, root: Path | None = None, modalities: list[str] | None = None, **_: object
) -> dict[str, InputSpec]:
    """Return the chosen modalities."""
    chosen = subset("digits3", "modality", modalities, list(PIXELS))
    return {m: InputSpec("image", (1, PIXELS[m], PIXELS[m])) for m in chosen}


def files(*, root: Path | None = None, **_: object) -> list[Path]:
    """Return the one file; no option changes which."""
    return [find("digits3", root, FILE, "the file of spoken, written and signed digits")]


def _splits(modality: str, raw: dict[str, np.ndarray]) -> np.ndarray:
    """Return 0, 1 or 2 (train, validation, test) for each recording of a modality."""
    if modality == "written":
        source = raw["written_split"]
        late = np.cumsum(source == 0) > FIRST_VALIDATION["written"]
        return np.where(source == 1, 2, late.astype(int))
    person = raw[{"spoken": "spoken_speaker", "signed": "signed_student"}[modality]]
    return np.digitize(person, [FIRST_VALIDATION[modality], FIRST_TEST[modality]])


def _deal(modality: str, split: str, splits: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
    """Return which recordings of a modality fill a split, (rows,), classes in turn."""
    rng = numpy_stream(seed, "digits3", split, modality)
    n = PER_CLASS[split]
    picks = np.empty(n * N_CLASSES, dtype=np.int64)
    for c in range(N_CLASSES):
        own = np.flatnonzero((splits == SPLITS.index(split)) & (label == c))
        rounds = [rng.permutation(own) for _ in range(-(-n // len(own)))]
        picks[c::N_CLASSES] = np.concatenate(rounds)[:n]
    return picks
