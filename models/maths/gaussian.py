"""Diagonal Gaussians N(μ, diag(exp l)), each row a mean μ and a log-variance l, both (B, D)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def log_variance(raw: Tensor) -> Tensor:
    """Return l such that the standard deviation exp(l / 2) is softplus(raw), any shape.

    It grows in proportion to `raw`, not exponentially, so that inputs unlike those trained on give no
    overflow.
    """
    return 2 * functional.softplus(raw).clamp_min(1e-30).log()


def sample(mean: Tensor, log_variance: Tensor, normal: Tensor) -> Tensor:
    """Return μ + exp(l / 2) n for standard normal n (B, D); gradients reach μ and l.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014, section 2.4.
    """
    return mean + (log_variance / 2).exp() * normal


def kl(mean: Tensor, log_variance: Tensor, prior_variance: Tensor | float = 1.0) -> Tensor:
    """Return KL(N(μ, diag(exp l)) ‖ N(0, v I)) in nats, (B,), summed over D; v is a number or (B,)."""
    v = torch.as_tensor(prior_variance, dtype=mean.dtype, device=mean.device).unsqueeze(-1)
    return ((log_variance.exp() + mean.square()) / v - 1 - log_variance + v.log()).sum(-1) / 2


def log_mean_variance(log_variance: Tensor) -> Tensor:
    """Return the logarithm of each row's variance averaged over D, (B,)."""
    return log_variance.logsumexp(-1) - math.log(log_variance.shape[-1])


def normal(like: Tensor, generator: torch.Generator, rows: int, start: int) -> Tensor:
    """Return standard normal numbers shaped like `like` (B, …): rows start … start + B - 1 of `rows` drawn.

    Ranks that hold a part each of a global batch of `rows` rows, with equal generators, get together what
    one rank gets. If `like` is on another device than the generator, that device draws from the same seed:
    numbers drawn on the CPU and copied would take longer than a training step does.
    """
    if generator.device.type != like.device.type:
        generator = torch.Generator(like.device).manual_seed(generator.initial_seed())
    shape = (rows, *like.shape[1:])
    drawn = torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
    return drawn[start : start + len(like)]
