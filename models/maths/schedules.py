"""Weights of a loss as functions of the epoch: e counts from 0, E epochs in all; every value lies in [0, 1].

Source: LFM (Yang et al., NeurIPS 2024), section 3.3, table 4 and section 4.4; t = e + 1 is the paper's epoch.
"""

from __future__ import annotations

import math

CUBIC = (1.5e-4, -6.5e-3, 3.2e-2, 1.0)
CUBIC_EPOCHS = 26
QUINTIC = (5.39717505e-11, -2.23835486e-8, 2.92947416e-6, -1.22989557e-4, -3.35472727e-3, 0.795376296)
QUINTIC_EPOCHS = 200


def constant(epoch: int, epochs: int, *, value: float = 0.5) -> float:
    """Return `value` in every epoch."""
    return _clip(value)


def stepwise(epoch: int, epochs: int, *, start: float = 0.95) -> float:
    """Return `start` in the first half of the epochs and 1 - start from e = E/2 on: the paper's h(start)."""
    return _clip(start if epoch < epochs / 2 else 1 - start)


def heuristic(epoch: int, epochs: int, *, scale: float = 1.0) -> float:
    """Return ω(t) = 1 - exp(-scale / t).

    The paper has scale 1, which falls below 0.05 after 20 epochs however many follow; a larger scale
    stretches the curve.
    """
    return _clip(1 - math.exp(-scale / (epoch + 1)))


def cubic(epoch: int, epochs: int) -> float:
    """Return the third-order polynomial that the paper fitted to a learned curve.

    The fit holds for about 26 epochs (it has its minimum there and rises above 1 later), so t is rescaled to
    t·26/E: E = 26 gives the printed polynomial. It exceeds 1 in the first epochs and is clipped there.
    """
    return _clip(_polynomial(CUBIC, (epoch + 1) * CUBIC_EPOCHS / epochs))


def poly5(epoch: int, epochs: int) -> float:
    """Return the fifth-order polynomial of the released code.

    It was fitted over 200 epochs, so e is rescaled to e·200/E: E = 200 gives the released values, clipped.
    """
    return _clip(_polynomial(QUINTIC, epoch * QUINTIC_EPOCHS / epochs))


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    value = 0.0
    for c in coefficients:
        value = value * x + c
    return value


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
