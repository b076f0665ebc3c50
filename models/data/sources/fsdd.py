"""`fsdd`: spoken digits from sound files, two views of each recording (mel bands and plain frequencies)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.files import find
from sweeper.models.data.readers.sound import Sound
from sweeper.models.data.readers.store import default_cache, stored
from sweeper.models.data.splits import subset
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, Positive
from sweeper.models.values import InputSpec

CITE = "Jackson et al., Free Spoken Digit Dataset (2018, CC BY-SA 4.0)"
FOLDER = "fsdd_mini_flac"
NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)")
VIEWS = ("logmel", "logstft")


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    views: list[Literal["logmel", "logstft"]] | None = None,
    sample_rate: Count = 8000,
    seconds: Positive = 1.0,
    n_fft: Count = 256,
    hop: Count = 256,
    n_mels: Count = 32,
) -> Dataset:
    """Return the recordings fsdd_mini_flac/{digit}_{speaker}_{take}.flac (or .wav), a row each, by name.

    Modalities: `logmel` (1, n_mels, T) and `logstft` (1, 1 + n_fft // 2, T), in dB, where T = 1 + seconds ×
    sample_rate // hop. Splits are by speaker in alphabetical order: the last is test, the last but one
    validation, the others train, so nobody is heard in two splits; takes 0-4 of six speakers give 200, 50 and
    50 rows. Without `cache` the spectrograms stay among the user's temporary files. Raises UserError for a
    missing folder, a file whose name does not tell, fewer than three speakers, a file that cannot be read.
    """
    paths = files(root=root)
    labels = [NAME.fullmatch(p.stem) for p in paths]
    for path, label in zip(paths, labels, strict=True):
        if not label:
            raise UserError(
                f"dataset 'fsdd': {path.name} does not read {{digit}}_{{speaker}}_{{take}}; rename it"
            )
    target = np.array([int(label["digit"]) for label in labels])
    names, speaker = np.unique([label["speaker"] for label in labels], return_inverse=True)
    if len(names) < 3:
        raise UserError(
            f"dataset 'fsdd' has the speakers {', '.join(names)}; three are needed, one for each split"
        )
    split = np.digitize(speaker, [len(names) - 2, len(names) - 1])
    rows = {s: np.flatnonzero(split == i) for i, s in enumerate(("train", "validation", "test"))}
    settings = {"sample_rate": sample_rate, "seconds": seconds, "n_fft": n_fft, "hop": hop, "n_mels": n_mels}
    kinds = subset("fsdd", "view", views, VIEWS)
    inputs = {kind: _spectrograms(paths, Sound(form=kind, **settings), cache) for kind in kinds}
    given = dict.fromkeys(kinds, "image")
    return standardized(assemble("fsdd", inputs, target, rows, given, n_classes=10, cite=CITE))


def _spectrograms(paths: list[Path], reader: Sound, cache: Path | None) -> np.ndarray:
    """Return a view of all recordings; raise UserError for the first that cannot be read."""
    found, _, failures = stored([(path,) for path in paths], reader, cache or default_cache())
    if failures:
        told = "; ".join(f"{paths[row].name}: {why}" for row, why in list(failures.items())[:3])
        raise UserError(
            f"dataset 'fsdd': {len(failures)} of {len(paths)} recordings in {paths[0].parent} cannot be read ({told});"
            " replace them or take them away"
        )
    return found


def inputs(
    *, root: Path | None = None, views: list[str] | None = None, **settings: float
) -> dict[str, InputSpec]:
    """Return the chosen views."""
    chosen = subset("fsdd", "view", views, VIEWS)
    return {kind: Sound(form=kind, **settings).spec() for kind in chosen}


def files(*, root: Path | None = None, **_: object) -> list[Path]:
    """Return the sound files in the order of their names; raise UserError if there are none."""
    what = "recordings named {digit}_{speaker}_{take}.flac or .wav"
    folder = find("fsdd", root, FOLDER, what)
    found = sorted(p for p in folder.iterdir() if p.suffix in (".flac", ".wav"))
    if not found:
        raise UserError(f"dataset 'fsdd': {folder} has no sound files; put {what} there")
    return found
