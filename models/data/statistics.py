"""Range, mean and std of a modality's train rows, each feature or channel by itself or all numbers together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from sweeper.models.data.files import blocks
from sweeper.models.values import TIMED, InputKind

Per = Literal["feature", "modality"]
Number = float | np.ndarray  # of all features, or of each, in a shape that a sample is broadcast with


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of `array[rows]`, samples of a kind, read when first asked for; steps beyond `lengths` left out.

    A feature is a number of a vector or of a sequence's step, a channel of an image or video, or all of a waveform.
    `zero` is what a batch holds as 0; `blank` and `special` are those of the input's spec.
    """

    array: np.ndarray
    rows: np.ndarray
    kind: InputKind
    lengths: np.ndarray | None = None
    zero: Number = 0.0
    blank: int = 0
    special: tuple[int, ...] = ()

    @cached_property
    def range(self) -> tuple[float, float]:
        """Least and greatest number, (0, 0) without rows."""
        ends = [(float(piece.min()), float(piece.max())) for piece in self._pieces("modality")]
        return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)

    @cached_property
    def moments(self) -> tuple[Number, Number]:
        """Mean and std of each feature."""
        return self.mean_std("feature")

    def mean_std(self, per: Per) -> tuple[Number, Number]:
        """Return mean and std; a std that is only rounding is 1, so that a constant becomes 0 and stays finite.

        Merges pieces by Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances (1979).
        """
        count, mean, spread = 0, 0.0, 0.0
        for piece in self._pieces(per):
            size = piece.shape[1]
            gap, total = piece.mean(1) - mean, count + size
            spread = spread + piece.var(1) * size + gap**2 * count * size / total
            mean = mean + gap * size / total
            count = total
        mean, std = np.atleast_1d(mean), np.atleast_1d((spread / max(count, 1)) ** 0.5)
        std = np.where(std > 1e-7 * abs(mean), std, 1.0)
        return self._shaped(mean), self._shaped(std)

    def _pieces(self, per: Per) -> Iterator[np.ndarray]:
        """Yield the numbers of each feature (F, n), piece by piece."""
        for rows, block in blocks(self.array, self.rows):
            numbers = block.astype(np.float64)
            if self.kind in TIMED and self.lengths is not None:
                numbers = numbers[np.arange(block.shape[1]) < self.lengths[rows][:, None]]
            elif self.kind in ("sequence", "video"):
                numbers = numbers.reshape(-1, *block.shape[2:])
            if not numbers.size:  # of rows without a step
                continue
            if per == "modality" or self.kind == "audio":
                yield numbers.reshape(1, -1)
            else:
                yield np.moveaxis(numbers, 1, 0).reshape(numbers.shape[1], -1)

    def _shaped(self, values: np.ndarray) -> Number:
        """Return a number, or one for each feature so that it is broadcast with a sample."""
        if values.size == 1:
            return float(values[0])
        return values[:, None, None] if self.kind in ("image", "video") else values
