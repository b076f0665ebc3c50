"""Tasks: what is minimised, what is predicted, what is measured."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models import metrics
from models.values import DataSpec


class Task(Protocol):
    """Loss on logits, prediction from logits, metrics from predictions."""

    n_outputs: int
    headline: str

    def loss(self, logits: Tensor, target: Tensor, **options: float) -> Tensor:
        """Return the mean loss over rows."""

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's loss (B,) from predictions, for reporting."""

    def predict(self, logits: Tensor) -> Tensor:
        """Return predictions from logits."""

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return every metric of the task by name."""

    def correct(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return the one cheap metric that every epoch reports for the fused and each unimodal prediction."""


class Classification:
    """Single-label classification: cross-entropy on logits (B, C)."""

    headline = "accuracy"

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs = spec.n_classes

    def loss(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean cross-entropy."""
        return functional.cross_entropy(logits, target, label_smoothing=label_smoothing)

    def loss_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's negative log-likelihood (B,) from probabilities (B, C)."""
        chosen = predicted.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return -chosen.clamp_min(torch.finfo(predicted.dtype).tiny).log()

    def predict(self, logits: Tensor) -> Tensor:
        """Return class probabilities (B, C)."""
        return logits.softmax(-1)

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return accuracy, macro and weighted F1, MAP from probabilities (B, C)."""
        return metrics.classification(predicted, target)

    def correct(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return accuracy."""
        return metrics.accuracy(predicted, target)


def task_of(spec: DataSpec) -> Task:
    """Return the task that a dataset poses."""
    return {"classification": Classification}[spec.task](spec)
