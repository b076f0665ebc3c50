"""A small convolutional net for images and videos."""

from __future__ import annotations

from itertools import pairwise
from math import gcd, prod
from typing import Literal

from torch import nn

from sweeper.models.encoders.base import DIM, ImageEncoder
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec


class Convnet(ImageEncoder):
    """A convolutional net made for images of 8×8 and up; features (B, dim) ≥ 0.

    It has `layers` convolutions of 3×3, `width` channels in the first and twice as many in each that follows;
    all but the first halve the image. The last map is averaged over a grid of at most `pool` × `pool` cells (1:
    over the whole map, which forgets where in a spectrogram a sound is), a linear layer with ReLU follows. No
    batch norm unless asked for: unless it is synchronised, its statistics are over a rank's own rows.
    """

    default_for = ("image", "video")

    def __init__(
        self,
        spec: InputSpec,
        *,
        width: Count = 16,
        layers: Count = 3,
        dim: Count = DIM,
        pool: Count = 4,
        norm: Literal["none", "batch", "group"] = "none",
    ) -> None:
        super().__init__(dim)
        height_width = spec.shape[-2:]
        channels = [spec.shape[-3]] + [width * 2**k for k in range(layers)]
        norms = {
            "none": lambda n: [],
            "batch": lambda n: [nn.BatchNorm2d(n)],
            "group": lambda n: [nn.GroupNorm(gcd(8, n), n)],
        }
        self.begin, self.blocks = nn.Identity(), nn.ModuleDict()
        for number, (a, b) in enumerate(pairwise(channels), start=1):
            convolution = nn.Conv2d(a, b, 3, stride=min(number, 2), padding=1)
            self.blocks[f"conv{number}"] = nn.Sequential(convolution, *norms[norm](b), nn.ReLU())
        self.stages = dict(zip(self.blocks, channels[1:], strict=True))
        cells = [min(pool, -(-n // 2 ** (layers - 1))) for n in height_width]
        self.end = nn.Sequential(
            nn.AdaptiveAvgPool2d(cells), nn.Flatten(), nn.Linear(channels[-1] * prod(cells), dim), nn.ReLU()
        )
