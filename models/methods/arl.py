"""Asymmetric representation learning: unimodal losses, and a faster encoder for who is sure yet little used."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweeper.models.maths.evidence import full
from sweeper.models.maths.presence import Features, kept_only, present_in
from sweeper.models.maths.scores import mean_where
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output

LEAST_ENTROPY = 0.6  # of M times a modality's share in the sum of entropies; 0.3 of two, as published


class Arl(Method):
    """Minimise L(l) + `gamma` Σ_m L(l_m), the gradient that enters encoder m being multiplied by k_m = 1 + w_m.

    Shapes: z_m (B, D_m), logits (B, C). l is the fusion's of all z, l_m that of z_m, the other modalities' features
    zeroed: of a linear head W_m z_m + b, with all of its bias. The batch's entropies of softmax(l_m) and sizes
    Σ_c |l_mc|, means over the global batch's rows that have m, give w = `weights`, which sum to 1: a modality that is
    sure while the others carry the prediction learns fastest. The features become z_m + (k_m - 1)(z_m - sg z_m), whose
    value is z_m. In the phase's first `warmup` epochs w_m is 1/M and gamma 1. A row that lacks m does not count in
    L(l_m). Prediction is from l; the unimodal read-out is the fusion's own, whose bias may be a share of b. There is
    no neutral setting: at `temperature` 0 and `gamma` 0 training after the warm-up is joint, but that the encoders'
    gradients are times 1 + 1/M. Logs `coefficient/<modality>`, the k_m.

    Source: Wei, Luo and Luo, "Improving Multimodal Learning via Imbalanced Learning", ICCV 2025 (arXiv 2507.10203);
    `temperature` is 8 for CREMA-D and 4 elsewhere, `gamma` 4, 3 for Kinetics-Sounds. Deviations: the released program
    computes w but never uses it, so that k_m stays 3/2; ours does, from the batch at hand. For more than two
    modalities the least share of an entropy is 0.6 / M, ours.
    """

    modalities = (2, None)
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        gamma: NonNegative = 4.0,
        temperature: NonNegative = 8.0,
        warmup: Whole = 6,
    ) -> None:
        super().__init__(net, task)
        self.gamma, self.temperature, self.warmup = gamma, temperature, warmup

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, of the fused loss and of the unimodal ones."""
        features = self.net.encode(batch)
        present = present_in(batch, features)
        warm = ctx.epoch < self.warmup
        k = 1 + self._weights(features, present, 0.0 if warm else self.temperature)
        for m, value in zip(features, k.tolist(), strict=True):
            ctx.log(f"coefficient/{m}", value)
        alone = torch.eye(len(features), device=k.device)
        keep = torch.cat([torch.ones_like(alone[:1]), alone])
        fused, *unimodal = kept_only(self.net.fuse, scaled(features, k), keep)
        rows = torch.stack([self.task.losses(x, batch.target) for x in unimodal]) * present
        if batch.weight is not None:
            rows = rows * batch.weight
        losses = {
            "fused": self.task.loss(fused, batch.target, batch.weight),
            "unimodal": (1.0 if warm else self.gamma) * rows.mean(1).sum(),
        }
        yield Objective(losses, Output(features, fused, self.net.fusion.unimodal), batch)

    @torch.no_grad()
    def _weights(self, features: Features, present: Tensor, temperature: float) -> Tensor:
        """Return w (M,) of this batch, the same on all ranks."""
        logits = full(kept_only(self.net.fuse, features, torch.eye(len(features), device=present.device)))
        log_p = logits.log_softmax(-1)
        entropies = mean_where(-(log_p.exp() * log_p).sum(-1), present)
        return weights(entropies, mean_where(logits.abs().sum(-1), present), temperature)


def weights(entropies: Tensor, sizes: Tensor, temperature: float) -> Tensor:
    """Return w (M,), which sum to 1, of mean entropies and mean sizes of logits (M,), M >= 2.

    w = softmax_m(T u_m mean_{j≠m} d_j), u_m ∝ 1 / max(h_m, 0.6 / M), h and d the shares of entropies and sizes.
    """
    h, d = shares(entropies), shares(sizes)
    sure = 1 / h.clamp_min(LEAST_ENTROPY / len(h))
    others = (d.sum() - d) / (len(d) - 1)
    return (temperature * sure / sure.sum() * others).softmax(0)


def shares(values: Tensor) -> Tensor:
    """Return values (M,) over their sum; equal shares where all are 0."""
    total = values.sum()
    return torch.where(total > 0, values / torch.where(total > 0, total, 1.0), 1 / len(values))


def scaled(features: Features, k: Tensor) -> Features:
    """Return the same features {m: (B, D_m)}, through which gradients become k_m times as large."""
    columns = zip(features.items(), k.unbind(), strict=True)
    return {m: z + (own.to(z.dtype) - 1) * (z - z.detach()) for (m, z), own in columns}
