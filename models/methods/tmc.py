"""Trusted multi-view classification: each modality says how much evidence it has, Dempster's rule combines them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweeper.models.maths.evidence import concentrations, dempster, evidential
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.presence import Features, present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output


class Tmc(Method):
    """Minimise the evidential loss of every modality's Dirichlet and of their combination; predict its mean α / S.

    Shapes: z_m (B, D_m), a linear head's logits l_m (B, C), evidence e_m = softplus(l_m), α_m = e_m + 1 and
    S_m = Σ_c α_mc. Dempster's rule gives e = C (Π_m (1 + e_m / C) - 1), α = e + 1. The loss of each opinion is
    ψ(S) - ψ(α_y) + λ KL(Dir(α̃) ‖ Dir(1)), α̃ being α with the label's set to 1 and λ = min(1, epoch / `anneal`),
    epochs counted from 0. A modality that a row lacks gives no evidence there, e = 0, and adds no loss. One
    modality is evidential learning, its loss counted twice.

    `Output.fused` and the read-out are log α, so that their softmax is α / S. Output.extra, by row (B,):
    `uncertainty/<modality>`, C / S_m, and `uncertainty`, that of the combination, which is never above them.

    A steep rise of λ at a high learning rate can drive all evidence to 0, where softplus has next to no gradient: each
    loss then stays at ψ(C) - ψ(1). A larger `anneal` helps.

    Source: Han et al., Trusted Multi-View Classification, ICLR 2021, section 3, with the `anneal` of its program (of
    500 epochs). Deviations: the rule is in its closed form (evidence.py); the program counts epochs from 1.
    """

    fuses = False

    def __init__(self, net: Net, task: Task, *, anneal: Count = 50) -> None:
        super().__init__(net, task)
        self.anneal = anneal
        self.heads = Heads(net.dims, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return features, log α of the combination as fused (B, C), log α_m as read-out, uncertainties."""
        features = self.net.encode(batch)
        return self._output(features, self.opinions(features, batch))

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, a loss for each opinion and for the combination."""
        features = self.net.encode(batch)
        opinions = self.opinions(features, batch)
        output = self._output(features, opinions)
        alpha = torch.stack([*opinions.values(), output.fused.exp()])
        losses = evidential(alpha, batch.target, min(1.0, ctx.epoch / self.anneal))
        present = present_in(batch, self.net.encoders)
        counted = torch.cat([present, torch.ones_like(losses[len(present) :], dtype=torch.bool)])
        means = losses.where(counted, 0.0).mean(1)
        yield Objective(dict(zip([*opinions, "fused"], means, strict=True)), output, batch)

    def opinions(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Return the concentrations α (B, C) of every opinion, first the modalities'; 1 in rows that lack them."""
        logits = self.heads(features)
        columns = zip(logits.items(), present_in(batch, logits).unsqueeze(-1), strict=True)
        return {f"unimodal/{m}": concentrations(x).where(there, 1.0) for (m, x), there in columns}

    def read_out(self, features: Features) -> Features:
        """Return log α_m (B, C) of every modality."""
        return {m: concentrations(x).log() for m, x in self.heads(features).items()}

    def _output(self, features: Features, opinions: dict[str, Tensor]) -> Output:
        alpha = dempster(torch.stack(list(opinions.values())))
        every = {f"uncertainty/{name.removeprefix('unimodal/')}": a for name, a in opinions.items()}
        every["uncertainty"] = alpha
        extra = {name: a.shape[-1] / a.detach().sum(-1) for name, a in every.items()}
        return Output(features, alpha.log(), self.read_out, extra)


class Etmc(Tmc):
    """Train and predict as tmc does, with the fused logits (B, C) as a view of their own, the pseudo view.

    Its evidence is softplus of them, its loss the same, and the rule combines it with the modalities'. What the
    modalities say together so counts twice, by design. With the fusion `concat` it is the published pseudo view, a
    linear layer on the concatenated features; an absent modality's are zeros there. With one modality it is
    tmc of two heads on the same features. Output.extra says `uncertainty/pseudo` too.

    Source: Han et al., Trusted Multi-View Classification With Dynamic Evidential Fusion, TPAMI 2023, section 3 and its
    RGB-D program, which anneals over 10 epochs of 500. Deviations: any fusion that reads pooled features can give the
    pseudo view.
    """

    fuses = True
    reads = ("pooled",)

    def opinions(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Return the concentrations α (B, C) of the modalities, then of the fused logits."""
        return {**super().opinions(features, batch), "pseudo": concentrations(self.net.fuse(features))}
