"""Augmentations of images and videos, whose frames are all changed alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.models.data.augment.base import Augmentation
from sweeper.models.schema.ranges import Count, NonNegative, Share


class Crop(Augmentation):
    """Shift by up to `padding` pixels each way, filled up with the mean: a crop of the padded image."""

    takes = ("image", "video")
    numbers = 2

    def __init__(self, *, padding: Count = 4) -> None:
        self.padding = padding

    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return the crops, as large as before."""
        p = self.padding
        padded = functional.pad(x.flatten(1, -3), (p, p, p, p))  # (B, channels of all frames, H + 2p, W + 2p)
        down, right = (u * (2 * p + 1)).long().clamp_max(2 * p).unbind(1)
        row = torch.arange(len(x), device=x.device)[:, None, None]
        y = down[:, None] + torch.arange(x.shape[-2], device=x.device)
        across = right[:, None] + torch.arange(x.shape[-1], device=x.device)
        found = padded[row, :, y[:, :, None], across[:, None, :]]  # (B, H, W, channels)
        return found.movedim(-1, 1).reshape(x.shape)


class Flip(Augmentation):
    """Exchange left and right in a share `probability` of rows."""

    takes = ("image", "video")

    def __init__(self, *, probability: Share = 0.5) -> None:
        self.probability = probability

    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return the inputs, some of them mirrored."""
        turned = (u[:, 0] < self.probability).view(-1, *[1] * (x.dim() - 1))
        return torch.where(turned, x.flip(-1), x)


class Colour(Augmentation):
    """Make brighter or darker by up to `brightness` std, and contrasts stronger or weaker by a share `contrast`."""

    takes = ("image", "video")
    numbers = 2

    def __init__(self, *, brightness: NonNegative = 0.2, contrast: Share = 0.2) -> None:
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return x c + b."""
        signed = (2 * u - 1).view(len(x), 2, *[1] * (x.dim() - 1))
        return x * (1 + self.contrast * signed[:, 0]) + self.brightness * signed[:, 1]
