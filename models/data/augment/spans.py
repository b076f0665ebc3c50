"""Augmentations that take a span away, as SpecAugment does (Park et al., Interspeech 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models.data.augment.base import Augmentation
from sweeper.models.schema.ranges import Share


class TimeMask(Augmentation):
    """Set a span of up to a share `share` of the time axis to the mean: the steps, of a spectrogram the last axis."""

    takes = ("sequence", "image", "video", "audio")
    numbers = 2

    def __init__(self, *, share: Share = 0.2) -> None:
        self.share = share

    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return the inputs with a span of each at 0."""
        last = x.dim() == 4
        inside = _span(x.shape[-1] if last else x.shape[1], lengths, self.share, u)
        ones, (rows, n) = [1] * (x.dim() - 2), inside.shape
        shape = (rows, *ones, n) if last else (rows, n, *ones)
        return x.masked_fill(inside.view(shape), 0.0)


class FrequencyMask(Augmentation):
    """Set a span of up to a share `share` of a spectrogram's frequencies, its last axis but one, to the mean."""

    takes = ("image",)
    numbers = 2

    def __init__(self, *, share: Share = 0.2) -> None:
        self.share = share

    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return the inputs with a span of each at 0."""
        n = x.shape[-2]
        inside = _span(n, torch.full_like(lengths, n), self.share, u)
        return x.masked_fill(inside.view(len(x), 1, n, 1), 0.0)


def _span(n: int, lengths: Tensor, share: float, u: Tensor) -> Tensor:
    """Return where a span lies in an axis of n places, (B, n) bool, of which each row has the first `lengths` (B,)."""
    size = (u[:, 0] * share * lengths).round()
    start = (u[:, 1] * (lengths - size + 1)).floor()
    place = torch.arange(n, device=u.device)
    return (place >= start.unsqueeze(1)) & (place < (start + size).unsqueeze(1))
