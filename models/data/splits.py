"""Which rows are train, validation and test, and parts of them drawn at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sweeper.models.errors import UserError, choose
from sweeper.models.streams import numpy_stream

SPLITS = ("train", "validation", "test")


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
