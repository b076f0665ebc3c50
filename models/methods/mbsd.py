"""MBSD: in every row the modality that knows better teaches the one that knows less."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from sweeper.models.maths.evidence import full
from sweeper.models.maths.presence import present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output


class Mbsd(Method):
    """Minimise L(l) + Σ_m L(l_m) + `distil` · mean over rows and pairs of w [mean_k (l_s - l_t)² + KL(p_t ‖ p_s)].

    l (B, C) are the fused logits, l_m (B, C) the unimodal read-out (for a linear head W_m z_m + b / M), p_m its
    softmax. Of a pair of modalities the teacher t of a row is the one with the larger p[y], y the row's class, and the
    other its student s; the row weighs w = p_t[y] - p_s[y] if either is right by its largest logit, else 0, and a tie
    weighs nothing. Teacher and weight take no gradient. A modality that a row lacks is neither trained, nor taught, nor
    teaches there. `distil` 0 leaves the losses of the fused and the unimodal logits; nothing is joint training. Logs
    `teaches/<modality>`, the share of this rank's rows where it teaches another.

    Source: "Multimodal Pre-Training with Self-Distillation for Product Understanding in E-Commerce", WSDM 2023
    (10.1145/3539597.3570423), which we could not read; the terms are those of BalanceBenchmark's program, and that the
    strong one teaches the weak is what is said of the paper. Our reading: that the teacher, in both terms, takes no
    gradient, and the KL divergence of the softmax distributions, without temperature, from teacher to student. That
    program lets both logits move in the square, and compares the two probabilities of the true class by a function
    that expects the logarithm of one. With more modalities all pairs are averaged, as there.
    """

    modalities = (2, None)

    def __init__(self, net: Net, task: Task, *, distil: NonNegative = 1.0) -> None:
        super().__init__(net, task)
        self.distil = distil

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the losses of the fused and the unimodal logits and, unless it weighs nothing, of the teaching."""
        logits, present = output.unimodal, present_in(batch, output.unimodal)
        counted = present if batch.weight is None else present * batch.weight
        losses = {"fused": super().loss(output, batch, ctx)}
        for (m, x), rows in zip(logits.items(), counted, strict=True):
            losses[f"unimodal/{m}"] = (self.task.losses(x, batch.target) * rows).mean()
        if self.distil:
            stacked = full(torch.stack(list(logits.values())))
            found, teaches = distillation(stacked, batch.target, present)
            found = found if batch.weight is None else found * batch.weight
            losses["distillation"] = self.distil * found.mean()
            for m, share in zip(logits, teaches.float().mean(1).tolist(), strict=True):
                ctx.log(f"teaches/{m}", share)
        return losses


def distillation(logits: Tensor, target: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's loss (B,), the mean over pairs, and which modalities teach in it (M, B).

    Of logits (M, B, C), target (B,) and `present` (M, B) bool; only students take gradient.
    """
    log_p = logits.log_softmax(-1)
    right = logits.argmax(-1) == target
    true = log_p.detach().exp().gather(-1, target.expand(len(logits), -1).unsqueeze(-1)).squeeze(-1)
    found, teaches = [], torch.zeros_like(present)
    for a, b in combinations(range(len(logits)), 2):
        weight = (true[a] - true[b]) * ((right[a] | right[b]) & present[a] & present[b])
        for teacher, student, w in ((a, b, weight.relu()), (b, a, (-weight).relu())):
            taught, told = log_p[teacher].detach(), logits[teacher].detach()
            square = (logits[student] - told).square().mean(-1)
            divergence = (taught.exp() * (taught - log_p[student])).sum(-1)
            found.append(w * (square + divergence))
            teaches[teacher] |= w > 0
    return 2 * torch.stack(found).mean(0), teaches  # of a pair's two directions one is 0
