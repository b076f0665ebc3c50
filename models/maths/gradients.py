"""Gradients of single losses, summed over ranks; the only code that differentiates outside `backward`.

With W ranks a loss is a rank's part, already weighted by own / all rows; what is returned is of the sum of
the parts and the same on every rank.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from sweeper.models import parallel


def of(loss: Tensor, parameters: Iterable[Tensor], *, retain_graph: bool = False) -> list[Tensor]:
    """Return the gradient of `loss` by each of `parameters`, shaped like it; zeros where there is none."""
    parameters = list(parameters)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, parameters, retain_graph=retain_graph, materialize_grads=True)
    else:
        found = [torch.zeros_like(p) for p in parameters]
    return summed(found)


def hvp(loss: Tensor, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function v ↦ H v on flat vectors (P,), H the Hessian of `loss`; it keeps the graph.

    Needs `twice_differentiable` around the forward pass. A loss that gathers rows over ranks has no second
    derivative: compute it within `parallel.replicated`.
    """
    first = flat(torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True))
    return lambda vector: flat(of(first @ vector, parameters, retain_graph=True))


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return all entries as one vector (P,)."""
    return torch.cat([t.reshape(-1) for t in tensors])


def unflat(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of `vector` (P,) in the shapes and types of `like`."""
    parts = vector.split([t.numel() for t in like])
    return [part.view_as(t).to(t.dtype) for part, t in zip(parts, like, strict=True)]


def summed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return every tensor summed over ranks, in one message."""
    if parallel.world() == 1:
        return list(tensors)
    return unflat(parallel.total(flat(tensors)), tensors)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Use kernels that have second derivatives; those of fused recurrence and attention, and compiled ones, have none.

    Where the compiler was never imported nothing is compiled.
    """
    compiled = "torch._dynamo" in sys.modules
    uncompiled = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), uncompiled:
        yield
