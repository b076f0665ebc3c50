"""Every modality trained on its own, predictions averaged: the control without any interaction."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models.maths.heads import Heads
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output


class UnimodalSum(Method):
    """Minimise the sum over modalities of the loss of a linear head on z_m; predict from their mean logits.

    Shapes: z_m (B, D_m), head logits (B, C). Since the modalities share no parameter, each learns exactly
    what it would learn alone; with one modality this is unimodal training. A modality that a row lacks votes
    there with its head's bias. There is no fusion to choose: averaging is the method. Source: the
    pre-training of LFM's released program (CE_1 + CE_2, logits averaged), which brings most of that
    program's accuracy.
    """

    tasks = ("classification", "multilabel", "regression")
    fuses = False

    def __init__(self, net: Net, task: Task) -> None:
        super().__init__(net, task)
        self.heads = Heads(net.dims, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return features, the heads' mean as fused logits (B, C), and the heads as unimodal read-out."""
        features = self.net.encode(batch)
        return Output(features, torch.stack(list(self.heads(features).values())).mean(0), self.heads)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of every head."""
        return {f"unimodal/{m}": self.task.loss(x, batch.target) for m, x in output.unimodal.items()}
