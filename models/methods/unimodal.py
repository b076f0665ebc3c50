"""Unimodal training: one modality alone."""

from __future__ import annotations

from torch import nn

from sweeper.models.errors import choose
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Output


class Unimodal(Method):
    """One encoder and a linear head, trained on one modality; the others are never read.

    `modality` names it. A study that lists plain `unimodal` gets one arm per modality. Source: the unimodal rows
    of LFM's Table 1.
    """

    tasks = ("classification", "multilabel", "regression")
    fuses = False

    def __init__(self, net: Net, task: Task, *, modality: str) -> None:
        super().__init__(net, task)
        self.modality = choose("modality", modality, net.encoders, "method 'unimodal'")
        for name in list(net.encoders):
            if name != modality:
                del net.encoders[name]
        self.head = nn.Linear(net.dims[modality], task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return the modality's features and logits; its read-out is the prediction itself."""
        features = self.net.encode(batch)
        logits = self.head(features[self.modality])
        return Output(features, logits, lambda _: {self.modality: logits})
