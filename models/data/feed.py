"""From a dataset's rows, clean or corrupted, to batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from queue import Queue
from threading import Thread

import numpy as np
import torch
from torch import Tensor

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.encoded import read_by_nets
from sweeper.models.data.noise.conditions import CLEAN, Condition, parse
from sweeper.models.values import Batch

IN_MEMORY_BYTES = 2**30
PIECE_BYTES = 2**26  # of a split that is held on a GPU, what is on its way there at once
AHEAD = 2  # batches that are read before they are asked for


class Feed:
    """The rows of one split as batches on `device`, kept there whole if there is room.

    That is IN_MEMORY_BYTES as float32 on a CPU, and on a GPU a quarter of what is free there. Under a condition the
    inputs are corrupted by its draw number `repeat`; `hits` {m: (N,) bool} says which rows.
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
        self.dataset, self.hits = read_by_nets(dataset, condition, repeat, rows)
        self.rows, self.device, self.dtype = rows, torch.device(device), dtype
        size = 4 * len(rows) * sum(int(np.prod(a.shape[1:])) for a in self.dataset.inputs.values())
        self._whole = self._held(size) if size <= _room(self.device) else None
        self._lengths = {m: self._tensor(n) for m, n in self.dataset.lengths.items()}

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
            return self.at(self.rows[positions.cpu().numpy()])
        whole = self._whole
        found = Batch(
            {m: x.index_select(0, positions) for m, x in whole.inputs.items()},
            whole.target.index_select(0, positions),
            whole.index.index_select(0, positions),
            {m: p.index_select(0, positions) for m, p in whole.present.items()},
            self.label,
        )
        return self._masked(found)

    def at(self, rows: np.ndarray) -> Batch:
        """Return rows (B,) of the dataset, of this split or not, as this feed would hold them."""
        return self._masked(self._read(rows))

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all rows in file order, `size` at a time."""
        return self.stream(torch.arange(len(self), device=self.device).split(size) if len(self) else ())

    def stream(
        self, parts: Iterable[Tensor], made: Callable[[Tensor], Batch] | None = None
    ) -> Iterator[Batch]:
        """Yield a batch for each part, by default that of its positions; those on disk are read ahead, in a thread."""
        batches = map(made or self.batch, parts)
        return batches if self._whole is not None else ahead(batches)

    def _masked(self, batch: Batch) -> Batch:
        """Return the batch cut to its longest row, with zeros and a mask where rows are shorter.

        A row without steps has one, of zeros, so that there is something to take the mean of.
        """
        if not self._lengths:
            return batch
        inputs, masks = dict(batch.inputs), {}
        for m, lengths in self._lengths.items():
            own = lengths.index_select(0, batch.index).unsqueeze(-1)
            x = inputs[m][:, : max(1, int(own.max())) if len(own) else 1]
            step = torch.arange(x.shape[1], device=self.device)
            inputs[m] = x * (step < own).view(*x.shape[:2], *[1] * (x.dim() - 2))
            masks[m] = step < own.clamp_min(1)
        return replace(batch, inputs=inputs, mask=masks)

    def _held(self, size: int) -> Batch:
        """Return all rows, of `size` bytes; they reach a GPU piece by piece."""
        if self.device.type == "cpu":
            return self._read(self.rows)
        return _joined([self._read(rows) for rows in np.array_split(self.rows, 1 + size // PIECE_BYTES)])

    def _read(self, rows: np.ndarray) -> Batch:
        data, inputs = self.dataset, {}
        for m, array in data.inputs.items():
            spec = data.spec.modalities[m]
            dtype = self.dtype if spec.dtype == "float32" else torch.int64
            x = self._tensor(np.ascontiguousarray(array[rows])).to(dtype)
            scale = () if m in data.unscaled else data.scale.get(m, ())
            for number, apply in zip(scale, (x.sub_, x.div_), strict=False):
                apply(number if isinstance(number, float) else torch.as_tensor(number).to(x))
            inputs[m] = x
        present = {m: self._tensor(p[rows]) for m, p in data.present.items()}
        return Batch(inputs, self._tensor(data.target[rows]), self._tensor(rows), present, self.label)

    def _tensor(self, array: np.ndarray) -> Tensor:
        """Return an array as a tensor on the device; a copy to a GPU does not wait for what the GPU does."""
        found = torch.from_numpy(np.array(array) if not array.flags.writeable else array)
        if self.device.type == "cuda":
            found = found.pin_memory()  # which torch uses for nothing else until the copy is done
        return found.to(self.device, non_blocking=True)


def _room(device: torch.device) -> int:
    """Return how many bytes of a split are held on a device."""
    return IN_MEMORY_BYTES if device.type == "cpu" else torch.cuda.mem_get_info(device)[0] // 4


def _joined(batches: Sequence[Batch]) -> Batch:
    """Return the rows of batches as one."""
    first = batches[0]
    return replace(
        first,
        inputs={m: torch.cat([batch.inputs[m] for batch in batches]) for m in first.inputs},
        target=torch.cat([batch.target for batch in batches]),
        index=torch.cat([batch.index for batch in batches]),
        present={m: torch.cat([batch.present[m] for batch in batches]) for m in first.present},
    )


def ahead(batches: Iterator[Batch], depth: int = AHEAD) -> Iterator[Batch]:
    """Yield what an iterator gives, up to `depth` items ahead of the reader, made in a thread.

    What it raises is raised here; a reader that stops early ends the thread.
    """
    queue: Queue[tuple[Batch | None, BaseException | None]] = Queue(depth)
    stopped = False

    def work() -> None:
        error = None
        try:
            for batch in batches:
                queue.put((batch, None))
                if stopped:
                    return
        except BaseException as raised:  # handed to the reader, whatever it is
            error = raised
        queue.put((None, error))

    Thread(target=work, name="feed", daemon=True).start()
    try:
        while True:
            batch, error = queue.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        stopped = True
        while not queue.empty():  # room for the one that it may wait to put
            queue.get_nowait()
