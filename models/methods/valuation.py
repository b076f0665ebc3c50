"""Modality valuation: rows come again with the modality alone that contributed too little to their prediction."""

from __future__ import annotations

from math import factorial
from typing import Literal

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.modes import measuring
from sweeper.models.maths.presence import kept_only, present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, EpochRows

# a contribution below each of these is worth one more copy of the row
BOUNDS = (1.0, 0.4, -0.1)
ROUNDING = 1e-6


class Valuation(Method):
    """Joint training on rows of which some come again, with one modality alone, once `warmup` epochs are over.

    φ_m of a row is m's Shapley value in v(S) = |S| if the fused prediction from S is right, else 0; modalities outside
    S have their features zeroed, in evaluation mode, at the beginning of the epoch. With two it is
    (v(m) + v(both) - v(other)) / 2, one of -1/2, 0, 1/2, 1, 3/2; over a row's modalities it sums to v(all).

    `level` sample: every row has copies with m alone, one where φ_m < 1, two where φ_m < 0.4, three where φ_m < -0.1.
    `level` modality: with d_m = 1 - the mean φ_m there are 2/3 · `alpha` · (d_m - min d) · N copies with m alone, of
    rows drawn at random among all N, each again only when all have been. Copies stand at random places between the
    rows, whose own order is that of joint training. A modality that a row lacks is worth 0 and counts in no S; a row
    with one modality has no copies. Neutral: `level` modality with `alpha` 0, or a `warmup` as long as training, is
    joint training to the bit. Logs `contribution/<modality>`, the mean φ_m, and `copies/<modality>`, their number for
    each row.

    Source: Wei et al., "Enhancing Multimodal Cooperation via Sample-level Modality Valuation", CVPR 2024. Deviations:
    rows are valued without augmentation; the mean φ_m is over all rows and not over a random fifth of them, drawn with
    replacement. Of the functions of the gap that are published this is the linear one. With more than two modalities it
    is our reading that the bounds on φ stay, that d is compared with the least, and that copies keep m alone rather
    than lose the better one.
    """

    modalities = (2, None)
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        level: Literal["sample", "modality"] = "sample",
        warmup: Whole = 5,
        alpha: NonNegative = 1.0,
    ) -> None:
        super().__init__(net, task)
        self.level, self.warmup, self.alpha = level, warmup, alpha

    def epoch_rows(self, rows: Tensor, ctx: Context) -> EpochRows:
        """Return all rows and, after the warm-up, copies of some; every rank values the same rows."""
        if ctx.epoch < self.warmup:
            return EpochRows(rows)
        with torch.no_grad(), measuring(self), parallel.replicated():
            parts = [(batch.index, *self.contributions(batch)) for batch in ctx.train()]
        index, value, present = (torch.cat(column, -1) for column in zip(*parts, strict=True))
        # equal on all ranks but for rounding, which can turn a prediction
        value, index, present = parallel.mean(value, 1).cpu(), index.cpu(), present.cpu()
        means = (value * present).sum(1) / present.sum(1).clamp_min(1)
        may = present & (present.sum(0) >= 2)
        if self.level == "sample":
            found = [index.repeat_interleave(n) for n in copies(value) * may]
        else:
            numbers = shortfall(means, self.alpha, len(index))
            found = [
                drawn(index[own], n, ctx.generator("copies", m))
                for m, n, own in zip(self.net.encoders, numbers, may, strict=True)
            ]
        for m, own, mean in zip(self.net.encoders, found, means.tolist(), strict=True):
            ctx.log(f"contribution/{m}", mean)
            ctx.log(f"copies/{m}", len(own) / len(index))
        return self._mixed(rows.cpu(), found, ctx)

    def contributions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return φ and which rows have which modality, both (M, B)."""
        features, present = self.net.encode(batch), present_in(batch, self.net.encoders)
        kept = subsets(len(present)).to(present.device)
        right = kept_only(self.net.fuse, features, kept).argmax(-1) == batch.target
        return shapley(right * (kept @ present.double())), present

    def _mixed(self, rows: Tensor, found: list[Tensor], ctx: Context) -> EpochRows:
        """Return the rows in their order (N,) and between them the copies {(n_m,)}, each with its modality alone."""
        places = [torch.arange(len(rows), dtype=torch.double) / len(rows)]
        for m, own in zip(self.net.encoders, found, strict=True):
            places.append(torch.rand(len(own), generator=ctx.generator("place", m), dtype=torch.double))
        order = torch.cat(places).argsort(stable=True)
        kept = torch.arange(-1, len(found)).repeat_interleave(torch.tensor([len(p) for p in places]))[order]
        present = {m: (kept < 0) | (kept == i) for i, m in enumerate(self.net.encoders)}
        return EpochRows(torch.cat([rows, *found])[order], None, present)


def subsets(modalities: int) -> Tensor:
    """Return all sets of modalities (2^M, M) as 0 and 1: m is in set number s if bit m of s is set."""
    return (torch.arange(2**modalities).unsqueeze(-1) >> torch.arange(modalities) & 1).double()


def shapley(values: Tensor) -> Tensor:
    """Return each modality's Shapley value (M, N) of values (2^M, N) of the sets that `subsets` numbers.

    φ_m = Σ over S without m of |S|! (M - |S| - 1)! / M! · (v(S and m) - v(S)).
    """
    modalities = len(values).bit_length() - 1
    odds = [factorial(n) * factorial(modalities - n - 1) / factorial(modalities) for n in range(modalities)]
    found = torch.zeros_like(values[:modalities])
    for m in range(modalities):
        for s in range(len(values)):
            if not s >> m & 1:
                found[m] += odds[s.bit_count()] * (values[s | 1 << m] - values[s])
    return found


def copies(value: Tensor) -> Tensor:
    """Return how many copies of a row its contributions (…,) are worth, whole numbers from 0 to 3."""
    return sum((value < bound - ROUNDING).long() for bound in BOUNDS)


def shortfall(means: Tensor, alpha: float, rows: int) -> list[int]:
    """Return how many copies each modality (M,) is worth, given its mean contribution; the best one has none."""
    return (2 / 3 * alpha * (means.max() - means) * rows + ROUNDING).long().tolist()


def drawn(pool: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Return so many of the rows in `pool` (P,) at random, none a second time before all came once."""
    if not len(pool):
        return pool
    return pool[torch.randperm(len(pool), generator=generator)[torch.arange(number) % len(pool)]]
