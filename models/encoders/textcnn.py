"""Convolutions over words, for tokens without pre-trained vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sweeper.models.encoders.base import Encoder
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec

WINDOWS = (3, 4, 5)  # words


class Textcnn(Encoder):
    """A text CNN of tokens (T,); features (B, 3·width) ≥ 0.

    Tokens are embedded in `embedding` dimensions, learned from random ones. `width` filters see every 3, `width` every
    4 and `width` every 5 words that stand together, each followed by ReLU and its maximum over time. Source: Kim,
    Convolutional Neural Networks for Sentence Classification, EMNLP 2014 (CNN-rand), whose width is 100. Windows reach
    over both ends of a text, where they see zeros, so that a single word has features, too. Deviation: no dropout.
    """

    takes = ("tokens",)

    def __init__(self, spec: InputSpec, *, width: Count = 100, embedding: Count = 128) -> None:
        super().__init__(len(WINDOWS) * width)
        self.embed = nn.Embedding(spec.vocabulary, embedding)
        self.filters = nn.ModuleList(nn.Conv1d(embedding, width, n, padding=n - 1) for n in WINDOWS)

    def layers(self) -> list[nn.Module]:
        """Return the embedding, and the filters of all windows as one."""
        return [self.embed, self.filters]

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return each filter's maximum over the windows that hold a word."""
        there = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        words = (self.embed(x) * there.unsqueeze(-1)).transpose(1, 2)
        found = []
        for n, convolution in zip(WINDOWS, self.filters, strict=True):
            z = convolution(words).relu()
            last = (
                there.sum(1, keepdim=True) + n - 1
            )  # windows behind it hold none; 0 is no maximum over the others
            found.append((z * (torch.arange(z.shape[-1], device=x.device) < last).unsqueeze(1)).amax(-1))
        return torch.cat(found, 1)
