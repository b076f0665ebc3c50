"""Gradient blending: each head's loss weighs by how much it generalises for how much it overfits, as probes measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.modes import measuring
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, ShareWithin
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Metrics, Objective, Output, Phase

ALONE, JOINT, TRAIN = range(3)  # what the phases of a cycle train, in turn
LEAST_SQUARE = 1e-6


class Gblend(Method):
    """Minimise Σ_m w_m L(head_m(z_m)) + w_joint L(fused); the weights w, of sum 1, come from probes.

    Shapes: z_m (B, D_m), head and fused logits (B, C). Prediction: the fused logits; unimodal read-out: the heads. The
    fusion may be any.

    A probe trains what a head needs, alone: encoder and head m on L_m, all modalities side by side; then encoders and
    fusion on the fused loss. Each goes on for n epochs, after which all is put back. Before and after it the losses
    on training rows, T, and on those held out (`held_out_fraction`), H, are measured in evaluation mode. Generalisation
    G = H_before - H_after, overfitting O = (H - T)_after - (H - T)_before, w ∝ G / O²: `blend`, where G ≤ 0 weighs 0.
    A head that weighs 0, the fused one too, stays as it is until the next probe.

    `mode` online: again and again a probe, n = `probe`, and about `super_epoch` epochs of training from where it left
    off, momentum included. Offline: one probe at the start, n = `share` of the run's epochs, then training at these
    weights. The cost counts: a probe takes 2 n of the run's epochs, each about as long as one of training, so that
    a run is as long as other methods'; online by default 6 of every 16 or so. Where a run is too short for both, n is
    smaller; at 0 the weights are equal. After a short probe O is near 0 and one head takes nearly all weight: a
    run of few epochs suffers (docs/results.md, `lfm_table1`). What is kept is the best epoch of the last phase, and a
    schedule of the learning rate begins anew with each phase. Neutral: w_joint = 1 alone is joint training. Logs
    `weight/<modality>` and `weight/joint`.

    Source: Wang, Tran and Feiszli, CVPR 2020, equations 4 to 7 and Algorithms 1 and 2, which leaves the super-epoch and
    the probe to the user. Deviations: the offline probe is as long as a training in the paper; O² + 1e-6 divides; what
    was held out is never trained on; each row counts the modalities that it has in L_m.
    """

    tasks = ("classification", "multilabel", "regression")
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        mode: Literal["online", "offline"] = "online",
        super_epoch: Count = 10,
        probe: Count = 3,
        share: ShareWithin = 0.2,
        held_out_fraction: ShareWithin = 0.1,
    ) -> None:
        super().__init__(net, task)
        self.online, self.super_epoch, self.probe, self.share = mode == "online", super_epoch, probe, share
        self.held_out = held_out_fraction
        self.heads = Heads(net.dims, task.n_outputs)
        count = len(net.encoders) + 1
        for name in ("weights", "gain", "overfitting"):  # of the heads, the fused one last
            self.register_buffer(name, torch.full((count,), 1 / count))
        self.register_buffer("before", torch.zeros(2, count))
        self.stage.fill_(TRAIN)

    def phases(self, epochs: int) -> list[Phase]:
        """Return cycles of two probes and training, as evenly long as the run's epochs allow."""
        wanted = self.probe if self.online else max(1, int(self.share * epochs))
        fitting = round(epochs / (2 * wanted + self.super_epoch)) if self.online else 1
        cycles = max(1, min(fitting, epochs // (2 * wanted + 1)))
        n = min(wanted, (epochs // cycles - 1) // 2)
        left = epochs - 2 * n * cycles
        found = []
        for i in range(cycles):
            own = (i + 1) * left // cycles - i * left // cycles
            keep = "best" if i == cycles - 1 else "last"
            found += [
                Phase(f"alone {i}", n, ("net.encoders", "heads"), "none"),
                Phase(f"joint {i}", n, ("net",), "none"),
                Phase(f"train {i}", own, keep=keep, optimizer="kept"),
            ]
        return found

    def forward(self, batch: Batch) -> Output:
        """Return the net's output with the heads as read-out; while they are probed, fused is their mean."""
        output = replace(self.net(batch), read_out=self.heads)
        if self._part == ALONE:
            return replace(output, fused=torch.stack(list(output.unimodal.values())).mean(0))
        return output

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield the weighted losses; in a probe those that it trains, each for itself."""
        output = self(batch)
        logits = [*output.unimodal.values(), output.fused]
        losses = {
            name: self.task.loss(x, batch.target, counted)
            for name, x, counted in zip(self._names, logits, self._counted(batch), strict=True)
        }
        if self._part == TRAIN:
            weighed = zip(losses.items(), self.weights.tolist(), strict=True)
            yield Objective({name: w * loss for (name, loss), w in weighed if w}, output, batch)
        elif self._part == JOINT:
            yield Objective({"fused": losses["fused"]}, output, batch)
        else:
            for m, (name, loss) in zip(self.net.encoders, losses.items(), strict=False):
                yield Objective({name: loss}, output, batch, (f"net.encoders.{m}", f"heads.{m}"))

    def on_epoch_start(self, ctx: Context) -> None:
        """Log the weights; measure the losses before a probe."""
        if self._part == TRAIN:
            for name, w in zip([*self.net.encoders, "joint"], self.weights.tolist(), strict=True):
                ctx.log(f"weight/{name}", w)
        elif ctx.epoch == 0:
            self.before.copy_(self._measured(ctx))

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """Measure the losses after a probe, and what it says of the heads that it trained."""
        if self._part == TRAIN or ctx.epoch < ctx.epochs - 1:
            return
        own = slice(-1) if self._part == ALONE else slice(-1, None)
        gain, overfitting = gains(self.before, self._measured(ctx).to(self.before))
        self.gain[own], self.overfitting[own] = gain[own], overfitting[own]
        if self._part == JOINT:
            self.weights.copy_(blend(self.gain, self.overfitting))

    @property
    def _part(self) -> int:
        return int(self.stage) % 3

    @property
    def _names(self) -> list[str]:
        return [*(f"unimodal/{m}" for m in self.net.encoders), "fused"]

    def _counted(self, batch: Batch) -> list[Tensor | None]:
        """Return what each row counts (B,) in the loss of each head, None: all alike."""
        found = []
        for m in self.net.encoders:
            own, there = batch.weight, batch.present.get(m)
            if there is not None:
                own = there.to(self.dtype) * (1 if own is None else own)
            found.append(own)
        return [*found, batch.weight]

    @torch.no_grad()
    def _measured(self, ctx: Context) -> Tensor:
        """Return every head's mean loss on training and on held-out rows (2, M + 1), in evaluation mode."""
        found = []
        with measuring(self), parallel.replicated():
            for batches in (ctx.train(), ctx.held_out()):
                sums = torch.zeros(2, len(self.weights), dtype=torch.double, device=self.weights.device)
                for batch in batches:
                    output = self(batch)
                    logits = [*output.unimodal.values(), output.fused]
                    for i, (x, counted) in enumerate(zip(logits, self._counted(batch), strict=True)):
                        losses = self.task.losses(x, batch.target).double()
                        counted = torch.ones_like(losses) if counted is None else counted
                        sums[:, i] += torch.stack([(losses * counted).sum(), counted.double().sum()])
                found.append(sums[0] / sums[1].clamp_min(1))
        return parallel.mean(torch.stack(found), 1)  # equal on all ranks but for rounding


def gains(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return G and O (K,) from the losses (2, K) on training and held-out rows before and after a probe."""
    gap_before, gap_after = (held_out - train for train, held_out in (before, after))
    return before[1] - after[1], gap_after - gap_before


def blend(gain: Tensor, overfitting: Tensor) -> Tensor:
    """Return w (K,) ∝ G / O², of sum 1; a head that does not generalise weighs 0, if none does all weigh the same."""
    found = gain.clamp_min(0) / (overfitting.square() + LEAST_SQUARE)
    total = found.sum()
    return torch.where(total > 0, found / torch.where(total > 0, total, 1.0), 1 / len(found))
