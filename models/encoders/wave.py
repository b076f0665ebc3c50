"""Convolutions over time for sound as it was recorded."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.encoders.base import DIM, Encoder
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens

STRIDE = 4


class Wave(Encoder):
    """A convolutional net of waveforms (T,); tokens of 4^layers samples, averaged over time; features (B, dim) ≥ 0.

    It has `layers` convolutions over 8 samples in steps of 4, `width` channels in the first, twice as many in each
    that follows and `dim` in the last, each followed by layer norm over the channels of a step and ReLU. Source: the
    strided front of raw-audio nets such as wav2vec (Schneider et al., Interspeech 2019), much smaller. Raises
    UserError for waveforms shorter than 4^layers samples.
    """

    takes = ("audio",)
    default_for = ("audio",)
    reads = ("pooled", "tokens", "stages")

    def __init__(self, spec: InputSpec, *, width: Count = 16, layers: Count = 4, dim: Count = DIM) -> None:
        super().__init__(dim)
        if spec.shape[0] < STRIDE**layers:
            raise UserError(
                f"encoder 'wave': {layers} layers need {STRIDE**layers} samples, the longest waveform has"
                f" {spec.shape[0]}; fewer layers are admissible"
            )
        channels = [1, *(width * 2**k for k in range(layers - 1)), dim]
        convolutions = [
            nn.Conv1d(a, b, 2 * STRIDE, stride=STRIDE, padding=STRIDE // 2) for a, b in pairwise(channels)
        ]
        self.blocks = nn.ModuleList(nn.ModuleList([c, nn.LayerNorm(c.out_channels)]) for c in convolutions)

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the features of every 4^layers samples; of a row that is shorter, those of one step."""
        there = torch.ones(x.shape, dtype=torch.bool, device=x.device) if mask is None else mask
        lengths, short = there.sum(-1), max(0, STRIDE ** len(self.blocks) - x.shape[1])
        z = functional.pad(x, (0, short)).unsqueeze(1)
        for convolution, norm in self.blocks:
            z = norm(convolution(z).transpose(1, 2)).relu().transpose(1, 2)
            lengths = torch.where(lengths > 0, (lengths // STRIDE).clamp_min(1), 0)
            there = torch.arange(z.shape[-1], device=z.device) < lengths.unsqueeze(-1)
            z = z * there.unsqueeze(1)  # what lies behind the end is silence to the next layer, too
        return Tokens(z.transpose(1, 2), there)
