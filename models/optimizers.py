"""Optimisers and learning-rate schedules, from a run's settings."""

from __future__ import annotations

import inspect
import math
from functools import cache
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from models.settings import Settings

GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def eager(kind: type[Optimizer]) -> type[Optimizer]:
    """Return one of torch's optimisers without its guards against torch's compiler, which nothing here uses.

    The first guard that is entered imports the compiler: about a second and 70 MB in every process.
    """
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in (*GUARDED, "step")}
    plain["step"] = torch.no_grad()(plain["step"])
    return type(kind.__name__, (kind,), plain)


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
