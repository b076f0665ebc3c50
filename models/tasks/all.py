"""Tasks: what is minimised, what is predicted, what is measured."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sweeper.models.maths import metrics
from sweeper.models.values import VOID, DataSpec


class Task(Protocol):
    """Loss on logits, prediction from logits, metrics from predictions.

    `n_outputs` logits per row, or per pixel of `size` (H, W); `headline` is the metric that leads.
    """

    n_outputs: int
    headline: str
    size: tuple[int, ...] = ()

    def loss(self, logits: Tensor, target: Tensor, **options: float) -> Tensor:
        """Return the mean loss over rows."""

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's loss (B,) from predictions, for reporting."""

    def predict(self, logits: Tensor) -> Tensor:
        """Return predictions from logits."""

    def kept(self, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to keep of each row's prediction and target until they are scored: by default both."""
        return predicted, target

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return every metric of the task by name, from what was kept of N rows."""

    def quick(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return the headline, which every epoch reports for the fused and each unimodal prediction."""
        return self.score(predicted, target)[self.headline]


class Classification(Task):
    """Single-label classification: cross-entropy of logits (B, C) and target (B,)."""

    headline = "accuracy"

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs = spec.n_classes

    def loss(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy."""
        return functional.cross_entropy(logits, target, label_smoothing=label_smoothing)

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's negative log-likelihood (B,) from probabilities (B, C)."""
        return _surprise(predicted, target)

    def predict(self, logits: Tensor) -> Tensor:
        """Return class probabilities (B, C)."""
        return logits.softmax(-1)

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return accuracy, macro and weighted F1, MAP from probabilities (N, C)."""
        return metrics.classification(predicted, target)

    def quick(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return accuracy."""
        return metrics.accuracy(predicted, target)


class Multilabel(Task):
    """Any of L labels at once: binary cross-entropy of logits (B, L) and target (B, L) of 0 and 1."""

    headline = "micro_f1"

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs = spec.n_classes

    def loss(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean over rows and labels; smoothing draws each label towards 1/2."""
        smooth = target.to(logits) * (1 - label_smoothing) + label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, smooth)

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's negative log-likelihood (B,), the mean over its labels, from probabilities (B, L)."""
        return functional.binary_cross_entropy(predicted, target.to(predicted), reduction="none").mean(-1)

    def predict(self, logits: Tensor) -> Tensor:
        """Return each label's probability (B, L)."""
        return logits.sigmoid()

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return micro F1 and two kinds of macro F1 from probabilities (N, L)."""
        return metrics.multilabel(predicted, target)


class Regression(Task):
    """One number per row: the absolute error of logits (B, 1) and target (B,)."""

    headline = "mae"
    n_outputs = 1

    def __init__(self, spec: DataSpec) -> None:
        pass

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return self.loss_of_predictions(self.predict(logits), target).mean()

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's absolute error (B,)."""
        return (predicted - target).abs()

    def predict(self, logits: Tensor) -> Tensor:
        """Return the numbers (B,)."""
        return logits.squeeze(-1)

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return error, correlation and the accuracies of sentiment analysis from numbers (N,)."""
        return metrics.regression(predicted, target)


class Segmentation(Task):
    """A class for every pixel: cross-entropy of logits (B, C, H, W) and target (B, H, W), which is -1 at void ones.

    A row's loss is the mean over its labelled pixels, 0 if there is none, and not the mean over those of the
    batch: so rows count alike, however they are shared out among ranks.
    """

    headline = "miou"

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs, self.size = spec.n_classes, spec.size

    def loss(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean over rows of their mean cross-entropy over pixels."""
        losses = functional.cross_entropy(
            logits, target.long(), ignore_index=VOID, label_smoothing=label_smoothing, reduction="none"
        )
        return _mean_of_labelled(losses, target).mean()

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's mean negative log-likelihood (B,) from probabilities (B, C, H, W)."""
        surprise = _surprise(predicted.movedim(1, -1), target.long().clamp_min(0))
        return _mean_of_labelled(surprise * (target != VOID), target)

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


def task_of(spec: DataSpec) -> Task:
    """Return the task that a dataset poses."""
    kinds = {
        "classification": Classification,
        "multilabel": Multilabel,
        "regression": Regression,
        "segmentation": Segmentation,
    }
    return kinds[spec.task](spec)


def _surprise(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return -log p of the target's class (…,) among (…, C)."""
    chosen = probabilities.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return -chosen.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def _mean_of_labelled(losses: Tensor, target: Tensor) -> Tensor:
    """Return each row's mean (B,) over its labelled pixels of losses (B, H, W) that are 0 at void ones."""
    return losses.sum((1, 2)) / (target != VOID).sum((1, 2)).clamp_min(1)
