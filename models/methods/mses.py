"""Modality-specific early stopping: a modality whose validation loss rises goes back to its best epoch and stays."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sweeper.models.maths.heads import Heads
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, ShareBelow1
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Metrics, Objective, Output


class Mses(Method):
    """Minimise L(Σ_m l_m), l_m a linear head on z_m; stop each modality where its own validation loss is least.

    Shapes: z_m (B, D_m), l_m and their sum, the fused logits (B, C). After epoch t modality m has the validation loss
    v_m(t) of l_m alone and r_m(t) = `smooth` v_m(t-1) + (1 - `smooth`) v_m(t); r_m(0) = v_m(0). Once r_m has not been
    least for more than `patience` epochs, encoder and head m get back the weights and statistics of the epoch at which
    it was, and are frozen: no gradient, so that neither momentum nor decay moves them, and evaluation mode. The other
    modalities are left alone and go on; once all are frozen no step is made. With more patience than epochs it is
    joint training with fusion `sum`, to the bit; with one modality it is early stopping. Logs `active/<modality>`,
    whether it trained in the epoch.

    Source: Fujimori et al., ACPR 2019, as the published program of AGM (Li et al., ICCV 2023) has it: patience 80 of
    1,500 epochs, smoothing over two raw losses, not a recursive mean. Deviations from that program: it puts the other
    modalities and the optimiser back, too; it multiplies gradients by 0, under which momentum, weight decay and batch
    norm move on; it looks at the test loss. `patience` is ours, for shorter runs. A modality that a row lacks votes
    there with its head's bias.
    """

    tasks = ("classification", "multilabel")
    fuses = False

    def __init__(self, net: Net, task: Task, *, patience: Count = 10, smooth: ShareBelow1 = 0.6) -> None:
        super().__init__(net, task)
        self.patience, self.smooth = patience, smooth
        self.heads = Heads(net.dims, task.n_outputs)
        self.best = nn.ModuleDict(
            {m: copy.deepcopy(self._own(m)).requires_grad_(False) for m in net.encoders}
        )
        every = torch.ones(len(net.encoders), dtype=torch.double)
        self.register_buffer("earlier", every * math.inf)  # v_m of the epoch before
        self.register_buffer("least", every * math.inf)  # r_m at its best epoch
        self.register_buffer("waited", 0 * every)  # epochs since
        self.register_buffer("active", every.bool())

    def forward(self, batch: Batch) -> Output:
        """Return features, the heads' sum as fused logits (B, C), and the heads as unimodal read-out."""
        features = self.net.encode(batch)
        return Output(features, sum(self.heads(features).values()), self.heads)

    def on_epoch_start(self, ctx: Context) -> None:
        """Put frozen modalities in evaluation mode."""
        for m in self._modalities(~self.active):
            self._own(m).eval()

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield the loss of the sum for the modalities that are active, none where all are frozen."""
        names = [name for m in self._modalities(self.active) for name in (f"net.encoders.{m}", f"heads.{m}")]
        if names:
            output = self(batch)
            yield Objective(self.loss(output, batch, ctx), output, batch, tuple(names))

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """Take note of the best epochs, and stop the modalities that are past theirs."""
        for i, m in enumerate(self.net.encoders):
            ctx.log(f"active/{m}", float(self.active[i]))
            loss = metrics.get(f"loss/{m}")  # None where no validation row has it
            if loss is None or not self.active[i]:
                continue
            before = float(self.earlier[i])
            risk = loss if math.isinf(before) else self.smooth * before + (1 - self.smooth) * loss
            self.earlier[i] = loss
            if risk < self.least[i]:
                self.least[i], self.waited[i] = risk, 0
                self.best[m].load_state_dict(self._own(m).state_dict())
                continue
            self.waited[i] += 1
            if self.waited[i] > self.patience:
                self.active[i] = False
                self._own(m).load_state_dict(self.best[m].state_dict())

    def _own(self, modality: str) -> nn.ModuleList:
        """Return what belongs to a modality alone: its encoder and its head."""
        return nn.ModuleList([self.net.encoders[modality], self.heads[modality]])

    def _modalities(self, chosen: Tensor) -> list[str]:
        return [m for m, own in zip(self.net.encoders, chosen.tolist(), strict=True) if own]
