"""Every modality trained on its own, predictions averaged: the control without any interaction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.all import Task
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
        self.heads = nn.ModuleDict({m: nn.Linear(e.dim, task.n_outputs) for m, e in net.encoders.items()})

    def forward(self, batch: Batch) -> Output:
        """Return features, the heads' mean as fused logits (B, C), and the heads as unimodal read-out."""
        features = {m: self.net.encode(m, batch) for m in self.net.encoders}
        fused = torch.stack(list(self.read_out(features).values())).mean(0)
        return Output(features, fused, self.read_out)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every head's logits (B, C) on its modality's features."""
        return {m: self.heads[m](z) for m, z in features.items()}

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of every head."""
        return {f"unimodal/{m}": self.task.loss(x, batch.target) for m, x in output.unimodal.items()}
