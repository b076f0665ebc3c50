"""An LSTM over modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.fusions.base import Fusion, aligned
from sweeper.models.schema.ranges import Count, ShareBelow1


class Lstm(Fusion):
    """A stacked LSTM over modalities; a linear head on its last state.

    `modalities`: the features are a sequence of length M, those narrower than the widest mapped to its
    width by a linear layer without bias. `concat`: the concatenated features are a sequence of length 1.
    `hidden` is the width of the LSTM; None means that of the widest features, which gives the source's 512
    for ResNet-18 and stays in proportion for small encoders. `dropout` follows each layer. Read-out: the
    other modalities' features zeroed.

    Source: LFM's ML-LSTM, which cites Nie et al., 2021; no code of it was found, so `modalities` is our
    reading of the name; `concat` with one layer of 512 is what LFM's authors use elsewhere. Second
    derivatives need `gradients.twice_differentiable`.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        n_outputs: int,
        *,
        sequence: Literal["modalities", "concat"] = "modalities",
        layers: Count = 2,
        hidden: Count | None = None,
        dropout: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__(dims, n_outputs)
        width = max(dims.values())
        hidden = width if hidden is None else hidden
        self.sequence = sequence
        self.align = aligned(dims, width) if sequence == "modalities" else nn.ModuleDict()
        n_inputs = width if sequence == "modalities" else sum(dims.values())
        between = dropout if layers > 1 else 0.0  # torch warns where there is no layer to drop between
        self.lstm = nn.LSTM(n_inputs, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        if self.sequence == "modalities":
            steps = torch.stack([self.align[m](features[m]) for m in self.dims], dim=1)  # (B, M, D)
        else:
            steps = torch.cat([features[m] for m in self.dims], dim=-1).unsqueeze(1)  # (B, 1, ΣD)
        return self.head(self.dropout(self.lstm(steps)[0][:, -1]))
