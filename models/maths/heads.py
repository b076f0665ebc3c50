"""Linear heads, one for each modality."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Heads(nn.ModuleDict):
    """A linear head (B, D_m) -> (B, C) for each modality; called with features {m: ...} it gives their logits."""

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__({m: nn.Linear(d, n_outputs) for m, d in dims.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits {m: (B, C)} of the features that are given."""
        return {m: self[m](z) for m, z in features.items()}
