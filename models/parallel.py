"""Reductions over the ranks of one run; with one rank each is the identity.

Contract: W ranks that hold B/W samples each train as one rank that holds B. A rank's loss is a mean over its own
rows; the trainer scales it by (own rows / all rows) and sums gradients over ranks. Batch statistics that a method
turns into coefficients, and features that it contrasts over the whole batch, go through `total`, `mean` and
`gather`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod

import torch
import torch.distributed as dist
from torch import Tensor

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def world() -> int:
    """Return the number of ranks that reductions span now."""
    return dist.get_world_size() if dist.is_initialized() and not _alone.get() else 1


def rank() -> int:
    """Return this rank's number, 0 when alone."""
    return dist.get_rank() if world() > 1 else 0


@contextmanager
def replicated() -> Iterator[None]:
    """Within it every rank computes the same thing on the same rows, so reductions are the identity."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def total(value: Tensor) -> Tensor:
    """Return the sum of `value` over ranks (no gradient flows)."""
    value = value.detach()
    if world() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def anyone(flag: bool) -> bool:
    """Say whether the flag is true on any rank."""
    return bool(total(torch.tensor(float(flag), device=_device()))) if world() > 1 else flag


def mean(value: Tensor, rows: float) -> Tensor:
    """Return the mean over all rows of the global batch, given this rank's mean over its `rows` (no gradient)."""
    if world() == 1:
        return value.detach()
    weighted = total(torch.stack([value.detach().double() * rows, torch.full_like(value, rows).double()]))
    return (weighted[0] / weighted[1]).to(value.dtype)


def stacked(value: Tensor) -> Tensor:
    """Return the values of all ranks (W, …), whose shapes are the same (no gradient)."""
    value = value.detach().contiguous()
    if world() == 1:
        return value.unsqueeze(0)
    every = [torch.empty_like(value) for _ in range(world())]
    dist.all_gather(every, value)
    return torch.stack(every)


def gather(value: Tensor) -> Tensor:
    """Return the rows of all ranks, (B, …), in rank order; gradients flow back to the rank that owns a row."""
    return _Gather.apply(value) if world() > 1 else value


def gathered(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the rows of all ranks of every value (B, …), as `gather` does but in one message a type (no gradient)."""
    if world() == 1:
        return dict(values)
    found: dict[str, Tensor] = {}
    for dtype in dict.fromkeys(value.dtype for value in values.values()):
        own = {name: value for name, value in values.items() if value.dtype == dtype}
        widths = [prod(value.shape[1:]) for value in own.values()]
        flat = [value.detach().reshape(len(value), n) for value, n in zip(own.values(), widths, strict=True)]
        parts = gather(torch.cat(flat, 1)).split(widths, 1)
        for (name, value), part in zip(own.items(), parts, strict=True):
            found[name] = part.reshape(len(part), *value.shape[1:])
    return {name: found[name] for name in values}


def place(rows: int, device: torch.device | str = "cpu") -> tuple[int, int]:
    """Return how many rows the global batch has, given this rank's, and where this rank's begin."""
    return (int(total(torch.tensor(rows, device=device))), offset(rows, device)) if world() > 1 else (rows, 0)


def offset(rows: int, device: torch.device | str = "cpu") -> int:
    """Return where this rank's rows begin within `gather`."""
    return int(sum(_counts(rows, device)[: rank()])) if world() > 1 else 0


def summed(values: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """Return every value summed over ranks, in one message a type; None where no rank has one.

    `like` gives the shapes, the same on every rank.
    """
    if world() == 1 or not like:
        return list(values)
    has = torch.tensor([float(value is not None) for value in values], device=like[0].device)
    dist.all_reduce(has, op=dist.ReduceOp.MAX)
    found: list[Tensor | None] = [None] * len(like)
    used = [i for i, flag in enumerate(has.tolist()) if flag]
    for dtype in dict.fromkeys(like[i].dtype for i in used):
        group = [i for i in used if like[i].dtype == dtype]
        parts = [torch.zeros_like(like[i]) if values[i] is None else values[i] for i in group]
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        sums = flat.split([like[i].numel() for i in group])
        for i, value in zip(group, sums, strict=True):
            found[i] = value.view_as(like[i])
    return found


def _device() -> torch.device | str:
    """Return where a message of this process must lie: NCCL sends from a GPU alone."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def _counts(rows: int, device: torch.device | str) -> list[int]:
    return stacked(torch.tensor([rows], device=device)).flatten().tolist()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:
        counts = _counts(len(value), value.device)
        padded = value.new_zeros(max(counts), *value.shape[1:])
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        ctx.counts = counts
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        start = sum(ctx.counts[: rank()])
        return grad[start : start + ctx.counts[rank()]]
