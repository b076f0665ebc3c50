"""How well modalities match: losses on pairs of modalities, over the rows of all ranks.

With W ranks a rank returns its part in the trainer's convention: weighted by own / all rows and summed over
ranks, values and gradients equal those of one rank that holds every row. `usable` (B,) bool marks the rows to
count, None all of them; a pair with fewer than two usable rows on all ranks together has no loss (None).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.models import parallel

PairLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor | None]


def over_pairs(values: Mapping[str, Tensor], present: Mapping[str, Tensor], pair_loss: PairLoss) -> Tensor:
    """Return the mean of `pair_loss` over all unordered pairs of modalities that have one; 0 if none has.

    `values` {m: (B, …)}, `present` {m: (B,) bool} for the modalities that rows can lack. A row counts in a
    pair if it has both. The mean, not the sum, keeps a weight's meaning whatever M is. Source: LFM's
    equation is for a pair; the mean for M > 2 is that of BalanceBenchmark.
    """
    found = [pair_loss(values[j], values[k], _both(present, j, k)) for j, k in combinations(values, 2)]
    losses = [loss for loss in found if loss is not None]
    return torch.stack(losses).mean() if losses else sum(v.sum() for v in values.values()) * 0.0


def infonce(
    a: Tensor, b: Tensor, usable: Tensor | None = None, *, tau: float = 0.07, labels: Tensor | None = None
) -> Tensor | None:
    """Return the symmetric InfoNCE loss of features a, b (B, D): row i of a matches row i of b and no other.

    The mean of both directions of cross-entropy on cosine / tau; queries are this rank's rows, keys all
    ranks'. With `labels` (B,) rows of the same class are left out of the negatives. Source: LFM, section 3.2.
    """
    rows = len(a)
    if usable is not None:
        a, b = a[usable], b[usable]
        labels = None if labels is None else labels[usable]
    a, b = unit(a), unit(b)
    keys_a, keys_b = parallel.gather(a), parallel.gather(b)
    own = torch.arange(len(a), device=a.device)
    positive = own + parallel.offset(len(a), a.device)
    excluded = None
    if labels is not None:
        excluded = labels.unsqueeze(1) == parallel.gather(labels)
        excluded[own, positive] = False
    forth = _contrast(a @ keys_b.T / tau, positive, excluded)
    back = _contrast(b @ keys_a.T / tau, positive, excluded)
    return _mean((forth + back) / 2, rows)


def posterior_alignment(logits_a: Tensor, logits_b: Tensor, usable: Tensor | None = None) -> Tensor | None:
    """Return ½[KL(A‖P) + KL(A‖Q)], A = (P + Q)/2, of the class posteriors P, Q of logits (B, C).

    This is what LFM's released code calls alignment: the arithmetic-geometric divergence, unbounded, unlike
    Jensen-Shannon whose arguments stand the other way round. Computed from log-probabilities, it stays
    finite.
    """
    rows = len(logits_a)
    if usable is not None:
        logits_a, logits_b = logits_a[usable], logits_b[usable]
    p, q = logits_a.log_softmax(-1), logits_b.log_softmax(-1)
    mixed = torch.logaddexp(p, q) - math.log(2)
    return _mean((mixed.exp() * (mixed - (p + q) / 2)).sum(-1), rows)


def unit(features: Tensor) -> Tensor:
    """Return the rows of features (B, D) at length 1; a row of zeros stays zero and takes no gradient.

    Written so that a second derivative exists everywhere, which torch's own normalisation lacks at zero.
    """
    square = features.square().sum(-1, keepdim=True)
    nonzero = square > 1e-16
    return features * torch.where(nonzero, torch.where(nonzero, square, 1.0).rsqrt(), 0.0)


def _contrast(scores: Tensor, positive: Tensor, excluded: Tensor | None) -> Tensor:
    if excluded is not None:
        scores = scores.masked_fill(excluded, -math.inf)
    return functional.cross_entropy(scores, positive, reduction="none")


def _both(present: Mapping[str, Tensor], j: str, k: str) -> Tensor | None:
    masks = [present[m].bool() for m in (j, k) if m in present]
    return masks[0] & masks[-1] if masks else None


def _mean(losses: Tensor, rows: int) -> Tensor | None:
    """Return the mean over all ranks' losses (n,), as the part of a rank whose weight will be own / all rows.

    None if there are fewer than two.
    """
    if parallel.world() == 1:
        return losses.mean() if len(losses) >= 2 else None
    counts = parallel.total(torch.tensor([len(losses), rows], device=losses.device))
    usable, every = counts.tolist()
    return losses.sum() / usable * (every / rows) if usable >= 2 else None
