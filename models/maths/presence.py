"""Which rows have which modality, and features weighed or left out row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sweeper.models.values import Batch

Features = dict[str, Tensor]


def present_in(batch: Batch, modalities: Iterable[str]) -> Tensor:
    """Return which rows have which modality, (M, B) bool."""
    everywhere = torch.ones_like(batch.index, dtype=torch.bool)
    return torch.stack([batch.present.get(m, everywhere) for m in modalities])


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Return values (B,) in a shape and type that broadcasts them over the rows of `like` (B, …)."""
    return values.view(-1, *[1] * (like.dim() - 1)).to(like.dtype)


def times(factors: Tensor, features: Features) -> Features:
    """Return every modality's features (B, …), each row times its factor (B, M)."""
    columns = zip(features.items(), factors.unbind(-1), strict=True)
    return {m: z * per_row(f, z) for (m, z), f in columns}


def kept_only(fuse: Callable[[Features], Tensor], features: Features, keep: Tensor) -> Tensor:
    """Return logits (V, B, C) for V choices `keep` (V, M) of 1 and 0: modalities at 0 are left out, as zeros.

    The fusion runs once, on V · B rows.
    """
    rows = len(next(iter(features.values())))
    columns = zip(features.items(), keep.unbind(-1), strict=True)
    stacked = {m: torch.cat([k * z for k in column.to(z.dtype)]) for (m, z), column in columns}
    return fuse(stacked).unflatten(0, (len(keep), rows))
