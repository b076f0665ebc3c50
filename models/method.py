"""The method: twelve hooks, every one with the joint-training default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from sweeper.models.net import Net
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, EpochRows, Metrics, Objective, Output, Phase

Gradients = Mapping[str, Tensor]  # by the parameter's name


class Method(nn.Module):
    """Plain joint training; a method overrides the smallest hook that says its difference.

    Hyper-parameters are the keyword-only constructor arguments of the subclass. Everything that training changes is a
    parameter or a registered buffer: teachers, prototypes, memory banks too, whose sizes `net.spec` tells. A parameter
    that takes no gradient when the method is built never trains, and what holds such alone is in evaluation mode.
    `stage` is the number of the phase that the weights at hand are of.

    `tasks` names the tasks it supports, `modalities` the least and the greatest number of modalities (None: no limit),
    `fuses` says whether it uses the net's fusion, `reads` in which ways that may read encoders, `equal_widths` whether
    all features must have one width, `held_out` is the share of training rows it sets aside. `after_training` names
    the hyper-parameters that count only once all epochs are done: runs that differ in them alone share their training.
    `encodes` is False where the inputs themselves are read and no encoder is built, `trains` where all is fitted at
    once, so that nothing under `train.` counts; `floor` says that tables name the arms on the same modalities that do
    not reach it. `changes_inputs` says that the method itself changes what is encoded, so that encoders which never
    train cannot be run once and for all.
    """

    tasks: tuple[str, ...] = ("classification",)
    modalities: tuple[int, int | None] = (1, None)
    fuses: bool = True
    reads: tuple[str, ...] = ("pooled", "tokens", "maps", "stages")
    equal_widths: bool = False
    held_out: float = 0.0
    after_training: tuple[str, ...] = ()
    encodes: bool = True
    trains: bool = True
    floor: bool = False
    changes_inputs: bool = False
    # the labels of the test conditions it can predict under, None: all
    conditions: tuple[str, ...] | None = None

    def __init__(self, net: Net, task: Task) -> None:
        super().__init__()
        self.net = net
        self.task = task
        self.register_buffer("stage", torch.tensor(0))

    @property
    def dtype(self) -> torch.dtype:
        """What batches are made of: the type of the widest parameters, for an encoder may compute in a narrower one."""
        return max((p.dtype for p in self.parameters()), key=lambda dtype: dtype.itemsize)

    def phases(self, epochs: int) -> list[Phase]:
        """Return the stages of training; their epochs need not sum to `epochs`."""
        return [Phase("train", epochs)]

    def rates(self, ctx: Context) -> dict[str, float]:
        """Return factors on the learning rate for this epoch, by the beginnings of parameters' names.

        Of several that fit the longest counts. The names are the same in every epoch of a phase.
        """
        return {}

    def epoch_rows(self, rows: Tensor, ctx: Context) -> EpochRows:
        """Return the rows that this epoch trains on, given all of them, shuffled, by their index (N,)."""
        return EpochRows(rows)

    def forward(self, batch: Batch) -> Output:
        """Return features, fused logits (B, C) and the unimodal read-out of a batch."""
        return self.net(batch)

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield what to minimise, lazily: each costs one optimiser step, made before the next is asked for."""
        output = self(batch)
        yield Objective(self.loss(output, batch, ctx), output, batch)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> Tensor | dict[str, Tensor]:
        """Return the loss, a mean over this rank's rows, or named losses whose sum is minimised."""
        return self.task.loss(output.fused, batch.target, batch.weight)

    def combine(self, gradients: Mapping[str, Gradients], ctx: Context) -> Gradients:
        """Return one gradient for each parameter, given those of each named loss, summed over ranks.

        Only a method that overrides this has its losses differentiated one by one; a loss holds no entry for a
        parameter that it does not depend on.
        """
        names = {name for own in gradients.values() for name in own}
        return {name: sum(own[name] for own in gradients.values() if name in own) for name in names}

    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Edit `.grad` (fp32, already summed over ranks) before clipping and the optimiser step; no forward pass."""

    def on_epoch_start(self, ctx: Context) -> None:
        """Prepare an epoch; may read `ctx.train` and `ctx.held_out`."""

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """React to the epoch's validation metrics; the weights that they were measured on are put by already."""

    def on_phase_end(self, ctx: Context) -> None:
        """Finish a phase, its kept weights restored; closed-form stages fit here."""

    def predict(self, output: Output) -> Tensor:
        """Return what is evaluated: class probabilities (B, C)."""
        return self.task.predict(output.fused)
