"""On-the-fly gradient modulation: slow down the encoder of the modality that is ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, Share
from sweeper.models.tasks.base import Task
from sweeper.models.values import Context, Objective


class Ogm(Method):
    """Scale each encoder's gradient by a coefficient from the batch's scores; `ge` adds Gaussian noise.

    s_m = sum over the global batch of p_m(true class), p_m = softmax of the unimodal read-out (for a linear
    head the split W_m z_m + b/M); `coefficients` turns the scores into k_m. A gradient g of encoder m becomes
    k_m g, with `ge` k_m g + `noise` · N(0, std(g) + 1e-8), the std being that of the tensor before scaling;
    every encoder gets the noise, also where k_m is 1. Active while `start` <= epoch / epochs <= `end`, shares
    of the phase with both ends included, as published (0 to 50 of 100). Neutral: `alpha` 0 without `ge` is
    joint training to the bit. Logs `coefficient/<modality>` while active.

    Source: Peng et al., CVPR 2022, sections 3.2 and 3.3. Deviations: all encoder tensors of two or more
    dimensions are modulated, so that perceptrons and transformers are too; the published program takes the
    4-D ones, the convolutions, which is the same for its ResNet, whose encoder has no linear layer. Neither
    touches biases, batch-norm weights or the head. A tie leaves all modalities alone; the published program
    damps the first. Raises UserError if `start` lies after `end`.
    """

    modalities = (2, None)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        alpha: NonNegative = 0.8,
        ge: bool = True,
        noise: NonNegative = 1.0,
        start: Share = 0.0,
        end: Share = 0.5,
    ) -> None:
        super().__init__(net, task)
        if start > end:
            raise UserError(f"method 'ogm': start {start} lies after end {end}; give start <= end")
        self.alpha, self.start, self.end = alpha, start, end
        self.noise = noise if ge else 0.0

    @torch.no_grad()
    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Scale the encoders' gradients and add the noise, drawn alike on every rank."""
        if not self.start <= ctx.epoch / ctx.epochs <= self.end:
            return
        dtype = self.dtype
        logits = objective.output.read_out({m: z.to(dtype) for m, z in objective.output.features.items()})
        true = objective.batch.target.unsqueeze(-1)
        scores = torch.stack([x.softmax(-1).gather(-1, true).sum() for x in logits.values()])
        found = coefficients(parallel.total(scores).cpu().double(), self.alpha)
        for m, k in zip(logits, found.tolist(), strict=True):
            ctx.log(f"coefficient/{m}", k)
            generator = ctx.generator("noise", m)
            for p in self.net.encoders[m].parameters():
                if p.grad is not None and p.dim() >= 2:
                    spread = p.grad.std(correction=int(p.numel() > 1)) + 1e-8
                    p.grad.mul_(k)
                    if self.noise:
                        normal = torch.randn(p.shape, generator=generator).to(p.grad)
                        p.grad.add_(self.noise * spread * normal)


def coefficients(scores: Tensor, alpha: float) -> Tensor:
    """Return k (M,) from scores s (M,), M >= 2: 1 - tanh(alpha · rho_m) where rho_m > 1, else 1.

    rho_m = s_m / mean of the other modalities' scores: with two modalities the published ratio.
    """
    others = scores @ (1 - torch.eye(len(scores), dtype=scores.dtype)) / (len(scores) - 1)
    ratio = scores / others
    return torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), 1.0)
