"""Concatenated features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sweeper.models.fusions.base import Fusion


class Concat(Fusion):
    """Linear head on concatenated features; read-out W_m z_m + b/M, whose sum over m is the fused logit.

    Source: LFM section 3.1; the split is OGM-GE's convention.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        self.head = nn.Linear(sum(dims.values()), n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return self.head(torch.cat([features[m] for m in self.dims], dim=-1))

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the exact split of the fused logits."""
        blocks = self.head.weight.split(list(self.dims.values()), dim=1)
        share = self.head.bias / len(self.dims)
        return {m: features[m] @ w.T + share for m, w in zip(self.dims, blocks, strict=True)}
