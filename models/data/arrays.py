"""`arrays`: your own data as NumPy arrays, x_<modality> and y, also split, group and <modality>_present."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.data.dataset import SPLITS, Dataset, assemble, carve, read, readable, standardized
from models.errors import UserError, choose

WORDS = {"train": 0, "validation": 1, "val": 1, "test": 2, "0": 0, "1": 1, "2": 2}


def load(
    *,
    root: Path | None = None,
    path: Path,
    standardize: bool = True,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the arrays of `path`: a `.npz` file, read whole, or a folder of `.npy` files, memory-mapped.

    A relative `path` starts at `root`, without one at the working folder. N samples of C classes are given by

    - `x_<modality>` (N, D) vectors, (N, T, D) sequences or (N, C, H, W) images, of any type of number;
    - `y` (N,) whole numbers 0..C-1, each in train;
    - `split` (N,), optional: train, validation (or val), test, or 0, 1, 2;
    - `group` (N,), optional: whole numbers or words, such as the person; no group stands in two splits;
    - `<modality>_present` (N,) bool, optional: false where a row lacks the modality.

    Without `split` a share `test_fraction` of all rows becomes test and `validation_fraction` of the others
    validation, by class or by whole groups, seeded by `split_seed`. Where `split` names no validation it is
    carved from train; test is never carved from a given train. With `standardize` each modality has the mean
    of its train rows taken away and is divided by their std. Raises UserError for whatever does not fit this.
    """
    source = files(root=root, path=path)[0]
    source = source.parent if source.suffix == ".npy" else source
    found = read("arrays", source)
    inputs, present = _checked(found, source)
    rows = _rows(found, validation_fraction, test_fraction, split_seed)
    cite = f"arrays of {source.name}"
    dataset = assemble("arrays", inputs, found["y"], rows, cite=cite, present=present)
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


def _inputs(keys: Iterable[str], source: Path) -> list[str]:
    """Return the modalities among the names of arrays; raise UserError if there is none."""
    found = sorted(key.removeprefix("x_") for key in keys if key.startswith("x_"))
    if not found:
        raise UserError(
            f"dataset 'arrays': {source} has no x_<modality>, only {', '.join(keys) or 'nothing'}"
        )
    return found


def _checked(
    found: dict[str, np.ndarray], source: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return inputs {m: (N, ...)} and present {m: (N,)}; raise UserError for one that lacks or is odd."""
    inputs = {m: found[f"x_{m}"] for m in _inputs(found, source)}
    if "y" not in found:
        raise UserError(f"dataset 'arrays': {source} has no y, the labels, only {', '.join(found)}")
    masks = {f"{m}_present": m for m in inputs}
    for key, array in found.items():
        choose("array", key, [*(f"x_{m}" for m in inputs), "y", "split", "group", *masks], str(source))
        if (array.shape[:1] if key.startswith("x_") else array.shape) != found["y"].shape:
            raise UserError(
                f"dataset 'arrays': {key} has shape {array.shape} but y {found['y'].shape}; y and the others"
                " are (N,), and x_<modality> has N rows"
            )
    return inputs, {m: found[key] for key, m in masks.items() if key in found}


def _rows(found: dict[str, np.ndarray], validation: float, test: float, seed: int) -> dict[str, np.ndarray]:
    """Return the rows of each split, given or carved, groups kept apart."""
    y, group = np.asarray(found["y"]), found.get("group")
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
