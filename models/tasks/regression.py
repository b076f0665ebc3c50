"""One number for each row."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sweeper.models.maths import metrics
from sweeper.models.tasks.base import Task
from sweeper.models.values import DataSpec


class Regression(Task):
    """One number per row: the absolute error of logits (B, 1) and target (B,)."""

    headline = "mae"

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs = 1

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return each row's absolute error (B,)."""
        return self.losses_of_predictions(self.predict(logits), target)

    def losses_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's absolute error (B,) from numbers (B,)."""
        return (predicted - target).abs()

    def predict(self, logits: Tensor) -> Tensor:
        """Return the numbers (B,)."""
        return logits.squeeze(-1)

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return error, correlation and the accuracies of sentiment analysis from numbers (N,)."""
        return metrics.regression(predicted, target)
