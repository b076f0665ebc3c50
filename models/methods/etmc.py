"""Enhanced trusted multi-view classification: what the fusion says is one opinion more."""

from __future__ import annotations

from torch import Tensor

from sweeper.models.maths.evidence import concentrations
from sweeper.models.maths.presence import Features
from sweeper.models.methods.tmc import Tmc
from sweeper.models.values import Batch


class Etmc(Tmc):
    """Train and predict as tmc does, with the fused logits (B, C) as a view of their own, the pseudo view.

    Its evidence is softplus of them, its loss the same, and the rule combines it with the modalities'. What the
    modalities say together so counts twice, by design. With the fusion `concat` it is the published pseudo view, a
    linear layer on the concatenated features; an absent modality's are zeros there. With one modality it is
    tmc of two heads on the same features. Output.extra says `uncertainty/pseudo` too.

    Source: Han et al., Trusted Multi-View Classification With Dynamic Evidential Fusion, TPAMI 2023, section 3 and its
    RGB-D program, which anneals over 10 epochs of 500. Deviations: any fusion that reads pooled features can give the
    pseudo view.
    """

    fuses = True
    reads = ("pooled",)

    def opinions(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Return the concentrations α (B, C) of the modalities, then of the fused logits."""
        return {**super().opinions(features, batch), "pseudo": concentrations(self.net.fuse(features))}
