"""Recurrent and attention encoders of sequences and tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

from sweeper.models.encoders.base import DIM, Encoder
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens


class Sequence(Encoder):
    """A recurrent or attention encoder of sequences (T, D) or tokens (T,), averaged over time; features (B, dim).

    `gru`, `lstm`: `layers` stacked GRUs (Cho et al., EMNLP 2014) or LSTMs (Hochreiter & Schmidhuber, 1997);
    `bidirectional` ones read a row from both ends, with half of `dim` each. `transformer`: a linear map to `dim`,
    sinusoidal positions and `layers` encoder blocks with `heads` heads (Vaswani et al., NeurIPS 2017). Tokens are
    embedded in `dim` dimensions first. Deviations: layer norm stands before each sub-layer and once at the end, so
    that training needs no warm-up; no dropout. Raises UserError if `heads`, or the two directions, do not divide `dim`.
    """

    takes = ("sequence", "tokens")
    default_for = ("sequence", "tokens")
    reads = ("pooled", "tokens", "stages")

    def __init__(
        self,
        spec: InputSpec,
        *,
        kind: Literal["gru", "lstm", "transformer"] = "gru",
        dim: Count = DIM,
        layers: Count = 1,
        heads: Count = 4,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(dim)
        if kind == "transformer" and dim % heads:
            raise UserError(
                f"encoder 'sequence': dim {dim} with {heads} heads; dim must be a multiple of heads"
            )
        if kind != "transformer" and bidirectional and dim % 2:
            raise UserError(f"encoder 'sequence': dim {dim} of two directions; dim must be even")
        width = dim if spec.kind == "tokens" else spec.shape[1]
        self.embed = nn.Embedding(spec.vocabulary, dim) if spec.kind == "tokens" else nn.Identity()
        if kind == "transformer":
            self.body = _Transformer(spec.shape[0], width, dim, layers, heads)
        else:
            self.body = _Recurrent(nn.GRU if kind == "gru" else nn.LSTM, width, dim, layers, bidirectional)

    def layers(self) -> list[nn.Module]:
        """Return the embedding, and the blocks of a transformer by themselves."""
        inner = (
            [self.body]
            if isinstance(self.body, _Recurrent)
            else [self.body.project, *self.body.blocks, self.body.norm]
        )
        return [layer for layer in (self.embed, *inner) if any(True for _ in layer.parameters())]

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean over time."""
        return self.body(self.embed(x), None).mean(1) if mask is None else self.tokens(x, mask).pooled

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return the features of every step."""
        z = self.body(self.embed(x), mask)
        if mask is None:
            return Tokens(z, torch.ones(z.shape[:2], dtype=torch.bool, device=z.device))
        return Tokens(z * mask.unsqueeze(-1), mask)


def sinusoids(length: int, dim: int) -> Tensor:
    """Return positions (length, dim) as sines and cosines (Vaswani et al., NeurIPS 2017, section 3.5)."""
    time, channel = torch.arange(length).unsqueeze(1), torch.arange(dim)
    angle = time / 10000 ** (2 * (channel // 2) / dim)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


class _Recurrent(nn.Module):
    def __init__(
        self, kind: type[nn.RNNBase], n_inputs: int, dim: int, layers: int, bidirectional: bool
    ) -> None:
        super().__init__()
        size = dim // 2 if bidirectional else dim
        self.body = kind(n_inputs, size, layers, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, T, D) -> (B, T, dim)
        if mask is None or not self.body.bidirectional:
            return self.body(x)[0]  # read forwards, what stands behind a row's end cannot reach its steps
        lengths = mask.sum(1).clamp_min(1).cpu()
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return rnn.pad_packed_sequence(self.body(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class _Transformer(nn.Module):
    def __init__(self, length: int, n_inputs: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.project = nn.Linear(n_inputs, dim)
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("positions", sinusoids(length, dim), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, T, D) -> (B, T, dim)
        z = self.project(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            z = block(z, src_key_padding_mask=None if mask is None else ~mask)
        return self.norm(z)
