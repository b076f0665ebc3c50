"""Unimodal teachers: joint training whose features stay near those of encoders that were trained alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from sweeper.models.maths import metrics as of_metrics
from sweeper.models.maths.evidence import full
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.matching import unit
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, ShareWithin
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Metrics, Objective, Output, Phase

TEACHERS, STUDENT = range(2)  # the stages, by the number of their phase


class Umt(Method):
    """Minimise L(fused) + `weight` Σ_m mean (z_m - t_m)², t_m the features of a frozen encoder that was trained alone.

    Shapes: z_m, t_m (B, D_m), fused logits (B, C); the mean is over rows and features. The fusion may be any; it alone
    predicts and is read out.

    First the teachers train for a share `teachers` of the run's epochs, all side by side: encoder and linear head m on
    modality m alone, a step each. Teacher m is the epoch at which m's validation headline was best. Then encoders and
    fusion train from the weights that they began with, in the epochs that are left; the teachers see the same augmented
    rows, in evaluation mode. `norm` l2 compares directions, features of length 1. A modality that a row lacks is 0 in
    both. Neutral: `weight` 0 is joint training to the bit, and trains no teachers. Logs nothing but its losses.

    Source: Du et al., ICML 2023, section 4; `weight` is that of BalanceBenchmark's program, the paper's we do not have.
    Deviations: teachers have the run's learning rate and, so that a run is as long as other methods', half of its
    epochs by default; published are trainings in full. The average of the teachers' own predictions, the paper's
    alternative, is unimodal_sum.
    """

    tasks = ("classification", "multilabel", "regression")
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        weight: NonNegative = 10.0,
        norm: Literal["none", "l2"] = "none",
        teachers: ShareWithin = 0.5,
    ) -> None:
        super().__init__(net, task)
        self.weight, self.unit, self.share = weight, norm == "l2", teachers
        self.heads = Heads(net.dims, task.n_outputs)
        self.teachers = Net(net.spec, copy.deepcopy(net.encoders), None).requires_grad_(False)
        self.register_buffer("best", torch.full((len(net.encoders),), -math.inf))  # larger is better
        self.stage.fill_(STUDENT)

    def phases(self, epochs: int) -> list[Phase]:
        """Return the teachers' phase, after which the net is as before, and the student's."""
        if not self.weight:
            return [Phase("train", epochs)]
        first = max(1, int(self.share * epochs))
        return [
            Phase("teachers", first, ("net.encoders", "heads"), keep="none"),
            Phase("train", max(1, epochs - first), ("net",)),
        ]

    def forward(self, batch: Batch) -> Output:
        """Return the net's output; while teachers are trained their heads as read-out, and as fused their mean."""
        if not self._teaching:
            return self.net(batch)
        features = self.net.encode(batch)
        return Output(features, torch.stack(list(self.heads(features).values())).mean(0), self.heads)

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, or while teachers are trained one for each of them."""
        if not self._teaching:
            yield from super().objectives(batch, ctx)
            return
        for m in self.net.encoders:
            features = self.net.encode(batch, [m])
            output = Output(features, self.heads(features)[m], self.heads)
            loss = self.task.loss(output.fused, batch.target, batch.weight)
            yield Objective({f"unimodal/{m}": loss}, output, batch, (f"net.encoders.{m}", f"heads.{m}"))

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of the fused logits and how far the features are from the teachers'."""
        losses = {"fused": super().loss(output, batch, ctx)}
        if self.weight:
            with torch.no_grad():
                taught = self.teachers.encode(batch)
            far = sum(self._distances(z, taught[m]) for m, z in output.features.items())
            losses["teachers"] = self.weight * (far if batch.weight is None else far * batch.weight).mean()
        return losses

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """Copy the encoders that are better alone than in any epoch before."""
        if not self._teaching:
            return
        sign = 1 if of_metrics.direction(self.task.headline) == "max" else -1
        for i, m in enumerate(self.net.encoders):
            value = sign * metrics.get(
                f"{self.task.headline}/{m}", 0.0
            )  # no validation row has it: the first
            if value > self.best[i]:
                self.best[i] = value
                self.teachers.encoders[m].load_state_dict(self.net.encoders[m].state_dict())

    @property
    def _teaching(self) -> bool:
        return self.weight > 0 and int(self.stage) == TEACHERS

    def _distances(self, z: Tensor, taught: Tensor) -> Tensor:
        """Return each row's mean square difference of features (B, D)."""
        z, taught = full(z), full(taught)
        if self.unit:
            z, taught = unit(z), unit(taught)
        return (z - taught).square().mean(-1)
