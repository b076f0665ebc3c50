"""Attention over modalities, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.fusions.base import Fusion, aligned
from sweeper.models.maths.heads import Heads


class Weighted(Fusion):
    """Modalities weighted by attention that depends on the sample; three readings of what is weighted.

    `predictions`: l = Σ_m A_m l_m with l_m = W_m z_m + b_m (LFM's "prediction weighting").
    `features_scalar`: l = W Σ_m A_m z_m + b (CMML, Yang et al., IJCAI 2019).
    In both A = softmax over m of a_m(z_m), and a_m is a multi-layer perceptron with hidden layers of 64, 32.
    `features_elementwise`: l = W Σ_m w_m ∘ z_m + b with w_m = s_m / Σ_j s_j, s_m = softmax of z_m over its
    features; no parameters but the head.

    Read-out: what the fusion gives where the softmax spans one modality alone, l_m or W z_m + b. The mean
    of the read-outs weighted by A is the fused logit, but for `features_elementwise`. Where features are
    weighted, those narrower than the widest are mapped to its width by a linear layer without bias.
    Deviations: each modality has its own perceptron, since widths may differ; CMML's further losses are
    left to a method.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        n_outputs: int,
        *,
        on: Literal["predictions", "features_scalar", "features_elementwise"] = "predictions",
    ) -> None:
        super().__init__(dims, n_outputs)
        width = max(dims.values())
        on_predictions = on == "predictions"
        self.values = Heads(dims, n_outputs) if on_predictions else aligned(dims, width)
        self.head = nn.Identity() if on_predictions else nn.Linear(width, n_outputs)
        self.scorers = nn.ModuleDict() if on == "features_elementwise" else _scorers(dims)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return self._mix({m: features[m] for m in self.dims})

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits where each modality in turn has all the weight."""
        return {m: self._mix({m: features[m]}) for m in self.dims}

    def _mix(self, features: dict[str, Tensor]) -> Tensor:
        values = torch.stack([self.values[m](z) for m, z in features.items()])  # (M, B, C or D)
        if self.scorers:
            scores = torch.stack([self.scorers[m](z) for m, z in features.items()])  # (M, B, 1)
        else:
            scores = values.log_softmax(-1)
        return self.head((scores.softmax(0) * values).sum(0))


def _scorers(dims: Mapping[str, int]) -> nn.ModuleDict:
    def scorer(d: int) -> nn.Module:
        return nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    return nn.ModuleDict({m: scorer(d) for m, d in dims.items()})
