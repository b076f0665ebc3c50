"""MMCosine: heads that compare directions alone, so that no modality leads by the length of its features."""

from __future__ import annotations

from torch import Tensor, nn

from sweeper.models.maths.evidence import full
from sweeper.models.maths.matching import unit
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Output


class Mmcosine(Method):
    """Minimise L(Σ_m l_m), l_m = `s` · cos(z_m, W_m), the same logits in training and in evaluation.

    Shapes: z_m (B, D_m), W_m (C, D_m), l_m (B, C) within [-s, s]. There is no bias: neither the length of features nor
    that of a class's weights counts, so that weight decay on W_m changes its learning rate alone. There is no fusion
    to choose: the heads are the method, and the unimodal read-out is l_m, which sum to the fused logits. Features of
    length 0, as those of a modality that a row lacks, add nothing. No setting of it is joint training.

    Source: Xu et al., "MMCosine", ICASSP 2023, without the contrastive loss of its supplement, whose published weight
    is 0. Deviations: the released program validates the fused prediction on logits that are not normalised; with more
    than two modalities the sum goes on, and many labels per row take the same logits; both are ours.
    """

    tasks = ("classification", "multilabel")
    fuses = False

    def __init__(self, net: Net, task: Task, *, s: Positive = 10.0) -> None:
        super().__init__(net, task)
        self.s = s
        self.heads = nn.ModuleDict({m: nn.Linear(d, task.n_outputs, bias=False) for m, d in net.dims.items()})

    def forward(self, batch: Batch) -> Output:
        """Return features, the sum of the heads' logits as fused (B, C), and the heads as unimodal read-out."""
        features = self.net.encode(batch)
        return Output(features, sum(self.read_out(features).values()), self.read_out)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits {m: (B, C)} of the features that are given."""
        return {m: self.s * cosines(z, self.heads[m].weight) for m, z in features.items()}


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """Return the cosine (B, C) of each row of features (B, D) with each of `weight` (C, D); 0 where one is 0."""
    return unit(full(features)) @ unit(weight).T
