"""Reductions over the ranks of one run; with one rank each is the identity.

Contract: W ranks that hold B/W samples each train as one rank that holds B. A rank's loss is a mean over its own
rows; the trainer scales it by (own rows / all rows) and sums gradients over ranks. Batch statistics that a method
turns into coefficients, and features that it contrasts over the whole batch, go through `total`, `mean` and
`gather`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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


def mean(value: Tensor, rows: float) -> Tensor:
    """Return the mean over all rows of the global batch, given this rank's mean over its `rows` (no gradient)."""
    if world() == 1:
        return value.detach()
    weighted = total(torch.stack([value.detach().double() * rows, torch.full_like(value, rows).double()]))
    return (weighted[0] / weighted[1]).to(value.dtype)


def gather(value: Tensor) -> Tensor:
    """Return the rows of all ranks, (B, …), in rank order; gradients flow back to the rank that owns a row."""
    return _Gather.apply(value) if world() > 1 else value


def offset(rows: int, device: torch.device | str = "cpu") -> int:
    """Return where this rank's rows begin within `gather`."""
    return int(sum(_counts(rows, device)[: rank()])) if world() > 1 else 0


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sum `.grad` over ranks, in one message; a parameter that no rank has a gradient for keeps None."""
    if world() == 1:
        return
    parameters = [p for p in parameters if p.requires_grad]
    if not parameters:
        return
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    dist.all_reduce(has, op=dist.ReduceOp.MAX)
    used = [p for p, flag in zip(parameters, has.tolist(), strict=True) if flag]
    for p in used:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    for dtype in {p.dtype for p in used}:
        group = [p for p in used if p.dtype == dtype]
        flat = torch.cat([p.grad.reshape(-1) for p in group])
        dist.all_reduce(flat)
        for p, part in zip(group, flat.split([p.numel() for p in group]), strict=True):
            p.grad.copy_(part.view_as(p))


def _counts(rows: int, device: torch.device | str) -> list[int]:
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(world())]
    dist.all_gather(counts, torch.tensor([rows], device=device))
    return [int(c) for c in counts]


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
