"""Gradients summed over ranks while the backward pass goes on, in buckets: each is sent once its gradients are there.

No rank can wait for another in vain. All ranks have the same buckets and send them in the same order, whatever the
order in which their own gradients come, and over a connection of their own, so that what the backward pass itself
sends (gathered features, batch norm) never meets a bucket. A bucket also tells which of its parameters a rank used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from sweeper.models import parallel

FIRST_BYTES, BYTES = 2**20, 25 * 2**20  # the first bucket is small, so that there is soon something to send


@contextmanager
def summed(parameters: Sequence[Parameter]) -> Iterator[None]:
    """Leave in `.grad` its sum over ranks, None where no rank has one; the backward pass goes on within.

    `parameters` are the same on all ranks. What `.grad` holds before is part of the sum.
    """
    if parallel.world() == 1:
        yield
        return
    group = _connection(dist.group.WORLD)  # made here, where all ranks are, and not amid a backward pass
    waiting = [_Bucket(own, place, group) for place, own in enumerate(filled(parameters))]
    sent: list[_Bucket] = []

    def arrived(bucket: _Bucket) -> None:
        bucket.missing -= 1
        while waiting and not waiting[0].missing:
            sent.append(waiting.pop(0).send())

    hooks = [
        p.register_post_accumulate_grad_hook(lambda _, bucket=bucket: arrived(bucket))
        for bucket in waiting
        for p in bucket.parameters
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for bucket in [*sent, *[bucket.send() for bucket in waiting]]:
        bucket.receive()


def filled(parameters: Sequence[Parameter]) -> list[list[Parameter]]:
    """Return the parameters in buckets of one type each, the last parameter first: so do gradients become ready."""
    found: list[list[Parameter]] = []
    filling: dict[torch.dtype, list[Parameter]] = {}
    size = dict.fromkeys((p.dtype for p in parameters), 0)
    for p in reversed(parameters):
        filling.setdefault(p.dtype, []).append(p)
        size[p.dtype] += p.nbytes
        if size[p.dtype] >= (BYTES if found else FIRST_BYTES):
            found.append(filling.pop(p.dtype))
            size[p.dtype] = 0
    return [*found, *filling.values()]


class _Bucket:
    def __init__(self, parameters: Sequence[Parameter], place: int, group: dist.ProcessGroup) -> None:
        self.parameters, self.place, self.group = parameters, place, group
        self.missing = len(parameters)

    def send(self) -> _Bucket:
        """Begin to sum the gradients, zero where there is none, and behind them 1 for each that there is."""
        first, sizes = self.parameters[0], [p.numel() for p in self.parameters]
        flat = _buffer(self.place, sum(sizes) + len(sizes), first.dtype, first.device)
        *parts, self.used = flat.split([*sizes, len(sizes)])
        self.sums = [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]
        self.used.fill_(1)
        for i, (p, value) in enumerate(zip(self.parameters, self.sums, strict=True)):
            if p.grad is None:
                value.zero_()
                self.used[i] = 0
            else:
                value.copy_(p.grad)
        self.work = dist.all_reduce(flat, group=self.group, async_op=True)
        return self

    def receive(self) -> None:
        """Wait for the sums and leave them in `.grad`; a GPU is asked who used what only where this rank did not."""
        self.work.wait()
        unused = any(p.grad is None for p in self.parameters)
        used = self.used.tolist() if unused else [1] * len(self.parameters)
        for p, value, there in zip(self.parameters, self.sums, used, strict=True):
            if p.grad is not None:
                p.grad.copy_(value)
            elif there:
                p.grad = value.clone()


@lru_cache(maxsize=32)
def _buffer(_place: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the memory of the bucket at a place, the same in every step: fresh memory costs more than to fill it."""
    return torch.empty(size, dtype=dtype, device=device)


@lru_cache(maxsize=1)
def _connection(_world: dist.ProcessGroup) -> dist.ProcessGroup:
    """Return a second connection of all ranks."""
    return dist.new_group()
