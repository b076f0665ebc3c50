"""Modality-specific learning rates: fixed ratios, times how a modality's accuracy compares with its recent mean."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sweeper.models.errors import UserError
from sweeper.models.maths.heads import Heads
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Metrics, Output

PUBLISHED = [0.9, 1.1]  # of audio and video
UNKNOWN = -1.0


class Mslr(Method):
    """Minimise L(Σ_m l_m), l_m a linear head on z_m; encoder and head m have the learning rate lr · b_m · r_m.

    Shapes: z_m (B, D_m), l_m and their sum, the fused logits (B, C). b_m is `base`, one number per modality in the
    dataset's order, by which the result depends on it; None is 0.9 and 1.1 for two modalities and 1 for any other
    number. `strategy` keep: r_m = 1. Dynamic: r_m is m's validation accuracy (of many labels, micro F1), read off l_m
    alone, over its mean in the last `window` epochs, the last one included; 1 until there are as many, and where the
    mean is 0. It does not accumulate. Momentum and weight decay are the optimiser's, so the decay follows the rate.
    Neutral: `base` of ones with keep is joint training with fusion `sum`, to the bit. A learning rate `lr.<modality>`
    of the run is that encoder's lr. Logs `rate/<modality>`, b_m r_m.

    Source: Yao and Mihalcea, ACL Findings 2022, as the published program of AGM (Li et al., ICCV 2023) has it.
    Deviations from that program: it scales gradients, so that momentum keeps earlier ratios and decay follows none; it
    reads accuracy on test. The paper's strategy Smooth is left out: we have no source for it. A modality that a row
    lacks votes there with its head's bias. Raises UserError where `base` has not one number per modality.
    """

    tasks = ("classification", "multilabel")
    fuses = False

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        strategy: Literal["dynamic", "keep"] = "dynamic",
        base: list[Positive] | None = None,
        window: Count = 5,
    ) -> None:
        super().__init__(net, task)
        count = len(net.encoders)
        self.base = base or (PUBLISHED if count == len(PUBLISHED) else [1.0] * count)
        if len(self.base) != count:
            raise UserError(
                f"method 'mslr': base has {len(self.base)} numbers; admissible: {count}, one per modality"
            )
        self.dynamic = strategy == "dynamic"
        self.heads = Heads(net.dims, task.n_outputs)
        self.register_buffer("scores", torch.full((window, count), UNKNOWN))

    def forward(self, batch: Batch) -> Output:
        """Return features, the heads' sum as fused logits (B, C), and the heads as unimodal read-out."""
        features = self.net.encode(batch)
        return Output(features, sum(self.heads(features).values()), self.heads)

    def rates(self, ctx: Context) -> dict[str, float]:
        """Return b_m r_m for every modality's encoder and head."""
        found = {}
        for m, base, own in zip(self.net.encoders, self.base, ratios(self.scores).tolist(), strict=True):
            factor = base * own if self.dynamic else base
            ctx.log(f"rate/{m}", factor)
            found |= {f"net.encoders.{m}": factor, f"heads.{m}": factor}
        return found

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """Remember the epoch's accuracy of every modality alone."""
        own = [metrics.get(f"{self.task.headline}/{m}", UNKNOWN) for m in self.net.encoders]
        self.scores.copy_(torch.cat([self.scores[1:], self.scores.new_tensor([own])]))


def ratios(scores: Tensor) -> Tensor:
    """Return r (M,), the last of scores (W, M) over their mean; 1 where one is unknown, or all are 0."""
    mean = scores.mean(0)
    usable = (scores != UNKNOWN).all(0) & (mean > 0)
    return torch.where(usable, scores[-1] / torch.where(usable, mean, 1.0), 1.0)
