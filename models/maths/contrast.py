"""Contrast of embeddings with centroids of groups of them; rows may lack members.

Shapes: B rows of this rank, T rows of all ranks, M members of a row, d features, K centroids, L labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.evidence import full
from sweeper.models.maths.matching import unit


def in_entities(present: Tensor) -> Tensor:
    """Return which members (B, M) are of a row that has at least two."""
    return present & (present.sum(1, keepdim=True) >= 2)


def centroids(members: Tensor, leave_out: bool) -> Tensor:
    """Return each row's centroid (B, M, d), length 1, as seen from m, of members (B, M, d), 0 where absent.

    It is the mean of the row's members, without m's own where that is to be left out.
    """
    counted = members.new_ones(members.shape[1], members.shape[1])
    return unit((counted.fill_diagonal_(0) if leave_out else counted) @ members)


def group_scores(
    own: Tensor,
    present: Tensor,
    labels: Tensor,
    every: Tensor,
    there: Tensor,
    groups: Tensor,
    leave_out: bool,
) -> tuple[Tensor, Tensor]:
    """Return the cosine of each member with each label's centroid, and of how many that is the centroid; (B, M, L).

    Members `own` (B, M, d), their `present` (B, M) and `labels` (B, L) are this rank's; `every` (T, M, d),
    `there` and `groups` those of all rows. A member is left out of the centroids of its labels if asked for.
    """
    total = torch.einsum("tl,tmd->ld", groups, every)
    number = groups.T @ there.sum(1).to(groups)
    if leave_out:
        total = total - torch.einsum("bl,bmd->bmld", labels, own)
        number = number - torch.einsum("bl,bm->bml", labels, present.to(labels))
    return (own.unsqueeze(2) * unit(total)).sum(-1), number.expand(*own.shape[:2], -1)


def contrast(
    scores: Tensor, positive: Tensor, usable: Tensor, extra: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return each anchor's loss, the mean of -log[e^s / (Σ_t e^s_t + e^extra)] over its positives, and if it has any.

    `scores` (…, K), those of `usable` (…, K) centroids count, `positive` (…, K) says which are the anchor's,
    `extra` (…,) is one more negative; both masks are broadcast.
    """
    scores = masked(full(scores), usable)
    every = scores if extra is None else torch.cat([scores, extra.unsqueeze(-1).to(scores)], -1)
    log_p = scores - every.logsumexp(-1, keepdim=True)
    positive = (positive & usable).expand_as(scores)
    number = positive.sum(-1)
    return -log_p.where(positive, 0.0).sum(-1) / number.clamp_min(1), number > 0


def masked(scores: Tensor, kept: Tensor) -> Tensor:
    """Return scores that are lowest where not kept; finite, so that a softmax over nothing has a gradient."""
    return scores.masked_fill(~kept, torch.finfo(scores.dtype).min)


def mean_over_ranks(losses: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of all ranks' counted losses, as the part of a rank whose weight is own / all rows; or 0."""
    own = torch.tensor(len(losses), device=losses.device)
    number, rows = parallel.total(torch.stack([counted.sum(), own]))
    return losses.where(counted, 0.0).sum() / number.clamp_min(1) * (rows / own)
