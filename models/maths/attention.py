"""Weights γ of a row's modalities, (B, M, 1), or (B, M, d) where they differ between features; absent ones weigh 0."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import one_hot, softplus

LEAST_MEAN = 1e-6


def ratio(features: Tensor, present: Tensor) -> Tensor:
    """Return γ ∝ v / (v + mean v (Σ v + M)), v = softplus(features (B, M, d)), over the M that are `present` (B, M).

    Source: CL-DMDF, Algorithm 1, line 23, made positive and summing to 1; its factor Σ E cancels.
    """
    there = present.unsqueeze(-1)
    positive = (softplus(features) + LEAST_MEAN) * there
    total, number = positive.sum(1, keepdim=True), there.sum(1, keepdim=True)
    share = positive / (positive + total / number * (total + number))
    return share / share.sum(1, keepdim=True)


def mixed(gamma: Tensor, chosen: Tensor, present: Tensor) -> Tensor:
    """Return g_0 best + g_1 mean + g_2 γ, of γ (B, M, ·) and g = `chosen` (B, 3): a mixture of weights.

    Weighing values by it is the same mixture of the fusions that weigh by each of the three.
    """
    best = one_hot(gamma.mean(-1).argmax(-1), gamma.shape[1])
    mean = present.to(gamma) / present.sum(-1, keepdim=True)
    first, second, third = chosen.unsqueeze(-1).unbind(1)  # each (B, 1)
    return (first * best + second * mean).unsqueeze(-1) + third.unsqueeze(-1) * gamma
