"""CML: a prediction must not be surer where it knows less."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models.maths.evidence import full
from sweeper.models.maths.presence import kept_only, present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output


class Cml(Method):
    """Minimise L(l) + `lambda_cml` · mean over rows and m of max(0, conf(l without m) - conf(l)).

    l (B, C) are the fused logits; without m, the fusion has its features zeroed, which with a linear head is
    l - l_m + b / M. conf is the largest class probability (B,). Both confidences take gradient. The rule is each row's
    own: one whose confidence falls does not make up for another's that rises. A modality that a row lacks, or has
    alone, adds nothing there. Neutral: `lambda_cml` 0 is joint training to the bit. `loss/calibration` is the second
    term.

    Source: Ma et al., "Calibrating Multimodal Learning", ICML 2023; the weight 0.1 is that of BalanceBenchmark, whose
    program is what we could read. Deviations: all M modalities are left out in turn and averaged, which for two is
    what leaving out one of them at random has in expectation; that program draws one order of the modalities an epoch.
    It takes the hinge of the batch's sum, and trains the reduced logits on the labels too; neither is in the rule.
    """

    modalities = (2, None)
    reads = ("pooled",)

    def __init__(self, net: Net, task: Task, *, lambda_cml: NonNegative = 0.1) -> None:
        super().__init__(net, task)
        self.lambda_cml = lambda_cml

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the task's loss and, unless it weighs nothing, that of confidence that rises."""
        losses = {"fused": super().loss(output, batch, ctx)}
        if self.lambda_cml:
            found = self.rise(output, batch)
            found = found if batch.weight is None else found * batch.weight
            losses["calibration"] = self.lambda_cml * found.mean()
        return losses

    def rise(self, output: Output, batch: Batch) -> Tensor:
        """Return by how much confidence rises where a modality is left out, (B,), the mean over modalities."""
        present = present_in(batch, output.features)
        left_out = 1 - torch.eye(len(present), device=batch.index.device)
        reduced = confidence(kept_only(self.net.fuse, output.features, left_out))
        usable = present & (present.sum(0) >= 2)
        return (reduced - confidence(output.fused)).relu().where(usable, 0.0).mean(0)


def confidence(logits: Tensor) -> Tensor:
    """Return the largest class probability (…,) of logits (…, C)."""
    return full(logits).softmax(-1).amax(-1)
