"""The method: eleven hooks, every one with the joint-training default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from sweeper.models.net import Net
from sweeper.models.tasks.all import Task
from sweeper.models.values import Batch, Context, Metrics, Objective, Output, Phase


class Method(nn.Module):
    """Plain joint training; a method overrides the smallest hook that says its difference.

    Hyper-parameters are the keyword-only constructor arguments of the subclass. Everything that training
    changes is a parameter or a registered buffer. `tasks` names the tasks it supports, `modalities` the least
    and the greatest number of modalities (None: no limit), `fuses` says whether it uses the net's fusion,
    `held_out` is the share of training rows it sets aside.
    """

    tasks: tuple[str, ...] = ("classification",)
    modalities: tuple[int, int | None] = (1, None)
    fuses: bool = True
    held_out: float = 0.0

    def __init__(self, net: Net, task: Task) -> None:
        super().__init__()
        self.net = net
        self.task = task

    def phases(self, epochs: int) -> list[Phase]:
        """Return the stages of training; their epochs need not sum to `epochs`."""
        return [Phase("train", epochs)]

    def param_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups: every parameter that trains, at one learning rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": lr}]

    def forward(self, batch: Batch) -> Output:
        """Return features, fused logits (B, C) and the unimodal read-out of a batch."""
        return self.net(batch)

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield what to minimise, lazily: each costs one optimiser step, made before the next is asked for."""
        output = self(batch)
        yield Objective(self.loss(output, batch, ctx), output, batch)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> Tensor | dict[str, Tensor]:
        """Return the loss, a mean over this rank's rows, or named losses whose sum is minimised."""
        return self.task.loss(output.fused, batch.target)

    def backward(self, objective: Objective) -> None:
        """Fill `.grad`."""
        objective.total.backward()

    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Edit `.grad` (fp32, already summed over ranks) before clipping and the optimiser step; no forward pass."""

    def on_epoch_start(self, ctx: Context) -> None:
        """Prepare an epoch; may read `ctx.train` and `ctx.held_out`."""

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """React to the epoch's validation metrics."""

    def on_phase_end(self, ctx: Context) -> None:
        """Finish a phase, its kept weights restored; closed-form stages fit here."""

    def predict(self, output: Output) -> Tensor:
        """Return what is evaluated: class probabilities (B, C)."""
        return self.task.predict(output.fused)
