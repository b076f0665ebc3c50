"""Optimisers and learning rates, from a run's settings and the factors that a method asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from sweeper.models.maths.eager import eager
from sweeper.models.method import Method
from sweeper.models.training.settings import Settings

ENCODERS = "net.encoders."


def optimizer(groups: list[dict[str, Any]], settings: Settings) -> Optimizer:
    """Return the optimiser of the parameter groups; it steps all parameters in one call, on a GPU in one kernel."""
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        if groups[0]["params"][0].is_cuda:
            return fused_sgd(groups, momentum=settings.momentum, **common)
        return eager(torch.optim.SGD)(groups, momentum=settings.momentum, foreach=True, **common)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return eager(kind)(groups, fused=True, **common)


def fused_sgd(groups: list[dict[str, Any]], *, momentum: float, **common: float) -> Optimizer:
    """Return SGD in one kernel; it fails where but some parameters have a momentum, so all begin with one of 0."""
    made = eager(torch.optim.SGD)(groups, momentum=momentum, fused=True, **common)
    for p in (p for group in groups for p in group["params"] if momentum):
        made.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return made


def groups(
    method: Method, trainable: Mapping[str, bool], settings: Settings, lr: float, factors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the parameters in groups of one learning rate, weight decay and factor; frozen ones have no gradient.

    `lr` takes the place of the settings' own; a group's `factor` names the entry of `factors` that it follows.
    """
    depth = _layer_factors(method, settings.layer_decay) if settings.layer_decay < 1 else {}
    found: dict[tuple[float, float, str], list[nn.Parameter]] = {}
    for name, p in method.named_parameters():
        if not trainable[name]:
            continue
        modality = name.removeprefix(ENCODERS).split(".")[0] if name.startswith(ENCODERS) else ""
        rate = settings.encoder_lr.get(modality, lr) * depth.get(name, 1.0)
        decay = settings.weight_decay if settings.decay == "all" or p.dim() > 1 else 0.0
        follows = max((f for f in factors if begins(name, f)), key=len, default="")
        found.setdefault((rate, decay, follows), []).append(p)
    return [
        {"params": own, "lr": rate, "weight_decay": decay, "factor": follows}
        for (rate, decay, follows), own in found.items()
    ]


def scheduler(of: Optimizer, kind: str, epochs: int) -> LRScheduler:
    """Return the schedule of the learning rate over a phase's epochs, stepped once an epoch."""
    epochs = max(epochs, 1)  # a phase may have none
    if kind == "plateau":
        return ReduceLROnPlateau(of, factor=0.1, patience=5)
    factor = {
        "constant": lambda epoch: 1.0,
        "cosine": lambda epoch: 0.5 * (1 + math.cos(math.pi * epoch / epochs)),
        "step": lambda epoch: 1.0 if epoch < 0.7 * epochs else 0.1,
    }[kind]
    return LambdaLR(of, factor)


def warmed(epoch: float, epochs: float) -> float:
    """Return the factor on the learning rate after a fractional number of epochs, of which `epochs` warm up."""
    return min(1.0, epoch / epochs) if epochs else 1.0


def begins(name: str, prefix: str) -> bool:
    """Say whether a parameter's name begins with a prefix, whole parts of it."""
    return name == prefix or name.startswith(f"{prefix}.")


def _layer_factors(method: Method, decay: float) -> dict[str, float]:
    """Return {parameter: factor} of the encoders: `decay` for each layer of the encoder that lies above it."""
    found = {}
    for m, encoder in method.net.encoders.items():
        layers = list(encoder.layers())
        place = {id(p): depth for depth, layer in enumerate(reversed(layers)) for p in layer.parameters()}
        for name, p in encoder.named_parameters():
            found[f"{ENCODERS}{m}.{name}"] = decay ** place.get(id(p), 0)
    return found
