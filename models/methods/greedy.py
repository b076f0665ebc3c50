"""Balancing by conditional learning speed: a modality whose own encoder lags is cut off from the others for a while."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.fusions.mmtm import Gates
from sweeper.models.maths.evidence import full
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, NonNegative, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output

NOBODY = -1


class Greedy(Method):
    """Minimise the sum of the modalities' losses on gated encoders, and even out how fast they learn on their own.

    Needs the fusion `mmtm`. Of modality m the main branch is its encoder and head, the bypass what makes its gates.
    A branch learns at the speed |g|² / |w|², summed over steps; r_m = log10(speed of m's bypass / of its main branch)
    and d_m = r_m minus the mean of the others' r. From epoch `start` on (the first is 0), when the largest d_m exceeds
    `eps`, modality m is cared for in the next `window` steps: its gates are their means over all earlier steps, which
    cuts off what the others tell it, and no speed is measured. Predicts from the mean of the logits. Logs
    `caring/<modality>`, the share of steps in which it is cared for.

    Source: Wu et al., ICML 2022, section 5. Deviations: more than two modalities are ours; with two, the largest d_m
    is the published |d|. In the published program one modality's mean gates take in the other's values, and move in
    evaluation; here neither happens.
    """

    tasks = ("classification", "multilabel", "regression")
    modalities = (2, None)
    reads = ("stages",)

    def __init__(
        self, net: Net, task: Task, *, eps: NonNegative = 0.01, window: Count = 5, start: Whole = 1
    ) -> None:
        super().__init__(net, task)
        self.eps, self.window, self.start = eps, window, start
        self.register_buffer("main", torch.zeros(len(net.encoders), dtype=torch.float64))
        self.register_buffer("bypass", torch.zeros(len(net.encoders), dtype=torch.float64))
        self.register_buffer("caring", torch.tensor(NOBODY))
        self.register_buffer("left", torch.tensor(0))
        self.register_buffer("steps", torch.tensor(0))
        for stage, heads in enumerate(net.fusion.excite):
            for m, head in heads.items():
                self.register_buffer(f"gates_{stage}_{m}", torch.zeros(head.out_features))
        net.fusion.steer = self._steered

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of every modality's head."""
        return {f"unimodal/{m}": self.task.loss(x, batch.target) for m, x in output.unimodal.items()}

    @torch.no_grad()
    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Measure the speeds, or go on caring; decide what the next step does."""
        for number, m in enumerate(self.net.encoders):
            ctx.log(f"caring/{m}", float(self.caring == number))
        self.steps += 1
        if self.left > 0:
            self.left -= 1
            if self.left == 0:
                self.caring.fill_(NOBODY)
            return
        fusion = self.net.fusion
        for number, (m, encoder) in enumerate(self.net.encoders.items()):
            self.main[number] += speed(encoder, fusion.heads[m])
            self.bypass[number] += speed(fusion.squeeze, *(heads[m] for heads in fusion.excite))
        ahead = lags(self.main, self.bypass)
        if ctx.epoch >= self.start and ahead.max() > self.eps:
            self.caring.copy_(ahead.argmax())
            self.left.fill_(self.window)

    def _steered(self, stage: int, gates: Gates) -> Gates:
        """Return the gates of a training step, and take them into the running means."""
        if not self.training:
            return gates
        found = dict(gates)
        for number, m in enumerate(self.net.encoders):
            running, gate = getattr(self, f"gates_{stage}_{m}"), gates[m]
            if self.caring == number:
                found[m] = running.to(gate.dtype).expand_as(gate).clone()
            now = parallel.mean(full(gate.detach()).mean(0), len(gate))
            running.add_((now.to(running.dtype) - running) / (self.steps + 1))
        return found


def speed(*modules: nn.Module) -> Tensor:
    """Return |g|² / |w|² of the modules' parameters that have a gradient, 0 if none has one."""
    own = [p for module in modules for p in module.parameters() if p.grad is not None]
    return _squares(p.grad for p in own) / _squares(own).clamp_min(1e-12)


def lags(main: Tensor, bypass: Tensor) -> Tensor:
    """Return d (M,) from the summed speeds of main branches and bypasses (M,); 0 where a speed is 0 so far."""
    measured = (main > 0) & (bypass > 0)
    if not measured.all():
        return torch.zeros_like(main)
    ratio = torch.log10(bypass / main)
    others = (ratio.sum() - ratio) / (len(ratio) - 1)
    return ratio - others


def _squares(tensors: Iterable[Tensor]) -> Tensor:
    return sum((t.double().square().sum() for t in tensors), start=torch.zeros((), dtype=torch.float64))
