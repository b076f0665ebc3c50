"""Feature-wise modulation of one modality by another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from sweeper.models.fusions.base import Fusion


class Film(Fusion):
    """Each modality modulates the next: h_1 = z_1, h_k = γ_k ∘ z_k + β_k with [γ_k, β_k] = V_k h_{k-1} + c_k.

    l = W h_M + b. Source: FiLM (Perez et al., AAAI 2018) as OGM-GE and LFM ("Affine") use it for two
    modalities, the first the source; folding more from the left is ours. γ is predicted itself, not as 1 + γ.
    Read-out: the other modalities' features zeroed, so that biases stand in for them.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        steps = pairwise(dims.items())
        self.films = nn.ModuleDict({m: nn.Linear(source, 2 * d) for (_, source), (m, d) in steps})
        self.head = nn.Linear(list(dims.values())[-1], n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        first, *others = self.dims
        h = features[first]
        for m in others:
            gamma, beta = self.films[m](h).chunk(2, dim=-1)
            h = gamma * features[m] + beta
        return self.head(h)
