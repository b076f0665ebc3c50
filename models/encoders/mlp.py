"""A multi-layer perceptron for inputs of fixed size."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.encoders.base import DIM, Encoder
from sweeper.models.schema.ranges import Count, Whole
from sweeper.models.values import InputSpec


class Mlp(Encoder):
    """A perceptron with ReLU on the flattened input; features (B, dim) ≥ 0.

    `layers` counts the hidden ones and may be 0. Sequences are filled up with zeros to the longest row's length.
    """

    takes = ("vector", "sequence", "image")
    default_for = ("vector",)

    def __init__(self, spec: InputSpec, *, hidden: Count = 64, layers: Whole = 1, dim: Count = DIM) -> None:
        super().__init__(dim)
        self.length = spec.shape[0] if spec.kind == "sequence" else None
        widths = [prod(spec.shape)] + [hidden] * layers + [dim]
        body = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(nn.Flatten(), *body)

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim)."""
        if self.length is not None and x.shape[1] < self.length:
            x = functional.pad(x, (0, 0, 0, self.length - x.shape[1]))
        return self.body(x)
