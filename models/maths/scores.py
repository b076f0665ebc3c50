"""How well each modality does on the rows of all ranks, without gradient; rows may lack modalities."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.evidence import full


def true_class(logits: Tensor, target: Tensor) -> Tensor:
    """Return the softmax's probability (M, B) of each row's own class, of logits (M, B, C) and target (B,)."""
    p = full(logits.detach()).softmax(-1)
    return p.gather(-1, target.expand(p.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def mean_where(values: Tensor, counted: Tensor) -> Tensor:
    """Return each modality's mean (M,) of values (M, B) over the rows of all ranks that are `counted` (M, B).

    A modality without such rows has the mean of the others' means, so that it is neither ahead nor behind; 0 if none
    has any.
    """
    values = full(values.detach()).where(counted, 0.0)
    total, rows = parallel.total(torch.stack([values.sum(1), counted.sum(1).to(values)]))
    means, there = total / rows.clamp_min(1), rows > 0
    return means.where(there, means.sum() / there.sum().clamp_min(1))
