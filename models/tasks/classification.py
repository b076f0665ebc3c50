"""One class for each row."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from sweeper.models.maths import metrics
from sweeper.models.tasks.base import Task, surprise


class Classification(Task):
    """Single-label classification: cross-entropy of logits (B, C) and target (B,)."""

    headline = "accuracy"

    def losses(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return each row's cross-entropy (B,)."""
        return functional.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction="none")

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None, **options: float) -> Tensor:
        """Return the mean of the rows' losses, in one call where all rows count alike."""
        if weight is not None:
            return super().loss(logits, target, weight, **options)
        return functional.cross_entropy(logits, target, **options)

    def losses_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's negative log-likelihood (B,) from probabilities (B, C)."""
        return surprise(predicted, target)

    def predict(self, logits: Tensor) -> Tensor:
        """Return class probabilities (B, C)."""
        return logits.softmax(-1)

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return accuracy, macro and weighted F1, MAP from probabilities (N, C)."""
        return metrics.classification(predicted, target)

    def quick(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return accuracy."""
        return metrics.accuracy(predicted, target)
