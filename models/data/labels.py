"""Cells of a label column, as text, to a target."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.errors import UserError

PICTURES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm")  # what masks are stored as

Task = Literal["classification", "multilabel", "regression", "segmentation"]


def task_of(labels: Collection[str]) -> Task:
    """Return the task that labels look like."""
    if any("|" in label for label in labels):
        return "multilabel"
    if all(Path(label).suffix.lower() in PICTURES for label in labels):
        return "segmentation"
    found = [_number(label) for label in labels]
    fractions = all(n is not None for n in found) and not all(n.is_integer() for n in found)
    return "regression" if fractions else "classification"


def target_of(name: str, task: Task, labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the target (N, …) of a task other than segmentation, and the names of its classes or labels in order."""
    return TARGETS[task](name, [unicodedata.normalize("NFC", label) for label in labels])


def _number(word: str) -> float | None:
    """Return the finite number that a word is, or None."""
    try:
        found = float(word)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _ordered(names: Collection[str]) -> tuple[str, ...]:
    """Return the names of classes: whole numbers by their value, others by the alphabet."""
    whole = all(re.fullmatch(r"-?\d+", name, re.ASCII) for name in names)
    return tuple(sorted(set(names), key=lambda name: (int(name[:20]) if whole else 0, name)))


def _classified(name: str, labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    classes = _ordered(labels)
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[word] for word in labels]), classes


def _labelled(name: str, labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    sets = [{part.strip() for part in word.split("|")} - {""} for word in labels]
    classes = _ordered(set().union(*sets))
    return np.array([[name in own for name in classes] for own in sets], np.int8), classes


def _measured(name: str, labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    found = [_number(word) for word in labels]
    if None in found:
        raise UserError(
            f"dataset {name!r}: the label {labels[found.index(None)]!r} is no number; regression needs one in each row"
        )
    return np.array(found), ()


TARGETS: dict[str, Callable[[str, Sequence[str]], tuple[np.ndarray, tuple[str, ...]]]] = {
    "classification": _classified,
    "multilabel": _labelled,
    "regression": _measured,
}
