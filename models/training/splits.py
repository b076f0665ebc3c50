"""The rows that a run may learn from; there is no test among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.feed import Feed
from sweeper.models.data.splits import carve
from sweeper.models.method import Method
from sweeper.models.values import Batch

HELD_OUT_SEED_PURPOSE = "held_out"


@dataclass(frozen=True)
class Splits:
    """Train, the part of train that a method holds out, and validation."""

    train: Feed
    held_out: Feed
    validation: Feed

    def rows(self, index: Tensor) -> Batch:
        """Return training rows, held out or not, by their index in the dataset; raise ValueError for others."""
        wanted = index.cpu().numpy()
        if not np.isin(wanted, np.concatenate([self.train.rows, self.held_out.rows])).all():
            raise ValueError("rows are asked for that are no training rows; only those may be seen here")
        return self.train.at(wanted)


def splits_of(dataset: Dataset, method: Method, seed: int, device: torch.device | str = "cpu") -> Splits:
    """Return the feeds of a run, with `method.held_out` of the training rows set aside, stratified by class."""
    dtype = method.dtype
    rows, held = dataset.rows["train"], dataset.rows["train"][:0]
    if method.held_out:
        rows, held = carve(rows, dataset.target, method.held_out, seed, HELD_OUT_SEED_PURPOSE)
    return Splits(*(Feed(dataset, r, device, dtype) for r in (rows, held, dataset.rows["validation"])))
