"""From a dataset's rows, clean or corrupted, to batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.noise.conditions import CLEAN, Condition, corrupted, parse
from sweeper.models.values import Batch

IN_MEMORY_BYTES = 2**30


class Feed:
    """The rows of one split as batches on `device`; kept there whole if they fit in IN_MEMORY_BYTES as float32.

    Under a condition the inputs are corrupted by its draw number `repeat`; `hits` {m: (N,) bool} says which rows.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: np.ndarray,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        condition: Condition = CLEAN,
        repeat: int = 0,
    ) -> None:
        self.clean, self.condition, self.label = dataset, condition, condition.label
        self.dataset, self.hits = corrupted(dataset, condition, repeat, rows)
        self.rows, self.device, self.dtype = rows, device, dtype
        size = 4 * len(rows) * sum(int(np.prod(a.shape[1:])) for a in dataset.inputs.values())
        self._whole = self._read(np.arange(len(rows))) if size <= IN_MEMORY_BYTES else None

    def __len__(self) -> int:
        return len(self.rows)

    def under(self, condition: str) -> Feed:
        """Return the same rows under a condition, as they are if it is the one they are under already."""
        wanted = parse(condition)
        if wanted == self.condition:
            return self
        return Feed(self.clean, self.rows, self.device, self.dtype, wanted)

    def batch(self, positions: Tensor) -> Batch:
        """Return the rows at `positions` (B,) of this split."""
        if self._whole is None:
            return self._read(positions.cpu().numpy())
        whole = self._whole
        return Batch(
            {m: x.index_select(0, positions) for m, x in whole.inputs.items()},
            whole.target.index_select(0, positions),
            whole.index.index_select(0, positions),
            {m: p.index_select(0, positions) for m, p in whole.present.items()},
            self.label,
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all rows in file order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self)), device=self.device))

    def _read(self, positions: np.ndarray) -> Batch:
        rows, data = self.rows[positions], self.dataset
        inputs = {}
        for modality, array in data.inputs.items():
            mean, std = data.scale.get(modality, (0.0, 1.0))
            x = torch.from_numpy(np.ascontiguousarray(array[rows])).to(self.device, self.dtype)
            inputs[modality] = x.sub_(mean).div_(std)
        place = {"device": self.device}
        return Batch(
            inputs,
            torch.as_tensor(data.target[rows], **place),
            torch.as_tensor(rows, **place),
            {m: torch.as_tensor(p[rows], **place) for m, p in data.present.items()},
            self.label,
        )
