"""Features that are there already: what is left of an encoder that never trains."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.encoders.base import Encoder
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec, Tokens


class Features(Encoder):
    """Features (D,), or steps of them (T, D), as they are or mapped to `dim` by a learned linear layer without bias.

    `pooling` makes one of the steps: their mean, or `attention`, a mean weighted by the softmax of a learned score of
    each step; for features without steps it counts for nothing.
    """

    takes = ("vector", "sequence")
    reads = ("pooled", "tokens", "stages")

    def __init__(
        self, spec: InputSpec, *, pooling: Literal["mean", "attention"] = "mean", dim: Count | None = None
    ) -> None:
        width = spec.shape[-1]
        super().__init__(dim or width)
        weighs = pooling == "attention" and spec.kind == "sequence"
        self.score = nn.Linear(width, 1, bias=False) if weighs else None
        self.project = nn.Linear(width, dim, bias=False) if dim else nn.Identity()

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim) of features (B, D) or steps (B, T, D)."""
        if x.dim() == 2:
            return self.project(x)
        steps = Tokens(x, there(x, mask))
        return self.project(steps.pooled if self.score is None else self._weighed(steps))

    def tokens(self, x: Tensor, mask: Tensor | None = None) -> Tokens:
        """Return every step's features; features without steps are one."""
        x = x.unsqueeze(1) if x.dim() == 2 else x
        mask = there(x, mask)
        return Tokens(self.project(x) * mask.unsqueeze(-1), mask)

    def _weighed(self, steps: Tokens) -> Tensor:
        score = self.score(steps.values).squeeze(-1).masked_fill(~steps.mask, -torch.inf)
        return (score.softmax(1).unsqueeze(-1) * steps.values).sum(1)


def there(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return which steps of inputs (B, T, …) are there, (B, T): all, unless a mask says otherwise."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
