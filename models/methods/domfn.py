"""Fusion where the modalities agree: elsewhere a row is predicted by the surest of them, and trains no fusion."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models.maths.evidence import full
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.presence import present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, ShareBelow1
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output, Phase

PRETRAINING, FUSING = 0, 1


class Domfn(Method):
    """Minimise Σ_m CE_m, and in rows whose modalities agree CE(fused) + Σ_m (CE_m² / 2 - `eta` d_m) besides.

    Shapes: z_m (B, D_m), a linear head's logits l_m (B, C), p_m their softmax, d_m = max_c (p_mc - mean_n p_nc)², (B,).
    A row's modalities agree if all its d_m are below `threshold`. Such a row is predicted by the fusion, any other by
    the modality with the largest probability, which is then `Output.fused`. -d_m draws apart modalities that agree.
    A share `pretrain` of the epochs comes first, in which no row's do: encoders and heads train alone.

    The mean and d_m are over the modalities that a row has; one that it lacks adds no loss, and one alone agrees with
    itself. `threshold` 0 trains encoders and heads as unimodal_sum does. No d_m exceeds ((M - 1) / M)²: of two
    modalities, all rows agree wherever `threshold` is above 0.25. CE_m² / 2 multiplies a row's gradient by 1 + CE_m,
    so that at a high learning rate training diverges unless `train.clip` bounds it.

    Logs `agreement`, the share of a batch's rows that agree. Output.extra, by row (B,): `agreement`, 1 or 0.

    Source: DOMFN: A Divergence-Orientated Multi-Modal Fusion Network for Resume Assessment, ACM MM 2022
    (10.1145/3503161.3548203), with the settings of the authors' program (of 3 modalities): `threshold` is its
    gamma · tau, 0.8 · 0.5, `pretrain` 30 of 230 epochs. Deviations: d_m and cross-entropy are of softmax (theirs: of
    sigmoids, which bounds CE_m), the fused head is the study's fusion (theirs: a perceptron on concatenated features),
    batches have many rows and one learning rate (theirs: one row, a rate for each part). Refuses one modality: there
    is nothing to agree with.
    """

    modalities = (2, None)
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        eta: NonNegative = 0.5,
        threshold: NonNegative = 0.4,
        pretrain: ShareBelow1 = 0.13,
    ) -> None:
        super().__init__(net, task)
        self.eta, self.threshold, self.pretrain = eta, threshold, pretrain
        self.heads = Heads(net.dims, task.n_outputs)
        self.stage.fill_(FUSING)

    def phases(self, epochs: int) -> list[Phase]:
        """Return pre-training and training."""
        first = int(self.pretrain * epochs)
        alone = ("net.encoders", "heads")
        return [Phase("pretrain", first, alone, keep="last"), Phase("train", epochs - first)]

    def forward(self, batch: Batch) -> Output:
        """Return features, what each row is predicted by as fused (B, C), the heads as read-out, who agrees."""
        features = self.net.encode(batch)
        logits = full(torch.stack(list(self.heads(features).values())))
        present = present_in(batch, features)
        below = divergence(logits, present) < self.threshold
        agree = below.all(0) & (self.stage == FUSING)
        sure = logits.softmax(-1).amax(-1).where(present, 0.0)
        surest = logits[sure.argmax(0), torch.arange(len(batch), device=logits.device)]
        fused = full(self.net.fuse(features)).where(agree.unsqueeze(-1), surest)
        return Output(features, fused, self.heads, {"agreement": agree.to(fused.dtype)})

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of every head, and what rows add whose modalities agree."""
        ctx.log("agreement", output.extra["agreement"].mean().item())
        agree, present = output.extra["agreement"].bool(), present_in(batch, output.unimodal)
        logits = full(torch.stack(list(output.unimodal.values())))
        own = torch.stack([self.task.losses(x, batch.target) for x in logits]).where(present, 0.0)
        apart = own.square() / 2 - self.eta * divergence(logits, present)
        return {
            **{f"unimodal/{m}": mean for m, mean in zip(output.unimodal, own.mean(1), strict=True)},
            "agreement": apart.sum(0).where(agree, 0.0).mean(),
            "fused": self.task.losses(output.fused, batch.target).where(agree, 0.0).mean(),
        }


def divergence(logits: Tensor, present: Tensor) -> Tensor:
    """Return d_m = max_c (p_mc - mean_n p_nc)² (M, B) of logits (M, B, C), over the modalities present (M, B)."""
    there = present.unsqueeze(-1)
    p = logits.softmax(-1).where(there, 0.0)
    mean = p.sum(0) / there.sum(0)
    return (p - mean).square().amax(-1).where(present, 0.0)
