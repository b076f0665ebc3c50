"""From samples and readers to a dataset: what cannot be used is found, counted and named; the rest is read once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.files import flaw
from sweeper.models.data.labels import PICTURES
from sweeper.models.data.readers import store
from sweeper.models.data.readers.base import Cell, Reader, Unreadable
from sweeper.models.data.samples import Samples
from sweeper.models.data.splits import SPLITS, divided
from sweeper.models.data.targets import VOID_BYTE, voided
from sweeper.models.errors import UserError, one_line
from sweeper.models.values import InputSpec

SHOWN = 3  # of what cannot be used, by name
MASKS = "(target)"  # the column of masks, beside those of modalities

Missing = Literal["refuse", "drop", "absent"]
Flaw = tuple[str, str]  # what cannot be used, and why


def read(
    samples: Samples,
    readers: Mapping[str, Reader],
    *,
    cache: Path | None,
    missing: Missing = "refuse",
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: float = 0.15,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the dataset of what `readers` {modality: reader} read, kept in `cache` or among the temporary files.

    A row with a file that is missing, empty, a Git-LFS pointer, of another type or unreadable is refused, left out of
    all splits (`drop`), or lacks that modality (`absent`). A row without any modality or without its mask is refused or
    left out. An empty cell is a modality that the row lacks. Splits are those of the samples, drawn as `splits.divided`
    does where none is given; a row that names none where others do is in none. Masks (H, W) of classes, 255 where void,
    become as large as the first image, and are cropped or padded as it is. Raises UserError, also as `assemble` does.
    """
    columns = _checked(samples, readers, missing)
    arrays, lengths = {}, {}
    for m, column in columns.items():
        arrays[m], steps, failed = _stored(column, cache)
        if steps is not None:
            lengths[m] = steps
        column.flaws |= {row: (column.names(samples, row), why) for row, why in failed.items()}
    _refuse(samples, columns, missing)
    kept = _kept(samples, columns, missing)
    given = np.array([SPLITS.index(split) if split else -1 for split in samples.split])
    rows = divided(
        samples.name,
        np.flatnonzero(kept),
        given if any(samples.split) else None,
        samples.target,
        samples.group,
        validation=validation_fraction,
        test=test_fraction,
        seed=split_seed,
    )
    target = voided(arrays.pop(MASKS)[:, 0]) if MASKS in arrays else samples.target
    _check_classes(samples, rows["train"])
    specs = inputs(samples, readers)
    dataset = assemble(
        samples.name,
        arrays,
        target,
        rows,
        {m: spec.kind for m, spec in specs.items()},
        cite=samples.cite + _told(kept, columns),
        task=samples.task,
        n_classes=len(samples.classes) or None,
        present={m: columns[m].there | ~kept for m in arrays},
        lengths=lengths,
    )
    known = {m: replace(specs[m], shape=spec.shape) for m, spec in dataset.spec.modalities.items()}
    dataset = replace(dataset, spec=replace(dataset.spec, modalities=known, classes=samples.classes))
    return dataset if standardize == "none" else standardized(dataset, standardize)


def files(samples: Samples, readers: Mapping[str, Reader]) -> list[Path]:
    """Return every file whose contents decide the data and that is there, each once."""
    columns = _columns(samples, readers).values()
    named = (path for column in columns for cell in column.cells if cell for path in column.paths(cell))
    every = [*named, *(path for reader in readers.values() for path in reader.weights())]
    return [path for path in dict.fromkeys(every) if _is_file(path)]


def inputs(samples: Samples, readers: Mapping[str, Reader]) -> dict[str, InputSpec]:
    """Return the modalities in the order of the samples; no cell is read."""
    return {m: readers[m].spec() for m in samples.cells}


def check(samples: Samples, readers: Mapping[str, Reader], missing: Missing = "refuse") -> None:
    """Raise UserError for files that `read` would refuse before it opens any; say on stderr what it does without."""
    flaws = _flaws(_checked(samples, readers, missing))
    if flaws:
        what = "their rows are left out" if missing == "drop" else "their rows lack the modality"
        print(f"dataset {samples.name!r}: {_summary(flaws)}; {what}", file=sys.stderr)


@dataclass
class _Column:
    """A modality's cells, or the masks, with their reader, and what is wrong with them {row: flaw}."""

    name: str
    cells: Sequence[Cell | None]
    reader: Reader
    flaws: dict[int, Flaw]

    @property
    def there(self) -> np.ndarray:
        """Which rows (N,) have a cell without a flaw."""
        return np.array([cell is not None and row not in self.flaws for row, cell in enumerate(self.cells)])

    def paths(self, cell: Cell) -> tuple[Path, ...]:
        """Return the files of a cell; of a folder, those in it."""
        return tuple(store.files(cell)) if self.reader.suffixes else ()

    def names(self, samples: Samples, row: int) -> str:
        """Return what a message calls a row's cell: its first file, or its row."""
        if self.reader.suffixes:
            return str(self.cells[row][0])
        return f"{self.name} of row {samples.ids[row]!r}"


def _checked(samples: Samples, readers: Mapping[str, Reader], missing: Missing) -> dict[str, _Column]:
    """Return the columns with the flaws that are seen from outside."""
    columns = _columns(samples, readers)
    for column in columns.values():
        column.flaws = _unusable(column)
    _refuse(samples, columns, missing)
    return columns


def _columns(samples: Samples, readers: Mapping[str, Reader]) -> dict[str, _Column]:
    found = {m: _Column(m, cells, readers[m], {}) for m, cells in samples.cells.items()}
    if samples.task == "segmentation":
        found[MASKS] = _Column(MASKS, [(path,) for path in samples.target], _mask(samples, readers), {})
    return found


def _mask(samples: Samples, readers: Mapping[str, Reader]) -> _Mask:
    """Return the reader of masks, which fits them to the first image; raise UserError if there is none."""
    for m, spec in inputs(samples, readers).items():
        if spec.kind == "image":
            return _Mask(size=spec.shape[1:], fit=getattr(readers[m], "fit", "stretch"))
    raise UserError(f"dataset {samples.name!r}: segmentation needs an image; no modality is one")


def _unusable(column: _Column) -> dict[int, Flaw]:
    """Return {row: (file, why)} of the cells whose files need not be opened by a reader to know that it cannot."""
    known: dict[Path, str] = {}
    found: dict[int, Flaw] = {}
    for row, cell in enumerate(column.cells):
        for path in cell if cell is not None and column.reader.suffixes else ():
            if path not in known:
                known[path] = _why_unusable(path, column.reader.suffixes)
            if known[path]:
                found.setdefault(row, (str(path), known[path]))
    return found


def _why_unusable(path: Path, suffixes: tuple[str, ...]) -> str:
    """Return why a file cannot be used, in a word or two, or nothing."""
    if why := flaw(path):
        return why
    return "" if path.is_dir() or path.suffix.lower() in suffixes else f"no {' or '.join(suffixes)}"


def _refuse(samples: Samples, columns: Mapping[str, _Column], missing: Missing) -> None:
    """Raise UserError for flaws, where they are to be refused."""
    flaws = _flaws(columns)
    if not flaws and missing == "refuse":
        lacking = ~np.any([c.there for m, c in columns.items() if m != MASKS], axis=0)
        flaws = [(f"row {samples.ids[row]!r}", "without any modality") for row in np.flatnonzero(lacking)]
    if flaws and missing == "refuse":
        raise UserError(
            f"dataset {samples.name!r}: {_summary(flaws)}; put that right, or say missing: drop, which leaves the rows"
            " out, or missing: absent, after which they lack the modality"
        )


def _flaws(columns: Mapping[str, _Column]) -> list[Flaw]:
    return [flaw for column in columns.values() for flaw in column.flaws.values()]


def _summary(flaws: Iterable[Flaw]) -> str:
    """Return how many files or rows cannot be used and why, the first few by name."""
    different = list(dict.fromkeys(flaws))
    reasons = Counter(why for _, why in different)
    counts = ", ".join(f"{count} {why}" for why, count in reasons.most_common(SHOWN))
    more = ", …" if len(reasons) > SHOWN else ""
    shown = ", ".join(one_line(what) for what, _ in different[:SHOWN])
    rest = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
    noun = "cell" if len(different) == 1 else "cells"
    return f"{len(different)} {noun} cannot be used ({counts}{more}): {shown}{rest}"


def _stored(column: _Column, cache: Path | None) -> tuple[np.ndarray, np.ndarray | None, dict[int, str]]:
    """Return what `stored` does of the cells that are there; the rows of the others are 0 and no failures."""
    there = column.there
    nothing: Cell = () if column.reader.suffixes else ""  # which no reader makes a sample of
    cells = [cell if ok else nothing for cell, ok in zip(column.cells, there, strict=True)]
    array, lengths, failed = store.stored(cells, column.reader, cache or store.default_cache())
    return array, lengths, {row: why for row, why in failed.items() if there[row]}


def _kept(samples: Samples, columns: Mapping[str, _Column], missing: Missing) -> np.ndarray:
    """Return which rows (N,) stand in a split; raise UserError where a modality lacks throughout."""
    there = {m: column.there for m, column in columns.items()}
    for m, own in there.items():
        if not own.any():
            raise UserError(f"dataset {samples.name!r}: no row has {m!r} that can be used; leave it out")
    kept = np.any([own for m, own in there.items() if m != MASKS], axis=0) & there.get(MASKS, True)
    if missing == "drop":
        flawed = [row for column in columns.values() for row in column.flaws]
        kept[flawed] = False
    return kept


def _told(kept: np.ndarray, columns: Mapping[str, _Column]) -> str:
    """Return what a citation says of the rows that were left out and of what could not be used."""
    flaws = _flaws(columns)
    left_out = f"; {int((~kept).sum())} of {len(kept)} rows left out" if not kept.all() else ""
    return left_out + (f"; {_summary(flaws)}" if flaws else "")


def _check_classes(samples: Samples, train: np.ndarray) -> None:
    """Raise UserError for a class or a label that has a name and no `train` row."""
    if samples.task not in ("classification", "multilabel"):
        return
    labels = samples.target[train]
    seen = labels.any(0) if labels.ndim == 2 else np.isin(np.arange(len(samples.classes)), labels)
    for name, own in zip(samples.classes, seen, strict=True):
        if not own:
            raise UserError(
                f"dataset {samples.name!r}: no train row is of class {name!r}; every class must be in train,"
                " leave out the rows of the others"
            )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class _Mask(Reader):
    """A picture of one channel whose pixels are classes, 255 where void, brought to a size as its image is."""

    suffixes = PICTURES
    libraries = ("pillow",)
    dtype = "uint8"

    def __init__(self, *, size: tuple[int, ...], fit: str) -> None:
        self.size, self.fit = tuple(size), fit

    def spec(self) -> InputSpec:
        """Return an image (1, H, W)."""
        return InputSpec("image", (1, *self.size))

    def read(self, cell: Cell) -> np.ndarray:
        """Return the classes (1, H, W) uint8, each pixel's that of the nearest."""
        from PIL import Image, ImageOps

        with Image.open(cell[0]) as image:
            classes = np.asarray(image)
        if classes.ndim != 2:
            raise Unreadable(f"a mask of {classes.shape[-1]} channels, not one")
        if classes.dtype.kind == "f" or classes.min() < 0 or classes.max() > VOID_BYTE:
            raise Unreadable(f"a mask that holds {classes.min()} to {classes.max()}, not 0 to {VOID_BYTE}")
        mask, size, nearest = (
            Image.fromarray(classes.astype(np.uint8)),
            self.size[::-1],
            Image.Resampling.NEAREST,
        )
        if self.fit == "crop":
            mask = ImageOps.fit(mask, size, nearest)
        elif self.fit == "pad":
            mask = ImageOps.pad(mask, size, nearest, color=VOID_BYTE)
        else:
            mask = mask.resize(size, nearest)
        return np.asarray(mask)[None]
