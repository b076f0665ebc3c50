"""The mean of the modalities' logits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sweeper.models.fusions.base import Fusion
from sweeper.models.maths.heads import Heads


class Mean(Fusion):
    """A linear head per modality, logits averaged: l = 1/M Σ_m l_m, l_m = W_m z_m + b_m; read-out l_m.

    Source: LFM's released model, which averages two heads.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        self.heads = Heads(dims, n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return sum(self.unimodal(features).values()) / len(self.dims)

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits of each modality's own head, whose mean is the fused ones."""
        return self.heads({m: features[m] for m in self.dims})
