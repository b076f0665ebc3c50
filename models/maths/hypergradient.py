"""How the outer loss changes with the weight α of L_total(α) = (1 - α) L_cls + α L_match (LFM, equation 3).

At an inner optimum dL_outer/dα = -δᵀ H⁻¹ ∇L_outer with δ = ∂²L_total/∂α∂θ = ∇L_match - ∇L_cls, since L_total
is linear in α, and H = ∂²L_total/∂θ². The solvers differ in how they approximate v = H⁻¹ ∇L_outer. Away from
an optimum H is indefinite and the undamped formula means nothing; `identity` and damped `cg` are usable
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from sweeper.models.maths import gradients

Solver = Literal["identity", "neumann", "cg", "finite_difference", "released"]
Inner = Callable[[], tuple[Tensor, Tensor]]
Outer = Callable[[], Iterable[tuple[Tensor, int]]]
Product = Callable[[Tensor], Tensor]


def hypergradient(
    inner: Inner,
    outer: Outer,
    parameters: Sequence[Tensor],
    alpha: float,
    *,
    solver: Solver = "identity",
    lr: float = 0.1,
    steps: int = 10,
    damping: float = 0.1,
    normalize: bool = False,
) -> Tensor:
    """Return the scalar dL_outer/dα for P parameters in all.

    `inner` returns fresh (L_cls, L_match) on one batch; `outer` yields (mean loss, rows) of the batches that
    make up the outer loss, so that one graph is held at a time. Solvers: `identity` v = lr ∇L_outer;
    `neumann` v = lr Σ_{k=0..steps} (I - lr H)^k ∇L_outer, which needs lr < 2/λ_max(H); `cg` (H + damping I)
    v = ∇L_outer in at most `steps` iterations; `finite_difference` of the outer loss after one step of size
    lr on L_total; `released` as the function of that name. `normalize` divides by ‖δ‖‖v‖ (v of `identity`
    for `finite_difference`): minus the cosine of δ and v, free of the losses' scales and of lr.
    """
    if solver == "released":
        return released(inner, parameters, alpha)
    classification, match = inner()
    own = gradients.flat(gradients.of(classification, parameters, retain_graph=True))
    delta = gradients.flat(gradients.of(match, parameters)) - own
    grad = _mean((gradients.flat(gradients.of(loss, parameters)), rows) for loss, rows in outer())
    if solver in ("neumann", "cg"):
        with gradients.twice_differentiable():
            product = gradients.hvp(_total(inner, alpha), parameters)
            v = cg(product, grad, damping, steps) if solver == "cg" else neumann(product, grad, lr, steps)
    else:
        v = lr * grad
    value = -(delta @ v)
    if solver == "finite_difference":
        value = finite_difference(own, delta, outer, parameters, alpha, lr)
    return value / (delta.norm() * v.norm() + 1e-12) if normalize else value


def neumann(product: Product, target: Tensor, lr: float, steps: int) -> Tensor:
    """Return lr Σ_{k=0..steps} (I - lr H)^k target (P,), which tends to H⁻¹ target (Ghadimi & Wang, 2018)."""
    term, total = target, target
    for _ in range(steps):
        term = term - lr * product(term)
        total = total + term
    return lr * total


def cg(product: Product, target: Tensor, damping: float, steps: int, tolerance: float = 1e-6) -> Tensor:
    """Return x (P,) with (H + damping I) x = target, by conjugate gradients.

    Stops when the residual is below `tolerance` of the target, or at a direction of non-positive curvature:
    there x so far is returned, or the target itself if it is the first direction (as truncated Newton does).
    """
    x = torch.zeros_like(target)
    residual = direction = target
    square = target @ target
    goal = tolerance**2 * square
    for step in range(steps):
        if square <= goal:
            break
        bent = product(direction) + damping * direction
        curvature = direction @ bent
        if curvature <= 0:
            return x if step else target
        size = square / curvature
        x = x + size * direction
        residual = residual - size * bent
        previous, square = square, residual @ residual
        direction = residual + (square / previous) * direction
    return x


def finite_difference(
    classification: Tensor,
    delta: Tensor,
    outer: Outer,
    parameters: Sequence[Tensor],
    alpha: float,
    lr: float,
    width: float = 1e-2,
) -> Tensor:
    """Return the central difference over α ± width of the outer loss after one virtual gradient step.

    `classification` (P,) is ∇L_cls and `delta` (P,) ∇L_match - ∇L_cls, which give ∇L_total at every α. The
    parameters are moved in place and put back exactly.
    """
    saved = [p.detach().clone() for p in parameters]

    def stepped(at: float) -> Tensor:
        move = gradients.unflat(lr * (classification + at * delta), parameters)
        for p, old, m in zip(parameters, saved, move, strict=True):
            p.copy_(old - m)
        return _mean(outer())

    with torch.no_grad():
        try:
            return (stepped(alpha + width) - stepped(alpha - width)) / (2 * width)
        finally:
            for p, old in zip(parameters, saved, strict=True):
                p.copy_(old)


def released(inner: Inner, parameters: Sequence[Tensor], alpha: float) -> Tensor:
    """Return what LFM's released code uses instead: the mean entry of H ∇L_cls in the first parameter tensor.

    No inverse, no mixed derivative, no sign, no normalisation; all other tensors are discarded.
    """
    classification, _ = inner()
    own = gradients.flat(gradients.of(classification, parameters))
    with gradients.twice_differentiable():
        bent = gradients.hvp(_total(inner, alpha), parameters)(own)
    return bent[: parameters[0].numel()].mean()


def _total(inner: Inner, alpha: float) -> Tensor:
    classification, match = inner()
    return (1 - alpha) * classification + alpha * match


def _mean(parts: Iterable[tuple[Tensor, int]]) -> Tensor:
    total, count = 0.0, 0
    for value, rows in parts:
        total, count = total + value * rows, count + rows
    return total / count
