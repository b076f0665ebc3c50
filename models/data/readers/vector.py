"""Numbers that stand in one cell."""

from __future__ import annotations

import re

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec

BETWEEN = re.compile(r"[\s,;]+")


class Vector(Reader):
    """`size` numbers, between them spaces, commas or semicolons; brackets around them are no matter."""

    def __init__(self, *, size: Count) -> None:
        self.size = size

    def spec(self) -> InputSpec:
        """Return a vector (size,)."""
        return InputSpec("vector", (self.size,))

    def read(self, cell: Cell) -> np.ndarray:
        """Return the numbers (size,) float32."""
        words = numbers(cell) if isinstance(cell, str) else cell
        if len(words) != self.size:
            raise Unreadable(f"it holds {len(words)} numbers, not {self.size}")
        try:
            found = np.array([float(word) for word in words])
        except (TypeError, ValueError) as error:
            raise Unreadable(f"it holds more than numbers ({error})") from error
        if not (np.abs(found) <= np.finfo(np.float32).max).all():
            raise Unreadable("it holds NaN, infinity or a number beyond float32")
        return found.astype(np.float32)


def numbers(text: str) -> list[str]:
    """Return the words between the separators of a cell."""
    return [word for word in BETWEEN.split(text.strip().strip("[]()")) if word]
