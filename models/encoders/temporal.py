"""A convolution over time that brings sequences to a common width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.encoders.base import DIM, Encoder
from sweeper.models.encoders.sequence import sinusoids
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens


class Temporal(Encoder):
    """One convolution over `kernel` steps of a sequence (T, D), and positions, as tokens (B, T, dim).

    Source: Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL 2019, sections 3.1 and
    3.2: what its attention begins with, so it suits fusions that read tokens. Pooled, it is the tokens' mean, which is
    linear in the input.
    """

    takes = ("sequence",)
    reads = ("pooled", "tokens", "stages")

    def __init__(self, spec: InputSpec, *, dim: Count = DIM, kernel: Count = 3) -> None:
        super().__init__(dim)
        self.convolution = nn.Conv1d(spec.shape[1], dim, kernel, bias=False)
        self.around = ((kernel - 1) // 2, kernel // 2)  # zeros at either end, so that T stays
        self.register_buffer("positions", sinusoids(spec.shape[0], dim), persistent=False)

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the features of every step; steps that are not there are 0 to the convolution."""
        there = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        steps = there.unsqueeze(-1)
        z = self.convolution(functional.pad((x * steps).transpose(1, 2), self.around)).transpose(1, 2)
        return Tokens((z + self.positions[: x.shape[1]]) * steps, there)
