"""`arrays`: your own data as NumPy arrays, x_<modality> and y, also split, group and <modality>_present."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import SPLITS, Dataset, assemble, carve, read, readable, standardized
from sweeper.models.errors import UserError, choose
from sweeper.models.values import VOID

WORDS = {"train": 0, "validation": 1, "val": 1, "test": 2, "0": 0, "1": 1, "2": 2}


def load(
    *,
    root: Path | None = None,
    path: Path,
    task: Literal["classification", "multilabel", "regression", "segmentation"] | None = None,
    standardize: bool = True,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the arrays of `path`: a `.npz` file, read whole, or a folder of `.npy` files, memory-mapped.

    A relative `path` starts at `root`, without one at the working folder. N samples are given by

    - `x_<modality>` (N, D) vectors, (N, T, D) sequences or (N, C, H, W) images, of any type of number;
    - `y`, which says the `task` unless it is named: (N,) whole numbers from 0 classification, (N, L) of 0 and 1
      multilabel, (N,) fractions regression, (N, H, W) whole numbers from 0, void pixels -1 or 255, segmentation;
      every class or label in train;
    - `split` (N,), optional: train, validation (or val), test, or 0, 1, 2;
    - `group` (N,), optional: whole numbers or words, such as the person; no group stands in two splits;
    - `<modality>_present` (N,) bool, optional: false where a row lacks the modality.

    Without `split` a share `test_fraction` of all rows becomes test and `validation_fraction` of the others
    validation, by class where a sample has one, or by whole groups, seeded by `split_seed`. Where `split` names no
    validation it is carved from train; test is never carved from a given train. With `standardize` each modality
    has the mean of its train rows taken away and is divided by their std. Raises UserError for whatever does not
    fit this.
    """
    source = files(root=root, path=path)[0]
    source = source.parent if source.suffix == ".npy" else source
    found = read("arrays", source)
    inputs, present = _checked(found, source)
    task = task or _task_of(found["y"])
    y = _target(found["y"], task)
    rows = _rows(found, y, validation_fraction, test_fraction, split_seed)
    cite = f"arrays of {source.name}"
    dataset = assemble("arrays", inputs, y, rows, task=task, cite=cite, present=present)
    return standardized(dataset) if standardize else dataset


def files(*, root: Path | None = None, path: Path, **_: object) -> list[Path]:
    """Return the `.npz` or the `.npy` files of the folder; raise UserError if there are none."""
    source = Path(root or ".") / Path(path).expanduser()
    found = sorted(source.glob("*.npy")) if source.is_dir() else [source] * (source.suffix == ".npz")
    if not found or not source.exists():
        raise UserError(
            f"dataset 'arrays': {source} is neither a .npz file nor a folder of .npy files; put x_<modality>"
            " and y there, or give another path"
        )
    return found


def modalities(*, root: Path | None = None, path: Path, **_: object) -> list[str]:
    """Return the names of the modalities, in alphabetical order, from the names of the arrays alone."""
    found = files(root=root, path=path)
    if found[0].suffix == ".npy":
        return _inputs([p.stem for p in found], found[0].parent)
    with readable("arrays", found[0]), found[0].open("rb") as file, np.load(file) as arrays:
        return _inputs(arrays.files, found[0])


def task(*, root: Path | None = None, path: Path, task: str | None = None, **_: object) -> str:
    """Return the task, named or read off y alone."""
    if task:
        return task
    source = files(root=root, path=path)[0]
    if source.suffix == ".npy":
        found = read("arrays", source.parent)
    else:
        with readable("arrays", source), source.open("rb") as file, np.load(file) as arrays:
            found = {key: arrays[key] for key in arrays.files if key == "y"}
    return _task_of(_y(found, source))


def _task_of(y: np.ndarray) -> str:
    """Return the task that y looks like; raise UserError if it looks like two."""
    if y.ndim != 1:
        return "segmentation" if y.ndim == 3 else "multilabel"
    if y.dtype.kind != "f":
        return "classification"
    if (y == np.round(y)).all():
        raise UserError(
            f"dataset 'arrays': y holds whole numbers as {y.dtype}; store classes as whole numbers, or say"
            " task: regression"
        )
    return "regression"


def _target(y: np.ndarray, task: str) -> np.ndarray:
    """Return y with void pixels as -1, and as fractions what is to be regressed."""
    if task == "segmentation" and y.dtype.kind in "iu" and y.max(initial=0) == 255:
        return np.where(y == 255, VOID, y.astype(np.int16))
    return y.astype(np.float64) if task == "regression" and y.dtype.kind in "iu" else y


def _inputs(keys: Iterable[str], source: Path) -> list[str]:
    """Return the modalities among the names of arrays; raise UserError if there is none."""
    found = sorted(key.removeprefix("x_") for key in keys if key.startswith("x_"))
    if not found:
        raise UserError(
            f"dataset 'arrays': {source} has no x_<modality>, only {', '.join(keys) or 'nothing'}"
        )
    return found


def _y(found: Mapping[str, np.ndarray], source: Path) -> np.ndarray:
    """Return y; raise UserError if it lacks or has a shape that no task has."""
    if "y" not in found:
        raise UserError(f"dataset 'arrays': {source} has no y; name the array of labels or numbers so")
    if found["y"].ndim not in (1, 2, 3):
        raise UserError(
            f"dataset 'arrays': y has shape {found['y'].shape}; (N,) classes or numbers, (N, L) labels or (N, H, W)"
            " classes of pixels are admissible"
        )
    return found["y"]


def _checked(
    found: dict[str, np.ndarray], source: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return inputs {m: (N, ...)} and present {m: (N,)}; raise UserError for one that lacks or is odd."""
    inputs = {m: found[f"x_{m}"] for m in _inputs(found, source)}
    masks, shape = {f"{m}_present": m for m in inputs}, _y(found, source).shape
    for key, array in found.items():
        choose("array", key, [*(f"x_{m}" for m in inputs), "y", "split", "group", *masks], str(source))
        if (array.shape[:1] if key == "y" or key.startswith("x_") else array.shape) != shape[:1]:
            raise UserError(
                f"dataset 'arrays': {key} has shape {array.shape} but y {shape}; x_<modality> and y have N rows, and"
                " the others are (N,)"
            )
    return inputs, {m: found[key] for key, m in masks.items() if key in found}


def _rows(
    found: dict[str, np.ndarray], y: np.ndarray, validation: float, test: float, seed: int
) -> dict[str, np.ndarray]:
    """Return the rows of each split, given or carved, groups kept apart."""
    y, group = np.asarray(y), found.get("group")
    if group is not None and group.dtype.kind not in "iuUS":
        raise UserError(f"dataset 'arrays': group has type {group.dtype}; whole numbers or words are needed")
    if "split" not in found:
        rest, tested = carve(np.arange(len(y)), y, test, seed, "test", group)
        train, validated = carve(rest, y, validation, seed, "validation", group)
        return {"train": train, "validation": validated, "test": tested}
    given = _given(found["split"])
    if group is not None:
        _check_groups(given, group)
    rows = {split: np.flatnonzero(given == i) for i, split in enumerate(SPLITS)}
    if not len(rows["test"]):
        raise UserError(
            "dataset 'arrays': split names no test row; mark some, or leave split out to have them drawn"
        )
    if not len(rows["validation"]):
        rows["train"], rows["validation"] = carve(rows["train"], y, validation, seed, "validation", group)
    return rows


def _given(split: np.ndarray) -> np.ndarray:
    """Return 0, 1 or 2 for each row; raise UserError at a value that names no split."""
    values, where = np.unique(split, return_inverse=True)
    words = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    for word in words:
        if word not in WORDS:
            raise UserError(f"dataset 'arrays': split holds {word!r}; admissible: {', '.join(WORDS)}")
    return np.array([WORDS[word] for word in words], dtype=int)[where]


def _check_groups(given: np.ndarray, group: np.ndarray) -> None:
    """Raise UserError for a group that stands in two given splits."""
    names, inverse = np.unique(group, return_inverse=True)
    first, last = np.full(len(names), len(SPLITS)), np.full(len(names), -1)
    np.minimum.at(first, inverse, given)
    np.maximum.at(last, inverse, given)
    for name, a, b in zip(names, first, last, strict=True):
        if a != b:
            raise UserError(
                f"dataset 'arrays': group {str(name)!r} stands in {SPLITS[a]} and in {SPLITS[b]}; a group"
                " belongs to one split"
            )
