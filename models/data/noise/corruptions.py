"""What can be done to one sample: pure functions (x, level, generator, train) -> x, in a table by mode and kind.

`x` is a vector (D,), a sequence (T, D) or an image (C, H, W), and is not changed; a level of 0 or more is the
strength ε, typically up to 10; `train` says how large the modality's numbers are. What a generator gives does not
depend on the level, so that one generator at two levels gives the same noise, scaled, or one mask within the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweeper.models.data.dataset import blocks, mean_std


@dataclass(frozen=True, eq=False)
class Statistics:
    """Range, mean and std of all numbers in `array[rows]`, a modality's train rows, read when first asked for.

    `zero` is the number that a batch holds as 0.
    """

    array: np.ndarray
    rows: np.ndarray
    zero: float = 0.0

    @cached_property
    def range(self) -> tuple[float, float]:
        """Least and greatest number, (0, 0) without rows."""
        ends = [(float(block.min()), float(block.max())) for block in blocks(self.array, self.rows)]
        return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)

    @cached_property
    def moments(self) -> tuple[float, float]:
        """Mean and std."""
        return mean_std(self.array, self.rows)


Corruption = Callable[[np.ndarray, float, np.random.Generator, Statistics], np.ndarray]


def feature(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Add normal noise of std ε/10 of the train rows' std to every number, unclipped."""
    return x + level / 10 * train.moments[1] * generator.standard_normal(x.shape, np.float32)


def gaussian(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Add normal noise of std 10ε/255 of the range to an image, one map for all channels, clipped to the range."""
    low, high = train.range
    noise = generator.standard_normal(x.shape[1:], np.float32)
    return np.clip(x + 10 * level / 255 * (high - low) * noise, low, high)


def salt(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Set a share ε/100 of numbers, of pixels in an image, to the least or the greatest, half of them each."""
    low, high = train.range
    shape = x.shape[1:] if x.ndim == 3 else x.shape
    chosen, up = generator.random((2, *shape))
    return np.where(chosen < level / 100, np.where(up < 0.5, high, low), x)


def words(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Set each time step of a sequence to the mean with probability ε/10, as QMF masks the words of a text."""
    return np.where(generator.random((len(x), 1)) < level / 10, train.moments[0], x)


def time(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Set one span of ε/10 of the time axis to the mean: a sequence's first axis, an image's last."""
    steps = x.shape[-1] if x.ndim == 3 else len(x)
    length = min(steps, round(level / 10 * steps))
    start = int(generator.random() * (steps - length + 1))
    inside = (np.arange(steps) >= start) & (np.arange(steps) < start + length)
    return np.where(inside if x.ndim == 3 else inside[:, None], train.moments[0], x)


def blur(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Blur an image over H and W, a sequence over T, by a Gaussian whose σ is ε/100 of the axis, edges repeated.

    At level 10, σ is a tenth of the axis: of a digit 32 pixels wide (σ 3.2) a spot remains.
    """
    from scipy.ndimage import gaussian_filter

    sigma = [level / 100 * n for n in x.shape]
    still = 0 if x.ndim == 3 else 1  # channels and features are not neighbours
    sigma[still] = 0
    return gaussian_filter(x, sigma, mode="nearest")


def absent(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Return what stands in a batch as 0 throughout."""
    return np.full_like(x, train.zero)


def qmf_gaussian(
    x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics
) -> np.ndarray:
    """Add the noise of std 10ε that every image of this size gets; above 255 is clipped, below 0 wraps."""
    noise = np.random.RandomState(0).normal(0, 10 * level, x.shape[1:])
    return np.minimum(x + noise, 255).astype(np.int64).astype(np.uint8)


def qmf_salt(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Set the same tenth of pixels in every image of this size, half of it to 0, half to 255, at any level.

    The density is the release's; which pixels it strikes, and that they are the same ones, is not known of it.
    """
    chosen = np.random.RandomState(0).random_sample(x.shape[1:])
    return np.where(chosen < 0.05, 0, np.where(chosen < 0.1, 255, x)).astype(np.uint8)


INPUTS = ("vector", "sequence", "image")
# {mode: {kind: {kind of input that it fits: function}}}
CORRUPTIONS: dict[str, dict[str, dict[str, Corruption]]] = {
    "clean": {
        "gaussian": {"vector": feature, "sequence": feature, "image": gaussian},
        "salt": dict.fromkeys(INPUTS, salt),
        "words": {"sequence": words},
        "time": {"sequence": time, "image": time},
        "blur": {"sequence": blur, "image": blur},
        "feature": dict.fromkeys(INPUTS, feature),
        "dropout": dict.fromkeys(INPUTS, absent),
    },
    "qmf": {"gaussian": {"image": qmf_gaussian}, "salt": {"image": qmf_salt}},
}
# those whose level says how often, ε/10 of the samples that were hit
FREQUENCIES = {("clean", "dropout"), ("qmf", "salt")}
