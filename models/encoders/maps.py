"""A small convolutional net that keeps places apart, for segmentation."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from sweeper.models.encoders.base import DIM, Encoder
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec


class Maps(Encoder):
    """A convolutional net that gives maps of an image (C, H, W); features (B, dim, h, w) ≥ 0.

    It has `layers` convolutions of 3×3, `width` channels in the first, twice as many in each that follows and
    `dim` in the last; all but the first halve the image, so h = H / 2^(layers - 1), rounded up.
    """

    takes = ("image",)
    default_for = ("image",)
    reads = ("maps",)

    def __init__(self, spec: InputSpec, *, width: Count = 16, layers: Count = 3, dim: Count = DIM) -> None:
        super().__init__(dim)
        channels = [spec.shape[0], *(width * 2**k for k in range(layers - 1)), dim]
        body = []
        for number, (a, b) in enumerate(pairwise(channels)):
            body += [nn.Conv2d(a, b, 3, stride=min(number + 1, 2), padding=1), nn.ReLU()]
        self.body = nn.Sequential(*body)

    def maps(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim, h, w)."""
        return self.body(x)
