"""`arrays`: your own data as NumPy arrays, x_<modality> and y, also split, group, <modality>_present and _length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.files import read, readable, shapes
from sweeper.models.data.splits import divided, numbered
from sweeper.models.data.targets import VOID_BYTE, voided
from sweeper.models.errors import UserError, choose
from sweeper.models.schema.ranges import ShareWithin
from sweeper.models.values import BY_AXES, InputKind, InputSpec


def load(
    *,
    root: Path | None = None,
    path: Path,
    task: Literal["classification", "multilabel", "regression", "segmentation"] | None = None,
    kinds: dict[str, InputKind] | None = None,
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: ShareWithin = 0.15,
    test_fraction: ShareWithin = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the arrays of `path`: a `.npz` file, read whole, or a folder of `.npy` files, memory-mapped.

    A relative `path` starts at `root`, without one at the working folder. N samples are given by

    - `x_<modality>` (N, D) vectors, (N, T, D) sequences, (N, C, H, W) images or (N, T, C, H, W) videos, of any type
      of number; or what `kinds` {modality: kind} says: tokens (N, T), whole numbers from 0, and audio (N, T);
    - `y`, which says the `task` unless it is named: (N,) whole numbers from 0 classification, (N, L) of 0 and 1
      multilabel, (N,) fractions regression, (N, H, W) whole numbers from 0, void pixels -1 or 255, segmentation;
      every class or label in train;
    - `split` (N,), optional: train, validation (or valid, val, dev), test, or 0, 1, 2;
    - `group` (N,), optional: whole numbers or words, such as the person; no group stands in two splits;
    - `<modality>_present` (N,) bool, optional: false where a row lacks the modality;
    - `<modality>_length` (N,), optional: how many of the T steps a row has.

    Without `split` a share `test_fraction` of all rows becomes test and `validation_fraction` of the others
    validation, by class where a sample has one, or by whole groups, seeded by `split_seed`. Where `split` names no
    validation it is carved from train; test is never carved from a given train. `standardize` takes away the mean of
    the train rows and divides by their std: of each feature (of a vector or a step; channel of an image), of all
    numbers of a modality, or not at all. Raises UserError for whatever does not fit this.
    """
    source = files(root=root, path=path)[0]
    source = source.parent if source.suffix == ".npy" else source
    found = read("arrays", source)
    names = _inputs(found, source)
    _check_shapes(found, names, source)
    task = task or _task_of(found["y"])
    y = _target(found["y"], task)
    rows = _rows(found, y, validation_fraction, test_fraction, split_seed)
    dataset = assemble(
        "arrays",
        {m: found[f"x_{m}"] for m in names},
        y,
        rows,
        {m: _kind(m, found[f"x_{m}"].shape, names, kinds) for m in names},
        task=task,
        cite=f"arrays of {source.name}",
        present={m: found[f"{m}_present"] for m in names if f"{m}_present" in found},
        lengths={m: found[f"{m}_length"] for m in names if f"{m}_length" in found},
    )
    return dataset if standardize == "none" else standardized(dataset, standardize)


def files(*, root: Path | None = None, path: Path, **_: object) -> list[Path]:
    """Return the `.npz` or the `.npy` files of the folder; raise UserError if there are none."""
    source = Path(root or ".") / Path(path).expanduser()
    with readable("arrays", source):
        found = sorted(source.glob("*.npy")) if source.is_dir() else [source] * (source.suffix == ".npz")
        there = source.exists()
    if not found or not there:
        raise UserError(
            f"dataset 'arrays': {source} is neither a .npz file nor a folder of .npy files; put x_<modality>"
            " and y there, or give another path"
        )
    return found


def inputs(
    *, root: Path | None = None, path: Path, kinds: dict[str, InputKind] | None = None, **_: object
) -> dict[str, InputSpec]:
    """Return the modalities in alphabetical order, from the heads of the arrays alone."""
    source = files(root=root, path=path)[0]
    source = source.parent if source.suffix == ".npy" else source
    found = shapes("arrays", source)
    names = _inputs(found, source)
    every = {m: found[f"x_{m}"][0] for m in names}
    return {m: InputSpec(_kind(m, shape, names, kinds), shape[1:]) for m, shape in every.items()}


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
    if task == "segmentation" and y.dtype.kind in "iu" and y.max(initial=0) == VOID_BYTE:
        return voided(y)
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


def _kind(
    modality: str, shape: tuple[int, ...], names: Iterable[str], kinds: Mapping[str, InputKind] | None
) -> InputKind:
    """Return what a modality's samples are: as said, else by the number of their axes."""
    for name in kinds or {}:
        choose("modality", name, names, "kinds (dataset 'arrays')")
    kind = (kinds or {}).get(modality) or BY_AXES.get(len(shape) - 1)
    if kind is None:
        raise UserError(
            f"dataset 'arrays': x_{modality} has shape {shape}; a sample needs one to four axes, or a kind in `kinds`"
        )
    return kind


def _check_shapes(found: dict[str, np.ndarray], names: list[str], source: Path) -> None:
    """Raise UserError for an array that is unknown or has not as many rows as y."""
    shape = _y(found, source).shape
    beside = [f"{m}_{what}" for m in names for what in ("present", "length")]
    for key, array in found.items():
        choose("array", key, [*(f"x_{m}" for m in names), "y", "split", "group", *beside], str(source))
        if (array.shape[:1] if key == "y" or key.startswith("x_") else array.shape) != shape[:1]:
            raise UserError(
                f"dataset 'arrays': {key} has shape {array.shape} but y {shape}; x_<modality> and y have N rows, and"
                " the others are (N,)"
            )


def _rows(
    found: dict[str, np.ndarray], y: np.ndarray, validation: float, test: float, seed: int
) -> dict[str, np.ndarray]:
    """Return the rows of each split, given or carved, groups kept apart."""
    group = found.get("group")
    if group is not None and group.dtype.kind not in "iuUS":
        raise UserError(f"dataset 'arrays': group has type {group.dtype}; whole numbers or words are needed")
    given = numbered("arrays", found["split"]) if "split" in found else None
    return divided(
        "arrays", np.arange(len(y)), given, np.asarray(y), group, validation=validation, test=test, seed=seed
    )
