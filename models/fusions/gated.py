"""Gates of one modality on another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from sweeper.models.fusions.base import Fusion


class Gated(Fusion):
    """Each modality gates the next: h_1 = z_1, h_k = sigmoid(U_k h_{k-1} + c_k) ∘ (V_k z_k + e_k).

    l = W h_M + b. Source: OGM-GE's gated head for two modalities, the first the gate; folding more from the
    left is ours. Read-out: the other modalities' features zeroed, so that biases stand in for them.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        steps = list(pairwise(dims.items()))
        self.gates = nn.ModuleDict({m: nn.Linear(source, d) for (_, source), (m, d) in steps})
        self.values = nn.ModuleDict({m: nn.Linear(d, d) for _, (m, d) in steps})
        self.head = nn.Linear(list(dims.values())[-1], n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        first, *others = self.dims
        h = features[first]
        for m in others:
            h = self.gates[m](h).sigmoid() * self.values[m](features[m])
        return self.head(h)
