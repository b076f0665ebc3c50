"""A dataset under a condition: which samples are hit, and arrays corrupted as they are read.

Each modality of each row is hit with probability `share` by a coin of its own, and its noise comes from a generator
of its own, named by (seed, repeat, modality, row). So results depend neither on the order in which rows are read nor
on how many at once or by how many workers; a row's coin is the same at every kind and level, and the rows hit at one
share are among those hit at a greater one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.noise.conditions import Condition, check, targets
from sweeper.models.data.noise.corruptions import CORRUPTIONS, FREQUENCIES, Corruption
from sweeper.models.data.statistics import Statistics
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entry
from sweeper.models.streams import numpy_stream, stream_seed
from sweeper.models.values import InputKind


def corrupted(
    dataset: Dataset, condition: Condition, repeat: int, rows: np.ndarray
) -> tuple[Dataset, dict[str, np.ndarray]]:
    """Return the dataset with `rows` under the condition's draw `repeat`, and hits {m: (len(rows),) bool}.

    Other rows stay as they are, and so does a modality that a row lacks. Under `dropout` a modality is hit if it
    is gone: it is missing from `present` and its numbers are 0 once standardised. Raises UserError as `check`, and
    if mode "qmf" meets an image that is not uint8.
    """
    hits = {m: np.zeros(len(rows), bool) for m in dataset.inputs}
    if not condition.changes:
        return dataset, hits
    check(condition, dataset.spec.modalities, dataset.spec.name)
    has = {m: dataset.present[m][rows] if m in dataset.present else ~hits[m] for m in hits}
    draws = {m: np.zeros(len(rows)) for m in hits}
    for m in targets(condition, dataset.spec.modalities):
        if condition.mode == "qmf" and dataset.inputs[m].dtype != np.uint8:
            raise UserError(
                f"condition {condition.label!r}: modality {m!r} has type {dataset.inputs[m].dtype}; mode qmf is for"
                " images of type uint8"
            )
        hits[m] = has[m] & (_draws(condition, "hit", repeat, m, rows) < condition.share)
        if (condition.mode, condition.kind) in FREQUENCIES:
            draws[m] = _draws(condition, "frequency", repeat, m, rows)
            hits[m] &= draws[m] < condition.level / 10
    present = dict(dataset.present)
    if condition.kind == "dropout":
        hits = _spared(hits, has, draws)
        for m in hits:
            if hits[m].any():
                present[m] = np.array(present.get(m, np.ones(len(dataset.target), bool)))
                present[m][rows[hits[m]]] = False
    inputs = dict(dataset.inputs)
    for m in hits:
        if hits[m].any():
            hit = np.zeros(len(dataset.target), bool)
            hit[rows[hits[m]]] = True
            inputs[m] = Corrupted(dataset.inputs[m], hit, dataset.statistics[m], condition, repeat, m)
    return replace(dataset, inputs=inputs, present=present), hits


def _draws(condition: Condition, purpose: str, repeat: int, modality: str, rows: np.ndarray) -> np.ndarray:
    """Return a uniform number (len(rows),) of each row's own for a purpose, whatever the kind and level."""
    words = (condition.seed, "noise", purpose, repeat, modality)
    return np.array([stream_seed(*words, row) for row in rows.tolist()], np.uint64) / 2**63


def _spared(
    hits: dict[str, np.ndarray], has: dict[str, np.ndarray], draws: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return `hits` without one in each row that would lose all it has.

    That modality stays which has the greatest draw, the last that a growing level would take.
    """
    lost = np.stack(list(hits.values()))
    bare = (lost == np.stack(list(has.values()))).all(0)
    last = np.where(lost, np.stack(list(draws.values())), -1.0).argmax(0)
    lost[last[bare], np.flatnonzero(bare)] = False
    return dict(zip(hits, lost, strict=True))


@dataclass(frozen=True, eq=False)
class Corrupted:
    """An array (N, ...) of which the rows in `hit` (N,) are corrupted as they are read; it is never changed itself.

    What is read is of type float32, of float64 if the array's numbers need it, and of the array's own type in mode
    "qmf" and for tokens, so that nothing is rounded. Steps behind a row's end stay as they are.
    """

    array: np.ndarray
    hit: np.ndarray
    train: Statistics
    condition: Condition
    repeat: int
    modality: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of what is read."""
        given = self.array.dtype
        whole = self.condition.mode == "qmf" or self.train.kind == "tokens"
        return given if whole else np.result_type(given, np.float32)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows numbered `rows` (B,) as a new array (B, ...)."""
        block, own = np.array(self.array[rows], self.dtype), self.condition
        corrupt, lengths = _corruption(own, self.train.kind), self.train.lengths
        for i in np.flatnonzero(self.hit[rows]):
            generator = numpy_stream(own.seed, "noise", self.repeat, self.modality, rows[i])
            there = slice(None) if lengths is None else slice(lengths[rows[i]])  # what follows is not there
            block[i][there] = corrupt(block[i][there], own.level, generator, self.train)
        return block


def _corruption(condition: Condition, kind: InputKind) -> Corruption:
    """Return what a condition does to a sample of a kind of input."""
    if "." in condition.kind:
        return entry("condition", condition.kind).load()()
    return CORRUPTIONS[condition.mode][condition.kind][kind]
