"""The net: one encoder per modality and a fusion with the head on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from sweeper.models.encoders.base import Encoder
from sweeper.models.fusions.base import Fusion
from sweeper.models.values import Batch, DataSpec, Output, Tokens

Features = dict[str, Tensor | Tokens]


class Net(nn.Module):
    """Encode each modality into features, fuse them into logits (B, C); or maps into logits of pixels.

    `spec` says what the net is for: its modalities, its task, how many rows there are. A method that does not fuse has
    no fusion, and reads pooled features.
    """

    def __init__(self, spec: DataSpec, encoders: Mapping[str, Encoder], fusion: Fusion | None) -> None:
        super().__init__()
        self.spec = spec
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.reads = fusion.reads if fusion else "pooled"

    @property
    def dims(self) -> dict[str, int]:
        """The width D_m of each modality's features."""
        return {m: encoder.dim for m, encoder in self.encoders.items()}

    def forward(self, batch: Batch) -> Output:
        """Return features, fused logits and the fusion's unimodal read-out."""
        features = self.encode(batch)
        return Output(features, self.fuse(features), self.fusion.unimodal)

    def encode(self, batch: Batch, modalities: Iterable[str] | None = None) -> Features:
        """Return the features of all modalities, or of some, as the fusion reads them.

        A modality that a row lacks has its features zeroed in that row.
        """
        wanted = list(modalities or self.encoders)
        if self.reads == "stages":
            return self._exchanged(batch, wanted)
        read = {m: self.encoders[m](*_inputs(m, batch), self.reads) for m in wanted}
        return {m: _zeroed_where_absent(m, z, batch) for m, z in read.items()}

    def fuse(self, features: Features) -> Tensor:
        """Return the fused logits of features."""
        return self.fusion(features)

    def _exchanged(self, batch: Batch, modalities: list[str]) -> Features:
        """Return pooled features of encoders that run side by side and exchange their maps after each stage."""
        running = {m: self.encoders[m].staged(*_inputs(m, batch)) for m in modalities}
        maps, features = {m: next(run) for m, run in running.items()}, {}
        for stage in range(len(self.encoders[modalities[0]].stages)):
            present = {m: _zeroed_where_absent(m, z, batch) for m, z in maps.items()}
            exchanged, maps = self.fusion.exchange(stage, present, batch.mask), {}
            for m, run in running.items():
                try:
                    maps[m] = run.send(exchanged[m])
                except StopIteration as end:
                    features[m] = _zeroed_where_absent(m, end.value, batch)
        return features


def _inputs(modality: str, batch: Batch) -> tuple[Tensor, Tensor | None]:
    return batch.inputs[modality], batch.mask.get(modality)


def _zeroed_where_absent(modality: str, features: Tensor | Tokens, batch: Batch) -> Tensor | Tokens:
    if modality not in batch.present:
        return features
    present = batch.present[modality]
    if isinstance(features, Tokens):
        there = features.mask & present.unsqueeze(-1)
        return Tokens(features.values * there.unsqueeze(-1).to(features.values.dtype), there)
    return features * present.view(-1, *[1] * (features.dim() - 1)).to(features.dtype)
