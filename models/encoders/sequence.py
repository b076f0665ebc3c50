"""Recurrent and attention encoders of sequences and tokens."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.encoders.base import DIM, Encoder
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens


class Sequence(Encoder):
    """A recurrent or attention encoder of sequences (T, D) or tokens (T,), averaged over time; features (B, dim).

    `gru`: `layers` stacked GRUs (Cho et al., EMNLP 2014). `transformer`: a linear map to `dim`, sinusoidal
    positions and `layers` encoder blocks with `heads` heads (Vaswani et al., NeurIPS 2017). Tokens are embedded
    in `dim` dimensions first. Deviations: layer norm stands before each sub-layer and once at the end, so that
    training needs no warm-up; no dropout. Raises UserError if `heads` does not divide `dim`.
    """

    takes = ("sequence", "tokens")
    default_for = ("sequence", "tokens")
    reads = ("pooled", "tokens", "stages")

    def __init__(
        self,
        spec: InputSpec,
        *,
        kind: Literal["gru", "transformer"] = "gru",
        dim: Count = DIM,
        layers: Count = 1,
        heads: Count = 4,
    ) -> None:
        super().__init__(dim)
        if kind == "transformer" and dim % heads:
            raise UserError(
                f"encoder 'sequence': dim {dim} with {heads} heads; dim must be a multiple of heads"
            )
        width = dim if spec.kind == "tokens" else spec.shape[1]
        self.embed = nn.Embedding(spec.vocabulary, dim) if spec.kind == "tokens" else nn.Identity()
        if kind == "gru":
            self.body = _Gru(width, dim, layers)
        else:
            self.body = _Transformer(spec.shape[0], width, dim, layers, heads)

    def layers(self) -> list[nn.Module]:
        """Return the embedding, and the blocks of a transformer by themselves."""
        inner = (
            [self.body]
            if isinstance(self.body, _Gru)
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


class _Gru(nn.Module):
    def __init__(self, n_inputs: int, dim: int, layers: int) -> None:
        super().__init__()
        self.body = nn.GRU(n_inputs, dim, layers, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, T, D) -> (B, T, dim)
        return self.body(x)[0]  # what stands behind a row's end cannot reach its steps


class _Transformer(nn.Module):
    def __init__(self, length: int, n_inputs: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.project = nn.Linear(n_inputs, dim)
        self.norm = nn.LayerNorm(dim)
        time, channel = torch.arange(length).unsqueeze(1), torch.arange(dim)
        angle = time / 10000 ** (2 * (channel // 2) / dim)
        positions = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # (B, T, D) -> (B, T, dim)
        z = self.project(x) + self.positions[: x.shape[1]]
        for block in self.blocks:
            z = block(z, src_key_padding_mask=None if mask is None else ~mask)
        return self.norm(z)
