"""Targets: what each task takes as one, checked and in the type that batches have."""

from __future__ import annotations

import numpy as np

from sweeper.models.errors import UserError
from sweeper.models.values import VOID

VOID_BYTE = 255  # what void pixels are in images of classes


def checked(
    name: str, task: str, target: np.ndarray, train: np.ndarray, n_classes: int | None = None
) -> tuple[np.ndarray, int, tuple[int, ...]]:
    """Return (target, C, size) of `task`; C is read off the target unless given, size is (H, W) or ().

    Classification: (N,) classes from 0, int64. Multilabel: (N, C) of 0 and 1, int64. Regression: (N,) numbers,
    float32, C is 1. Segmentation: (N, H, W) classes from 0, or -1 where void, in the smallest type that
    holds them; H and W need not be those of the images. Raises UserError for another type or shape, a value out
    of range, or a class or label that no `train` row has.
    """
    where = f"dataset {name!r}:"
    if task == "multilabel":
        return _labels(where, target, train)
    if task == "regression":
        return _numbers(where, target), 1, ()
    dense = task == "segmentation"
    n_classes = _checked_classes(where, target, n_classes, dense=dense)
    parts = np.array_split(train, 1 + len(train) // 256)  # few enough rows for memory-mapped pixels
    seen = np.unique(np.concatenate([np.unique(target[part]) for part in parts]))
    seen = seen[seen != VOID]
    if len(seen) < n_classes:
        absent = int(np.argmin(np.append(seen, n_classes) == np.arange(len(seen) + 1)))
        thing = "pixel" if dense else "sample"
        raise UserError(f"{where} train holds no {thing} of class {absent}; every class must be in train")
    smallest = np.min_scalar_type(-n_classes)
    return target.astype(smallest if dense else np.int64), n_classes, target.shape[1:]


def voided(masks: np.ndarray) -> np.ndarray:
    """Return masks (N, H, W) of whole numbers with -1 where they are 255, int16."""
    return np.where(masks == VOID_BYTE, VOID, masks.astype(np.int16))


def _checked_classes(where: str, target: np.ndarray, n_classes: int | None, *, dense: bool) -> int:
    """Return C of classes (N,), or of dense ones (N, H, W)."""
    fits = target.ndim == (3 if dense else 1) and 0 not in target.shape[1:]
    if not fits or target.dtype.kind not in "iu":
        place, void = ("pixel, (N, H, W)", ", -1 where void,") if dense else ("sample", ",")
        raise UserError(
            f"{where} labels have type {target.dtype} and shape {target.shape};"
            f" one whole number per {place}, counted from 0{void} is needed"
        )
    least, greatest = int(target.min()), int(target.max())
    n_classes = greatest + 1 if n_classes is None else n_classes
    if least < (VOID if dense else 0) or greatest >= n_classes or n_classes < 2:
        void = " (-1 where void)" if dense else ""
        raise UserError(
            f"{where} labels reach from {least} to {greatest};"
            f" 0 to {max(n_classes, 2) - 1}{void} and at least two classes are admissible"
        )
    return n_classes


def _labels(where: str, target: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, int, tuple[int, ...]]:
    fits = target.ndim == 2 and target.shape[1] > 0 and target.dtype.kind in "biuf"
    if not fits or not ((target == 0) | (target == 1)).all():
        raise UserError(
            f"{where} labels have type {target.dtype} and shape {target.shape}; 0 or 1 for each label of each sample,"
            " (N, labels), is needed, or whole numbers (N,) where a sample has one class"
        )
    positive = target[train].any(0)
    if not positive.all():
        raise UserError(
            f"{where} train holds no sample with label {int(np.argmin(positive))}; every label must be in train"
        )
    return target.astype(np.int64), target.shape[1], ()


def _numbers(where: str, target: np.ndarray) -> np.ndarray:
    if target.ndim != 1 or target.dtype.kind not in "iuf":
        raise UserError(
            f"{where} targets have type {target.dtype} and shape {target.shape}; one number per sample is needed"
        )
    finite = np.abs(target) <= np.finfo(np.float32).max
    if not finite.all():
        raise UserError(
            f"{where} targets hold NaN, infinity or a number beyond float32 in row {int(np.argmin(finite))};"
            " clean them first"
        )
    return target.astype(np.float32)
