"""AMSS: each step moves some filters of every encoder, more of them the less its modality says of the class."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.maths.evidence import full
from sweeper.models.maths.presence import present_in
from sweeper.models.maths.running import RunningMean
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Positive, Share
from sweeper.models.tasks.base import Task
from sweeper.models.values import Context, Objective

MARGIN = 0.5  # added to the information, which is then seldom negative
LEAST_ENTROPY = 1e-6


class Amss(Method):
    """Keep the gradient of a share c_m of the filters of each weight of encoder m, drawn by their gradients' length.

    r_m = (H(Y) + 1/2 - CE_m) / H(z_m) stands for the share of z_m that tells the class: CE_m is the mean cross-entropy
    of the unimodal read-out (for a linear head W_m z_m + b / M), H(z_m) the mean entropy of the softmax over a row's
    features, both over the rows of the global batch that have m; H(Y) the entropy of the classes of all rows trained
    on so far, in nats. c_m = softmax over m of -r_m / `temperature`, within [`least`, `most`]: the weak get more. Of a
    weight (n, …) the gradients of ceil(c_m n) of its n filters, its rows, stay as they are, the others' become 0. They
    are drawn without replacement, with odds p_j ∝ the squared length of the filter's gradient.

    `unbiased` is AMSS+: what stays is divided by how likely it was to stay, so that it is the whole gradient in
    expectation; the odds are then (p_j + 1/n) / 2, so that what hardly had a chance does not weigh without bound.
    Momentum and weight decay move all filters. Neutral: `least` 1 and `most` 1 is joint training to the bit. Logs
    `share/<modality>`, c_m.

    Source: Yang et al., "Learning to Rebalance Multi-Modal Optimization by Adaptively Masking Subnetworks", TPAMI 2025,
    as its released program has it. Deviations: all encoder tensors of two or more dimensions are masked, so that
    perceptrons and transformers are too; that program takes the convolutions of its ResNet's four stages alone. For
    more than two modalities it is our reading that shares sum to 1. AMSS+ there weighs by 1 / (p_j + 1/n), which leaves
    a bias; the weights here have none (Kool et al., ICML 2019). Raises UserError if `least` lies above
    `most`.
    """

    modalities = (2, None)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        temperature: Positive = 0.5,
        least: Share = 0.1,
        most: Share = 0.9,
        unbiased: bool = False,
    ) -> None:
        super().__init__(net, task)
        if least > most:
            raise UserError(f"method 'amss': least {least} lies above most {most}; give least <= most")
        self.temperature, self.least, self.most, self.unbiased = temperature, least, most, unbiased
        self.classes = RunningMean(task.n_outputs, momentum=1.0)

    @torch.no_grad()
    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Set the gradients of the filters that are not kept to 0, the same ones on every rank."""
        found = (-self.informed(objective) / self.temperature).softmax(0).clamp(self.least, self.most)
        for m, share in zip(self.net.encoders, found.tolist(), strict=True):
            ctx.log(f"share/{m}", share)
            generator = ctx.generator("filters", m)
            for p in self.net.encoders[m].parameters():
                if p.grad is not None and p.dim() >= 2:
                    squares = p.grad.flatten(1).square().sum(1)
                    kept = filters(squares, number(share, len(p)), generator, unbiased=self.unbiased)
                    p.grad.mul_(kept.view(-1, *[1] * (p.dim() - 1)))

    def informed(self, objective: Objective) -> Tensor:
        """Return r (M,), in double precision."""
        batch, output, dtype = objective.batch, objective.output, self.dtype
        self.classes.update(
            one_hot(batch.target, self.task.n_outputs), torch.ones_like(batch.target)[:, None]
        )
        logits = output.read_out({m: z.to(dtype) for m, z in output.features.items()})
        surprise = torch.stack([self.task.losses(x, batch.target) for x in logits.values()])
        spread = torch.stack(
            [torch.special.entr(full(z).softmax(-1)).sum(-1) for z in output.pooled.values()]
        )
        present = present_in(batch, logits)
        columns = torch.stack([surprise * present, spread * present, present.to(surprise)])
        surprises, spreads, rows = parallel.total(columns.double().sum(-1))
        rows = rows.clamp_min(1)
        of_classes = torch.special.entr(self.classes.mean.double()).sum()
        return (of_classes + MARGIN - surprises / rows) / (spreads / rows).clamp_min(LEAST_ENTROPY)


def number(share: float, n: int) -> int:
    """Return how many of n filters a share is: rounded up, but not for what is lost in computing it."""
    return math.ceil(share * n - 1e-9)


def filters(squares: Tensor, kept: int, generator: torch.Generator, *, unbiased: bool = False) -> Tensor:
    """Return what each filter's gradient is multiplied with (n,), 0 but for those `kept`.

    Filters are drawn one after another with odds p proportional to `squares` (n,), which is to take the largest of
    log p_j - log e_j with e_j exponential. With κ the largest of them that is not taken, a filter is taken with
    probability 1 - exp(-p_j e^-κ), whatever the others: `unbiased` divides by it.
    """
    n = len(squares)
    if kept == n:
        return torch.ones_like(squares)
    p = squares.double()
    p = p / p.sum().clamp_min(torch.finfo(p.dtype).tiny)
    if unbiased:
        p = (p + 1 / n) / 2
    waiting = torch.empty(n, dtype=torch.double).exponential_(generator=generator).to(p.device)
    scores, taken = (p.log() - waiting.log()).topk(kept + 1)
    weight = torch.zeros_like(p)
    weight[taken[:-1]] = -1 / torch.expm1(-p[taken[:-1]] * (-scores[-1]).exp()) if unbiased else 1.0
    return weight.to(squares)
