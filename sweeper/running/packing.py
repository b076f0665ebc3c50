"""How large a part of a GPU a run gets: what the first run of its configuration was measured to use."""

from __future__ import annotations

import math

STEPS, SPARE = 20, 1.2  # parts are multiples of a twentieth, and a fifth more than was measured


def part(most: float, used_mb: float, gpu_mb: float) -> float:
    """Return the part of a GPU to reserve, at most `most`, given the peak of a like run and what a GPU has, in MB."""
    if not 0 < most <= 1 or not used_mb or not gpu_mb:
        return most
    return min(most, max(1, math.ceil(STEPS * SPARE * used_mb / gpu_mb)) / STEPS)
