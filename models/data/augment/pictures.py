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


class ResizedCrop(Augmentation):
    """Cut out a part of `least` to all of the area, 3:4 to 4:3 in shape, and enlarge it to the whole (bilinear).

    The `RandomResizedCrop` of the audio-visual papers: log-uniform in shape, uniform in area and place. Deviations: a
    part that would reach over an edge is cut off there, not drawn anew; frames of a video share one part, where the
    papers draw one for each frame.
    """

    takes = ("image", "video")
    numbers = 4

    def __init__(self, *, least: Share = 0.08) -> None:
        self.least = least

    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return the parts, as large as the whole."""
        height, width = x.shape[-2:]
        size = ((self.least + (1 - self.least) * u[:, 0]) * height * width).sqrt()
        stretch = (4 / 3) ** (u[:, 1] - 0.5)  # √ of width : height
        rows, columns = (size / stretch).clamp_max(height), (size * stretch).clamp_max(width)
        down = _places(height, rows, u[:, 2])
        right = _places(width, columns, u[:, 3])
        grid = torch.stack(torch.broadcast_tensors(right[:, None, :], down[:, :, None]), -1)
        frames = x.flatten(1, -3)  # all frames' channels
        return functional.grid_sample(frames, grid, padding_mode="border", align_corners=False).reshape(
            x.shape
        )


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


def _places(whole: int, part: Tensor, u: Tensor) -> Tensor:
    """Return where each of `whole` pixels of an axis is taken from, (B, whole) from -1 to 1, by a `part` (B,) of it."""
    start = u * (whole - part)
    centre = (torch.arange(whole, device=u.device) + 0.5) / whole
    return 2 * (start.unsqueeze(1) + centre * part.unsqueeze(1)) / whole - 1
