"""Joint training on smoothed labels."""

from __future__ import annotations

from torch import Tensor

from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Share
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output


class LabelSmoothing(Method):
    """Minimise (1 - eps) CE(one-hot label) + eps CE(uniform label 1/C) on the fused logits (B, C), or of every pixel.

    With many labels per row each is a choice of C = 2, so that its 0 or 1 is drawn towards 1/2; that is ours.

    `eps`: 0 is joint training to the bit; 1 ignores the labels and must give chance accuracy. LFM's Figure 1 mixes
    L_S and L_U with weights w and 1 - w, which is eps = 1 - w; its w = 0.7 is the default. Source: Szegedy et al.,
    CVPR 2016; Yang et al. (LFM), NeurIPS 2024, Figure 1.
    """

    tasks = ("classification", "multilabel", "segmentation")

    def __init__(self, net: Net, task: Task, *, eps: Share = 0.3) -> None:
        super().__init__(net, task)
        self.eps = eps

    def loss(self, output: Output, batch: Batch, ctx: Context) -> Tensor:
        """Return the mean cross-entropy against the smoothed labels."""
        return self.task.loss(output.fused, batch.target, batch.weight, label_smoothing=self.eps)
