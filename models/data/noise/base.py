"""The contract of noise that other modules bring; the project's own are the functions in corruptions.py."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from sweeper.models.data.statistics import Statistics


class Noise(ABC):
    """Base of all noise: `takes` names the kinds of input that it fits, `largest` is the level that no study exceeds.

    Its level is 0 or more; at 0 nothing is done. It has no options.
    """

    takes: tuple[str, ...] = ()
    largest: float | None = None

    @abstractmethod
    def __call__(
        self, x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics
    ) -> np.ndarray:
        """Return a sample, as the dataset holds it and unchanged itself, at a level; shape and length stay.

        Random numbers come from the generator alone, as many at every level. `train` says how large the modality's
        numbers are in the training rows.
        """
