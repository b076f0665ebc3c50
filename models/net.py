"""The net: one encoder per modality and a fusion with the head on top."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sweeper.models.fusions.all import Fusion
from sweeper.models.values import Batch, Output


class Net(nn.Module):
    """Encode each modality into features (B, D_m), fuse them into logits (B, C); or maps into logits of pixels.

    A modality that a row lacks has its features zeroed in that row. A method that does not fuse has no fusion.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], fusion: Fusion | None) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion

    def forward(self, batch: Batch) -> Output:
        """Return features, fused logits and the fusion's unimodal read-out."""
        features = {m: self.encode(m, batch) for m in self.encoders}
        fusion = self.fusion
        return Output(features, fusion(features), fusion.unimodal)

    def encode(self, modality: str, batch: Batch) -> Tensor:
        """Return the features (B, D_m, …) of one modality."""
        features = self.encoders[modality](batch.inputs[modality])
        if modality in batch.present:
            present = batch.present[modality].view(-1, *[1] * (features.dim() - 1))
            features = features * present.to(features.dtype)
        return features
