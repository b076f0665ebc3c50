"""Any of several labels for each row."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from sweeper.models.maths import metrics
from sweeper.models.tasks.base import Task


class Multilabel(Task):
    """Any of L labels at once: binary cross-entropy of logits (B, L) and target (B, L) of 0 and 1."""

    headline = "micro_f1"

    def losses(self, logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return each row's mean over its labels (B,); smoothing draws each label towards 1/2."""
        smooth = target.to(logits) * (1 - label_smoothing) + label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none").mean(-1)

    def losses_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's negative log-likelihood (B,), the mean over its labels, from probabilities (B, L)."""
        return functional.binary_cross_entropy(predicted, target.to(predicted), reduction="none").mean(-1)

    def predict(self, logits: Tensor) -> Tensor:
        """Return each label's probability (B, L)."""
        return logits.sigmoid()

    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return micro F1 and two kinds of macro F1 from probabilities (N, L)."""
        return metrics.multilabel(predicted, target)
