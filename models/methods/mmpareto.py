"""MMPareto: the fused and the unimodal gradient of each encoder joined without conflict, at the length of their sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from sweeper.models.maths.gradients import flat, unflat
from sweeper.models.maths.heads import Heads
from sweeper.models.method import Gradients, Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output

LEAST = 1e-3  # the smallest weight of a gradient that shortens the other by nothing


class Mmpareto(Method):
    """Give each encoder a direction that descends both its losses, at least as long as the sum of their gradients.

    Shapes: z_m (B, D_m), logits (B, C). The losses are L(fused) and L(head_m(z_m)), the heads linear and apart from
    the fusion. Of encoder m, g and u are the gradients of the first and of its own second, all parameters in one
    vector. n = 2c g + 2(1 - c) u; where <g, u> > 0 c is 1/2, so that n is the sum g + u; in conflict c is that of the
    shortest such vector (`shortest`). n is stretched to the length of g + u if it is shorter, and then times `gamma`;
    `rescale` says whether its length is that of the whole encoder or of each tensor by itself. n = 0 stays 0. The
    heads and the fusion take the plain sum. Neutral: `gamma` 1 is method uniform as long as nothing conflicts.
    Prediction is from the fused logits, the unimodal read-out are the heads. Logs `cosine/<modality>` of g and u.

    Source: Wei and Hu, ICML 2024 (arXiv 2405.17730). Deviations: the released program takes the lengths of
    each tensor, which is `rescale` tensor, and divides by a length that may be 0.
    """

    tasks = ("classification", "multilabel", "regression")
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        gamma: Positive = 1.5,
        rescale: Literal["encoder", "tensor"] = "encoder",
    ) -> None:
        super().__init__(net, task)
        self.gamma, self.rescale = gamma, rescale
        self.heads = Heads(net.dims, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return the net's output with the heads as unimodal read-out."""
        return replace(self.net(batch), read_out=self.heads)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the fused loss and the loss of every head."""
        heads = {
            f"unimodal/{m}": self.task.loss(x, batch.target, batch.weight) for m, x in output.unimodal.items()
        }
        return {"fused": super().loss(output, batch, ctx), **heads}

    def combine(self, gradients: Mapping[str, Gradients], ctx: Context) -> Gradients:
        """Return the sum of the losses' gradients, in the encoders the joined direction."""
        combined = dict(super().combine(gradients, ctx))
        for m in self.net.encoders:
            own = [dict(gradients[loss]) for loss in ("fused", f"unimodal/{m}")]
            # in the parameters' order, the same in every process: it rounds the sums over an encoder
            names = [name for name in own[0] | own[1] if name.startswith(f"net.encoders.{m}.")]
            if names:
                pair = [[part.get(n, torch.zeros_like(combined[n])) for n in names] for part in own]
                joined, cosine = self._joined(*pair)
                combined |= dict(zip(names, joined, strict=True))
                ctx.log(f"cosine/{m}", cosine)
        return combined

    def _joined(self, fused: Sequence[Tensor], alone: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return what an encoder's tensors take, and the cosine of their two gradients."""
        g, u = flat(fused), flat(alone)
        c = torch.where(g @ u > 0, 0.5, shortest(g, u))
        n, total = 2 * (c * g + (1 - c) * u), g + u
        if self.rescale == "encoder":
            n = stretched(n, total)
        parts = unflat(n, fused)
        if self.rescale == "tensor":
            parts = list(map(stretched, parts, unflat(total, fused)))
        return [self.gamma * part for part in parts], torch.cosine_similarity(g, u, dim=0)


def shortest(g: Tensor, u: Tensor) -> Tensor:
    """Return c of the shortest vector c g + (1 - c) u between two vectors (P,).

    c = (|u|² - <g, u>) / |g - u|², but 0.999 where <g, u> >= |g|² and 0.001 where <g, u> >= |u|²: there an end is
    the shortest.
    """
    inner, own, other = g @ u, g @ g, u @ u
    between = (other - inner) / (own + other - 2 * inner).clamp_min(torch.finfo(g.dtype).tiny)
    inside = torch.where(inner >= other, LEAST, between)
    return torch.where(inner >= own, 1 - LEAST, inside)


def stretched(n: Tensor, total: Tensor) -> Tensor:
    """Return n times |total| / |n| where that is above 1; n = 0 stays 0."""
    own, wanted = n.norm(), total.norm()
    return n * torch.where(own > 0, wanted / own, 1.0).clamp_min(1.0)
