"""One class for each pixel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sweeper.models.maths import metrics
from sweeper.models.tasks.base import Task, surprise
from sweeper.models.values import VOID, DataSpec


class Segmentation(Task):
    """A class for every pixel: cross-entropy of logits (B, C, H, W) and target (B, H, W), which is -1 at void ones.

    A row's loss is the mean over its labelled pixels, 0 if there is none, and not the mean over those of the
    batch: so rows count alike, however they are shared out among ranks.
    """

    headline = "miou"

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs, self.size = spec.n_classes, spec.size

    def losses(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return each row's mean cross-entropy over its pixels (B,)."""
        losses = functional.cross_entropy(
            logits, target.long(), ignore_index=VOID, label_smoothing=label_smoothing, reduction="none"
        )
        return _mean_of_labelled(losses, target)

    def losses_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's mean negative log-likelihood (B,) from probabilities (B, C, H, W)."""
        unexpected = surprise(predicted.movedim(1, -1), target.long().clamp_min(0))
        return _mean_of_labelled(unexpected * (target != VOID), target)

    def predict(self, logits: Tensor) -> Tensor:
        """Return every pixel's class probabilities (B, C, H, W)."""
        return logits.softmax(1)

    def kept(self, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return each row's confusion (B, C, C), true by predicted class, and its pixels of each class (B, C)."""
        rows, classes = len(target), self.n_outputs
        row = torch.arange(rows, device=target.device).view(-1, 1, 1)
        cell = ((row * classes) + target.long()) * classes + predicted.argmax(1)
        counts = torch.bincount(cell[target != VOID], minlength=rows * classes**2)
        confusion = counts.view(rows, classes, classes)
        return confusion, confusion.sum(-1)

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return mean intersection over union and pixel accuracy of all rows' confusions (N, C, C) together."""
        return metrics.segmentation(predicted.sum(0))


def _mean_of_labelled(losses: Tensor, target: Tensor) -> Tensor:
    """Return each row's mean (B,) over its labelled pixels of losses (B, H, W) that are 0 at void ones."""
    return losses.sum((1, 2)) / (target != VOID).sum((1, 2)).clamp_min(1)
