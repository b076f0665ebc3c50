"""Optimisers and learning-rate schedules, from a run's settings."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from sweeper.models.maths.eager import eager
from sweeper.models.training.settings import Settings


def optimizer(groups: list[dict[str, Any]], settings: Settings) -> Optimizer:
    """Return the optimiser of the parameter groups; it steps all parameters in one call."""
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        # torch's fused SGD fails where some parameters have had no gradient yet
        return eager(torch.optim.SGD)(groups, momentum=settings.momentum, foreach=True, **common)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return eager(kind)(groups, fused=True, **common)


def scheduler(of: Optimizer, kind: str, epochs: int) -> LRScheduler:
    """Return the schedule of the learning rate over a phase's epochs, stepped once an epoch."""
    if kind == "plateau":
        return ReduceLROnPlateau(of, factor=0.1, patience=5)
    factor = {
        "constant": lambda epoch: 1.0,
        "cosine": lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / epochs)),
        "step": lambda epoch: 1.0 if epoch < 0.7 * epochs else 0.1,
    }[kind]
    return LambdaLR(of, factor)
