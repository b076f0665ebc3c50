"""What can be done to one sample: pure functions (x, level, generator, train) -> x, in a table by mode and kind.

`x` is a sample of the kind of input that `train` says, as the dataset holds it: pixels and sound before they are
standardised. It is not changed. A level of 0 or more is the strength ε, typically up to 10, but for `white`; `train`
also says how large the modality's numbers are. What a generator gives does not depend on the level, so that one
generator at two levels gives the same noise, scaled, or one mask within the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sweeper.models.data.statistics import Statistics
from sweeper.models.values import InputKind

Corruption = Callable[[np.ndarray, float, np.random.Generator, Statistics], np.ndarray]


def feature(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Add normal noise of std ε/10 of that of the feature or channel in train rows to every number, unclipped."""
    return x + level / 10 * train.moments[1] * generator.standard_normal(x.shape, np.float32)


def gaussian(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Add normal noise of std 10ε/255 of the range to an image or each frame, alike in all channels, clipped to it."""
    low, high = train.range
    noise = generator.standard_normal(_pixels(x, train), np.float32)
    return np.clip(x + 10 * level / 255 * (high - low) * np.expand_dims(noise, -3), low, high)


def white(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Add normal noise to a waveform for a signal-to-noise ratio of `level` dB, unclipped.

    The signal's power is this recording's own, about its mean: a quiet one gets weaker noise, silence none.
    """
    std = x.std(dtype=np.float64) if len(x) else 0.0
    return x + std * 10 ** (-level / 20) * generator.standard_normal(x.shape, np.float32)


def salt(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Set a share ε/100 of numbers, of pixels in an image, to the least or the greatest, half of them each."""
    low, high = train.range
    chosen, up = generator.random((2, *_pixels(x, train)))
    if train.kind in ("image", "video"):
        chosen, up = np.expand_dims(chosen, -3), np.expand_dims(up, -3)
    return np.where(chosen < level / 100, np.where(up < 0.5, high, low), x)


def words(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Take each step of a sequence or token away with probability ε/10, as QMF masks the words of a text.

    QMF's words are those between spaces; where a tokenizer divides a word, its parts go independently here.
    """
    chosen = generator.random((len(x), 1)) < level / 10
    return _without(x, chosen if x.ndim == 2 else chosen[:, 0], train)


def time(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Take one span of ε/10 of the time axis away: the first axis, of an image the last."""
    last = train.kind == "image"
    steps = x.shape[-1] if last else len(x)
    length = min(steps, round(level / 10 * steps))
    start = int(generator.random() * (steps - length + 1))
    inside = (np.arange(steps) >= start) & (np.arange(steps) < start + length)
    return _without(x, inside if last else inside.reshape(-1, *[1] * (x.ndim - 1)), train)


def blur(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Blur an image or each frame over H and W, a sequence over T, by a Gaussian, edges repeated.

    Its σ is ε/100 of the axis: at level 10 a tenth of it, which leaves a spot of a digit 32 pixels wide (σ 3.2).
    """
    from scipy.ndimage import gaussian_filter

    blurred = (0,) if train.kind == "sequence" else (x.ndim - 2, x.ndim - 1)
    sigma = [level / 100 * n if axis in blurred else 0 for axis, n in enumerate(x.shape)]
    return gaussian_filter(x, sigma, mode="nearest")


def absent(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Return what stands in a batch as 0 throughout."""
    return np.zeros_like(x) + np.asarray(train.zero, x.dtype)


def qmf_gaussian(
    x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics
) -> np.ndarray:
    """Add the noise of std 10ε that every image of this size gets; above 255 is clipped, below 0 wraps."""
    noise = np.random.RandomState(0).normal(0, 10 * level, x.shape[1:])
    return np.minimum(x + noise, 255).astype(np.int64).astype(np.uint8)


def qmf_salt(x: np.ndarray, level: float, generator: np.random.Generator, train: Statistics) -> np.ndarray:
    """Set a tenth of pixels, drawn anew for each image, half of it to 0, half to 255, at any level.

    Density and fresh draws are the release's; its generator is not, so which pixels are struck is ours.
    """
    chosen = generator.random(x.shape[1:])
    return np.where(chosen < 0.05, 0, np.where(chosen < 0.1, 255, x)).astype(np.uint8)


def _pixels(x: np.ndarray, train: Statistics) -> tuple[int, ...]:
    """Return the shape of a sample without its channels."""
    return (*x.shape[:-3], *x.shape[-2:]) if train.kind in ("image", "video") else x.shape


def _without(x: np.ndarray, chosen: np.ndarray, train: Statistics) -> np.ndarray:
    """Return `x` with the mean where `chosen`, or with the token for a word that is gone where a word is."""
    if train.kind == "tokens":
        return np.where(chosen & ~np.isin(x, train.special), train.blank, x)
    return np.where(chosen, train.moments[0], x)


_NUMBERS: tuple[InputKind, ...] = ("vector", "sequence", "image", "video", "audio")
_PICTURES: tuple[InputKind, ...] = ("image", "video")
_WORDS: dict[InputKind, Corruption] = {
    "tokens": words
}  # QMF's pairs: images of σ 5 or 10 with p 0.5 or 1 of words
# {mode: {kind: {kind of input that it fits: function}}}
CORRUPTIONS: dict[str, dict[str, dict[InputKind, Corruption]]] = {
    "clean": {
        "gaussian": dict.fromkeys(_NUMBERS, feature) | dict.fromkeys(_PICTURES, gaussian) | _WORDS,
        "white": {"audio": white},
        "salt": dict.fromkeys(_NUMBERS, salt) | _WORDS,
        "words": dict.fromkeys(("sequence", "tokens"), words),
        "time": dict.fromkeys(("sequence", "tokens", "audio", *_PICTURES), time),
        "blur": dict.fromkeys(("sequence", *_PICTURES), blur),
        "feature": dict.fromkeys(_NUMBERS, feature),
        "dropout": dict.fromkeys((*_NUMBERS, "tokens"), absent),
    },
    "qmf": {"gaussian": {"image": qmf_gaussian}, "salt": {"image": qmf_salt}},
}
# those whose level says how often, ε/10 of the samples that were hit
FREQUENCIES = {("clean", "dropout"), ("qmf", "salt")}
