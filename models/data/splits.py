"""Which rows are train, validation and test, and parts of them drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sweeper.models.errors import UserError, choose
from sweeper.models.streams import numpy_stream

SPLITS = ("train", "validation", "test")
# the words for splits that people have
WORDS = {
    "train": 0,
    "training": 0,
    "validation": 1,
    "valid": 1,
    "val": 1,
    "dev": 1,
    "test": 2,
    "testing": 2,
    "0": 0,
    "1": 1,
    "2": 2,
}


def check_splits(name: str, rows: Mapping[str, np.ndarray], n: int) -> None:
    """Raise UserError unless train, validation and test are non-empty, in range and disjoint."""
    for split in SPLITS:
        if not len(rows[split]):
            raise UserError(
                f"dataset {name!r}: split {split!r} is empty; each of train, validation, test needs rows"
            )
    every = np.concatenate([rows[split] for split in SPLITS])
    if len(np.unique(every)) != len(every) or every.min() < 0 or every.max() >= n:
        raise UserError(
            f"dataset {name!r}: a row stands in two splits or out of range; splits must be disjoint"
        )


def numbered(name: str, words: np.ndarray) -> np.ndarray:
    """Return 0, 1 or 2 (train, validation, test) for each word (N,); raise UserError at one that names no split."""
    values, where = np.unique(words, return_inverse=True)
    found = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values]
    for word in found:
        if word.lower() not in WORDS:
            raise UserError(f"dataset {name!r}: split holds {word!r}; admissible: {', '.join(WORDS)}")
    return np.array([WORDS[word.lower()] for word in found], dtype=int)[where]


def divided(
    name: str,
    rows: np.ndarray,
    given: np.ndarray | None,
    target: np.ndarray,
    group: np.ndarray | None,
    *,
    validation: float,
    test: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return which of `rows` are in each split: as `given` (N,) numbers them, -1 in none, or drawn where it is None.

    Drawn are a share `test` of all and `validation` of the others; validation also where only that is not given.
    No `group` (N,) stands in two splits. Raises UserError where it does, where test is not given, and as `carve`.
    """
    if given is None:
        rest, tested = carve(rows, target, test, seed, "test", group)
        train, validated = carve(rest, target, validation, seed, "validation", group)
        return {"train": train, "validation": validated, "test": tested}
    if group is not None:
        _check_groups(name, given[rows], group[rows])
    found = {split: rows[given[rows] == i] for i, split in enumerate(SPLITS)}
    if not len(found["test"]):
        raise UserError(
            f"dataset {name!r}: split names no test row; mark some, or leave split out to have them drawn"
        )
    if not len(found["validation"]):
        found["train"], found["validation"] = carve(
            found["train"], target, validation, seed, "validation", group
        )
    return found


def _check_groups(name: str, given: np.ndarray, group: np.ndarray) -> None:
    """Raise UserError for a group that stands in two given splits."""
    given, group = given[given >= 0], group[given >= 0]
    names, inverse = np.unique(group, return_inverse=True)
    first, last = np.full(len(names), len(SPLITS)), np.full(len(names), -1)
    np.minimum.at(first, inverse, given)
    np.maximum.at(last, inverse, given)
    for own, a, b in zip(names, first, last, strict=True):
        if a != b:
            raise UserError(
                f"dataset {name!r}: group {str(own)!r} stands in {SPLITS[a]} and in {SPLITS[b]}; a group"
                " belongs to one split"
            )


def carve(
    rows: np.ndarray,
    target: np.ndarray,
    fraction: float,
    seed: int,
    purpose: str,
    group: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split `rows` into (kept, carved), both in file order: stratified by class, or by whole groups.

    Without groups each class gives round(fraction × its rows), at least one and not all where it has two; a
    target other than whole numbers (N,) counts as a single class, so that rows are drawn from all alike.
    With `group` (N,), groups in random order are taken where that brings the carved rows nearer to `fraction`
    of all. Raises UserError for a fraction outside 0..1 or fewer than two groups.
    """
    if not 0 < fraction < 1:
        raise UserError(f"the {purpose} fraction is {fraction}; a number between 0 and 1 is admissible")
    rng = numpy_stream(seed, "carve", purpose)
    if group is None:
        classes = target.ndim == 1 and target.dtype.kind in "iu"
        labels = target[rows] if classes else np.zeros(len(rows), int)
        carved: list[int] = []
        for label in np.unique(labels):
            own = rows[labels == label]
            count = min(max(1, round(fraction * len(own))), len(own) - 1)
            carved.extend(rng.permutation(own)[:count].tolist())
        chosen = np.isin(rows, carved)
        return rows[~chosen], rows[chosen]
    names, counts = np.unique(group[rows], return_counts=True)
    if len(names) < 2:
        raise UserError(
            f"{len(names)} group cannot be kept apart in train and {purpose}; at least 2 are needed"
        )
    goal, size, taken = fraction * len(rows), 0, []
    for i in rng.permutation(len(names))[:-1]:  # one group always stays
        if abs(size + counts[i] - goal) < abs(size - goal):
            size += counts[i]
            taken.append(i)
    chosen = np.isin(group[rows], names[taken or [np.argmin(counts)]])
    return rows[~chosen], rows[chosen]


def subset(name: str, option: str, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the `wanted` ones of `known`, all if None; raise UserError for none, unknown or repeated."""
    if wanted is None:
        return list(known)
    for word in wanted:
        choose(option, word, known, f"dataset {name!r}")
    if not wanted or len(set(wanted)) < len(wanted):
        raise UserError(
            f"dataset {name!r}: {option} is {list(wanted)}; one or more of {', '.join(known)}, each once"
        )
    return list(wanted)
