"""Adaptive gradient modulation: scale the gradient of each modality's Shapley share of the logits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import factorial

import torch
from torch import Tensor

from sweeper.models.maths.evidence import full
from sweeper.models.maths.modes import measuring
from sweeper.models.maths.presence import present_in
from sweeper.models.maths.scores import mean_where, true_class
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output, Tokens

LEAST = 1e-8  # the smallest probability whose logarithm is taken


class Agm(Method):
    """Multiply the gradient that enters modality m's share o_m of the logits by kappa_m, from its score over time.

    Shapes: logits (B, C). v(S) are the logits with the inputs of all modalities outside S zeroed, and o_m their
    Shapley value: Σ_m o_m = v(all), the fused logits; of two, o_a = (v(ab) - v(b) + v(a)) / 2. S_m is the mean over
    the global batch's rows that have m of -log p_m(true class), p_m = softmax(o_m);
    r_m = exp(M / (M - 1) (mean_j S_j - S_m)), R_m the same of tau, the mean of S over all earlier batches of the run,
    and kappa_m = exp(alpha min(R_m - r_m, `cap`)): who does better than it used to, next to the others, is slowed.
    The gradient is that of the logits v(all) + Σ_S c_S (v(S) - sg v(S)), c = W (kappa - 1), W (2^M - 1, M) the Shapley
    weights (`shapley`), whose value is v(all). The passes with zeroed inputs are in evaluation mode, so that running
    statistics are updated once; in them an encoder sees its input and zeros, and the fusion (2^M - 2) B rows, as do
    encoders that exchange their maps. If an entry of the fusion's weight gradients is beyond `clip`, the norm of all
    gradients is clipped to it; None: never. A row that lacks m has m's features zeroed in every pass. Any fusion
    fits; prediction takes one pass, and the unimodal read-out is the fusion's own. Neutral: `alpha` 0 and `clip` None
    are joint training to the bit. Logs `coefficient/<modality>`, the kappa_m.

    Source: Li et al., ICCV 2023 (arXiv 2308.07686). For more than two modalities all subsets count, ours; the factor
    M / (M - 1) is that of the released program. Deviations: that program scales by hooks on the branches, of which
    this is the closed form; it trains and tests on the first 90 % of each split.
    """

    modalities = (2, None)
    changes_inputs = True

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        alpha: NonNegative = 1.0,
        cap: Positive = 10.0,
        clip: Positive | None = 1.0,
    ) -> None:
        super().__init__(net, task)
        self.alpha, self.cap, self.clip = alpha, cap, clip
        self.subsets, shares = shapley(len(net.dims))
        self.register_buffer("shares", shares, persistent=False)
        self.register_buffer("tau", torch.zeros(len(net.dims)))
        self.register_buffer("batches", torch.tensor(0))

    def loss(self, output: Output, batch: Batch, ctx: Context) -> Tensor:
        """Return the fused loss, its gradient scaled share by share."""
        with measuring(self):
            others = self._others(batch)
        values = torch.cat([full(output.fused)[None], full(others)])
        shares = self.shares.to(values)
        kappa = self._kappa(torch.einsum("vm,vbc->mbc", shares, values.detach()), batch)
        for m, value in zip(self.net.encoders, kappa.tolist(), strict=True):
            ctx.log(f"coefficient/{m}", value)
        surplus = torch.einsum("v,vbc->bc", shares @ (kappa.to(shares) - 1), values - values.detach())
        return self.task.loss(output.fused + surplus, batch.target, batch.weight)

    def _others(self, batch: Batch) -> Tensor:
        """Return v (2^M - 2, B, C) of all subsets but the whole."""
        subsets, names, rows = self.subsets[1:], list(self.net.encoders), len(batch)
        if self.net.reads == "stages":  # what an encoder gives depends on the others' inputs
            fused = self.net(zeroed(batch, subsets, names)).fused
        else:
            both = torch.tensor([True, False]).unsqueeze(1).expand(-1, len(names))
            features = self.net.encode(zeroed(batch, both, names))
            kept = dict(zip(names, subsets.T.tolist(), strict=True))
            fused = self.net.fuse({m: chosen(z, kept[m], rows) for m, z in features.items()})
        return fused.unflatten(0, (len(subsets), rows))

    def _kappa(self, shares: Tensor, batch: Batch) -> Tensor:
        """Return kappa (M,) of the logits' shares (M, B, C), and take their scores into tau."""
        surprise = -true_class(shares, batch.target).clamp_min(LEAST).log()
        scores = mean_where(surprise, present_in(batch, self.net.encoders)).to(self.tau)
        kappa = (self.alpha * (relative(self.tau) - relative(scores)).clamp(max=self.cap)).exp()
        self.batches += 1
        self.tau += (scores - self.tau) / self.batches
        return kappa

    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Clip the norm of the gradients if the fusion's are large."""
        head = [p.grad for p in self.net.fusion.parameters() if p.grad is not None and p.dim() >= 2]
        if self.clip is not None and any(g.abs().max() > self.clip for g in head):
            torch.nn.utils.clip_grad_norm_(self.parameters(), self.clip)


def relative(scores: Tensor) -> Tensor:
    """Return exp(M / (M - 1) (mean_j S_j - S_m)), (M,), of scores S (M,), M >= 2; of two exp(S_other - S_m)."""
    return (len(scores) / (len(scores) - 1) * (scores.mean() - scores)).exp()


def shapley(modalities: int) -> tuple[Tensor, Tensor]:
    """Return all subsets (2^M - 1, M) bool but the empty, the whole first, and their weights W (2^M - 1, M).

    o = W' v: a subset S counts (|S| - 1)! (M - |S|)! / M! for its members and -|S|! (M - |S| - 1)! / M! for the
    others. v(empty) cancels, an equal part of it being each modality's.
    """
    rows = sorted(product([True, False], repeat=modalities), reverse=True)[:-1]

    def weight(size: int, member: bool) -> float:
        before, sign = (size - 1, 1) if member else (size, -1)
        return sign * factorial(before) * factorial(modalities - 1 - before) / factorial(modalities)

    weights = [[weight(sum(row), member) for member in row] for row in rows]
    return torch.tensor(rows), torch.tensor(weights, dtype=torch.float64)


def zeroed(batch: Batch, keep: Tensor, modalities: list[str]) -> Batch:
    """Return a batch's rows once for every choice `keep` (V, M), the inputs of modalities that are not kept zeroed."""
    times = len(keep)
    inputs = {
        m: torch.cat([batch.inputs[m] if kept else torch.zeros_like(batch.inputs[m]) for kept in column])
        for m, column in zip(modalities, keep.T.tolist(), strict=True)
    }
    return replace(
        batch,
        inputs=inputs,
        target=torch.cat([batch.target] * times),
        index=batch.index.repeat(times),
        present={m: there.repeat(times) for m, there in batch.present.items()},
        mask={m: there.repeat(times, 1) for m, there in batch.mask.items()},
        weight=None,
    )


def chosen(features: Tensor | Tokens, kept: list[bool], rows: int) -> Tensor | Tokens:
    """Return, one choice after the other, the first `rows` of features where it is to keep them and else the next."""
    if isinstance(features, Tokens):
        return Tokens(chosen(features.values, kept, rows), chosen(features.mask, kept, rows))
    there, zeros = features.split(rows)
    return torch.cat([there if own else zeros for own in kept])
