"""The contract of tasks: what is minimised, what is predicted, what is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from sweeper.models.values import DataSpec


class Task(ABC):
    """Loss of logits, prediction from logits, metrics from predictions.

    `n_outputs` logits per row, or per pixel of `size` (H, W); `headline` is the metric that leads.
    """

    headline: str
    size: tuple[int, ...] = ()

    def __init__(self, spec: DataSpec) -> None:
        self.n_outputs = spec.n_classes

    @abstractmethod
    def losses(self, logits: Tensor, target: Tensor, **options: float) -> Tensor:
        """Return each row's loss (B,)."""

    @abstractmethod
    def losses_of_predictions(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return each row's loss (B,) from predictions, for reporting."""

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """Return predictions from logits."""

    @abstractmethod
    def score(self, predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return every metric of the task by name, from what was kept of N rows."""

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None, **options: float) -> Tensor:
        """Return the mean of the rows' losses, each times its `weight` (B,) if there is one."""
        losses = self.losses(logits, target, **options)
        return losses.mean() if weight is None else (losses * weight).mean()

    def kept(self, predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to keep of each row's prediction and target until they are scored: by default both."""
        return predicted, target

    def quick(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return the headline, which every epoch reports for the fused and each unimodal prediction."""
        return self.score(predicted, target)[self.headline]


def surprise(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return -log p of the target's class (…,) among (…, C)."""
    chosen = probabilities.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return -chosen.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
