"""Predictive dynamic fusion: logits weighed by what a small net predicts the true class's probability to be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sweeper.models.maths.evidence import full, mean_weights
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.presence import Features, present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output

LEAST = 1e-6  # between a predicted probability and 0 or 1, whose logarithm is taken


class Pdf(Method):
    """Minimise CE(Σ_m w_m l_m) + Σ_m CE(l_m) + Σ_m |t_m - p_m(y)|, t_m a prediction of the true class's probability.

    Shapes: z_m (B, D_m), a linear head's logits l_m (B, C), p_m their softmax. t_m (B,) is the sigmoid of three linear
    layers D_m, 2 D_m, D_m, 1 on z_m, which takes no gradient from it, nor p_m. Mono- and holo-confidence add up to
    the belief b_m = t_m + Σ_{n≠m} log t_n / Σ_n log t_n; w = softmax_m(b_m) row by row, without gradient. In
    evaluation alone w = softmax_m(b_m r_m), r_m = min(1, d_m / mean_{n≠m} d_n) with d_m = mean_c |p_mc - 1/C|: a
    modality whose distribution is nearer to uniform than the others' weighs less. A modality that a row lacks weighs
    0 there, adds no loss and is left out of all sums. With two modalities weights differ by a factor of e² at most.

    Logs `weight/<modality>`. Output.extra, by row (B,): `weight/<modality>` and `confidence/<modality>`, t_m.

    Source: Cao et al., Predictive Dynamic Fusion, ICML 2024, as in the authors' program, which has no nonlinearity
    between its linear layers. Deviations: for three modalities and more the sum and the mean over the others are ours
    (theirs has two); t is clamped within the logarithms; weight decay is that of all parameters, not 1 on one layer.
    Refuses one modality: there is nothing to weigh.
    """

    modalities = (2, None)
    fuses = False

    def __init__(self, net: Net, task: Task) -> None:
        super().__init__(net, task)
        self.heads = Heads(net.dims, task.n_outputs)
        self.confidence = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(d, 2 * d), nn.Linear(2 * d, d), nn.Linear(d, 1), nn.Sigmoid())
                for m, d in net.dims.items()
            }
        )

    def forward(self, batch: Batch) -> Output:
        """Return features, the weighted sum of the heads' logits as fused (B, C), and the heads as read-out."""
        features = self.net.encode(batch)
        logits, present = self.heads(features), present_in(batch, features)
        stacked, sure = full(torch.stack(list(logits.values()))), self._confidence(features)
        with torch.no_grad():
            score = belief(sure, present)
            if not self.training:
                score = score * calibration(stacked.softmax(-1), present)
            weights = score.masked_fill(~present, -torch.inf).softmax(0)
        extra = {f"weight/{m}": w for m, w in zip(logits, weights, strict=True)}
        extra |= {f"confidence/{m}": t for m, t in zip(logits, sure, strict=True)}
        return Output(features, (weights.unsqueeze(-1) * stacked).sum(0), self.heads, extra)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of the fused logits, of every head and of every predicted confidence."""
        for name, value in mean_weights(output.extra).items():
            ctx.log(name, value)
        losses = {"fused": self.task.loss(output.fused, batch.target, batch.weight)}
        present = present_in(batch, output.unimodal)
        for (m, logits), there in zip(output.unimodal.items(), present, strict=True):
            own = self.task.losses(full(logits), batch.target)
            error = (output.extra[f"confidence/{m}"] - own.detach().neg().exp()).abs()
            losses[f"unimodal/{m}"] = own.where(there, 0.0).mean()
            losses[f"confidence/{m}"] = error.where(there, 0.0).mean()
        return losses

    def _confidence(self, features: Features) -> Tensor:
        """Return t (M, B) of features that take no gradient from it."""
        return torch.stack([full(self.confidence[m](z.detach())).squeeze(-1) for m, z in features.items()])


def belief(sure: Tensor, present: Tensor) -> Tensor:
    """Return b_m = t_m + Σ_{n≠m} log t_n / Σ_n log t_n (M, B) of t (M, B), over the modalities present (M, B)."""
    logs = sure.clamp(LEAST, 1 - LEAST).log().where(present, 0.0)
    total = logs.sum(0)
    return sure + (total - logs) / total


def calibration(p: Tensor, present: Tensor) -> Tensor:
    """Return r_m = min(1, d_m / mean_{n≠m} d_n) (M, B), d_m = mean_c |p_mc - 1/C|, of p (M, B, C); 1 without others."""
    distance = (p - 1 / p.shape[-1]).abs().mean(-1).where(present, 0.0)
    others = (distance.sum(0) - distance) / (present.sum(0) - present.long()).clamp_min(1)
    return torch.where(others > 0, distance / others, 1.0).clamp_max(1)
