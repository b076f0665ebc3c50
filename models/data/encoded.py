"""A dataset of which some modalities reach nets as the features that an encoder which never trains gives of them.

Conditions act on what the dataset itself holds; rows that they hit have the features of their corrupted inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.noise.conditions import Condition
from sweeper.models.data.noise.corrupted import corrupted
from sweeper.models.values import DataSpec


@dataclass(frozen=True, eq=False)
class Placed:
    """An array (N, …) of which some rows alone are there: `values` (n, …), of row i at `place[i]`."""

    values: np.ndarray
    place: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …)."""
        return len(self.place), *self.values.shape[1:]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows numbered `rows` (B,)."""
        return self.values[self.place[rows]]


def read_by_nets(
    dataset: Dataset, condition: Condition, repeat: int, rows: np.ndarray
) -> tuple[Dataset, dict[str, np.ndarray]]:
    """Return the dataset with `rows` as nets read them under a condition's draw, and hits {m: (len(rows),) bool}.

    Features are those of the whole split that the rows are of, so that parts of it drawn anew share them.
    """
    found, hits = corrupted(dataset, condition, repeat, rows)
    if not dataset.encodings:
        return found, hits
    split = next((own for own in dataset.rows.values() if np.isin(rows, own).all()), rows)
    whole, struck = corrupted(dataset, condition, repeat, split)
    place = np.zeros(len(dataset.target), np.int64)
    place[split] = np.arange(len(split))
    inputs, lengths = dict(found.inputs), dict(found.lengths)
    for m, own in dataset.encodings.items():
        hit = struck[m] & whole.present[m][split] if m in whole.present else struck[m]
        draw = f"{condition.label} {repeat}" if hit.any() else ""
        values, steps = own.features(whole, split, hit, draw)
        inputs[m] = Placed(values, place)
        lengths.pop(m, None)
        if steps is not None:
            lengths[m] = steps[place]
    scale = {m: s for m, s in found.scale.items() if m not in dataset.encodings}
    spec = spec_of_nets(dataset)
    return replace(found, spec=spec, inputs=inputs, lengths=lengths, scale=scale, encodings={}), hits


def spec_of_nets(dataset: Dataset) -> DataSpec:
    """Return what nets read of a dataset."""
    encoded = {m: own.spec for m, own in dataset.encodings.items()}
    return replace(dataset.spec, modalities={**dataset.spec.modalities, **encoded})
