"""Optimiser steps: from a batch to its objectives, their gradients over all ranks, and the parameters moved by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.optim import Optimizer

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.training import buckets
from sweeper.models.training.optimizers import begins
from sweeper.models.training.settings import Settings
from sweeper.models.values import Batch, Context, Objective

Part = tuple[Batch, float, Context]  # rows, their share of the global batch, what hooks see


def steps(
    method: Method,
    parts: Sequence[Part],
    optimizer: Optimizer,
    settings: Settings,
    autocast: AbstractContextManager,
) -> Iterator[tuple[Objective, int]]:
    """Minimise a batch's objectives, a step for each; yield them with the number of rows that they are of.

    The parts of a batch go through the net one after another and add up to one step.
    """
    running = [(iter(method.objectives(batch, ctx)), share) for batch, share, ctx in parts]
    combines = overrides(method, "combine")
    while True:
        gradients: dict[str, dict[str, Tensor]] = {}
        moved: dict[torch.nn.Parameter, None] = {}
        for number, (objectives, share) in enumerate(running):
            with autocast:
                objective = next(objectives, None)
            if objective is None:  # of all parts alike
                return
            if number == 0:
                optimizer.zero_grad(set_to_none=True)
            own = objective if share == 1.0 else objective.scaled(share)
            if combines:
                _differentiate(own, trained(method, own), gradients)
            else:
                named = list(trained(method, own).values()) if own.train or parallel.world() > 1 else []
                moved |= dict.fromkeys(named)
                with buckets.summed(list(moved) if number == len(running) - 1 else ()):
                    torch.autograd.backward(own.total, inputs=named if own.train else None)
            yield objective, len(parts[number][0])
        ctx = parts[-1][2]
        if combines:
            _combine(method, gradients, ctx)
        method.modulate(objective, ctx)
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(method.parameters(), settings.clip)
        if settings.clip_value is not None:
            torch.nn.utils.clip_grad_value_(method.parameters(), settings.clip_value)
        optimizer.step()


def check_parts(method: Method, settings: Settings) -> None:
    """Raise UserError if batches are to be taken in parts, but the method's gradients are of whole ones."""
    if settings.accumulate > 1 and (overrides(method, "combine") or overrides(method, "modulate")):
        raise UserError(
            f"train.accumulate is {settings.accumulate}, but method {type(method).__name__} works on the gradients of"
            " whole batches; admissible: 1"
        )


def overrides(method: Method, hook: str) -> bool:
    """Say whether a method has a hook of its own."""
    return getattr(type(method), hook) is not getattr(Method, hook)


def trained(method: Method, objective: Objective | None = None) -> dict[str, torch.nn.Parameter]:
    """Return the parameters by name that a step may change: those not frozen, that the objective names if it does."""
    only = objective.train if objective else ()
    return {
        name: p
        for name, p in method.named_parameters()
        if p.requires_grad and (not only or any(begins(name, prefix) for prefix in only))
    }


def _differentiate(
    objective: Objective, parameters: dict[str, torch.nn.Parameter], gradients: dict[str, dict[str, Tensor]]
) -> None:
    """Add the gradients of each loss to {loss: {parameter: gradient}}."""
    losses = objective.losses
    for left, (loss, value) in zip(range(len(losses) - 1, -1, -1), losses.items(), strict=True):
        own = gradients.setdefault(loss, {})
        if not value.requires_grad:
            continue
        found = torch.autograd.grad(
            value, list(parameters.values()), retain_graph=left > 0, allow_unused=True
        )
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                own[name] = own[name] + gradient if name in own else gradient


def _combine(method: Method, gradients: dict[str, dict[str, Tensor]], ctx: Context) -> None:
    """Leave in `.grad` what the method makes of the losses' gradients, each summed over ranks once."""
    parameters = trained(method)
    names, own = list(parameters), list(parameters.values())
    every = [gradients[loss].get(name) for loss in gradients for name in names]
    summed = iter(parallel.summed(every, own * len(gradients)))
    whole = {loss: {n: g for n in names if (g := next(summed)) is not None} for loss in gradients}
    combined = method.combine(whole, ctx)
    _assign(own, [combined.get(name) for name in names])


def _assign(parameters: Sequence[torch.nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for p, gradient in zip(parameters, gradients, strict=True):
        p.grad = gradient
