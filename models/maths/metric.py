"""The contract of metrics that other modules bring; the project's own are the functions in metrics.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np


class Metric(ABC):
    """Base of all metrics: `tasks` names the tasks it is for, `better` says which way, `share` whether it is a share.

    A share, from 0 to 1, is shown in percent. It has no options.
    """

    tasks: tuple[str, ...] = ("classification",)
    better: Literal["max", "min"] = "max"
    share: bool = False

    @abstractmethod
    def __call__(self, predicted: np.ndarray, target: np.ndarray) -> float:
        """Return the metric of what the task keeps of N rows' predictions against their targets.

        In classification these are probabilities (N, C) and classes (N,), in multilabel probabilities (N, L) and 0 or 1
        (N, L), in regression numbers (N,) and (N,), in segmentation pixels of each class by their true one (N, C, C)
        and that of the targets alone. NaN says that it is not defined here.
        """
