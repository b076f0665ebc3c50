"""Maps decoded into a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.fusions.base import Fusion
from sweeper.models.schema.ranges import Count


class Decoder(Fusion):
    """Logits of every pixel from maps: concatenated at the finest one's size, mixed, read out, enlarged.

    A convolution of 3×3 to `hidden` channels with ReLU, one of 1×1 to the logits; both enlargements are
    bilinear. Read-out: the other modalities' maps zeroed. Source: the usual light decoder of encoder-decoder
    segmentation, such as Xie et al., SegFormer, NeurIPS 2021, with modalities in place of scales.
    """

    tasks = ("segmentation",)
    reads = "maps"

    def __init__(
        self, dims: Mapping[str, int], n_outputs: int, *, size: tuple[int, int], hidden: Count = 32
    ) -> None:
        super().__init__(dims, n_outputs)
        self.size = size
        self.mix = nn.Conv2d(sum(dims.values()), hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, n_outputs, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C, H, W)."""
        finest = max((z.shape[-2:] for z in features.values()), key=prod)
        maps = torch.cat([_enlarged(features[m], finest) for m in self.dims], dim=1)
        return _enlarged(self.head(self.mix(maps).relu()), self.size)


def _enlarged(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear")
