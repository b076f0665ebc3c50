"""Statistics over the rows of all ranks: running means, and batch norm of rows that may be absent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sweeper.models import parallel


class RunningMean(nn.Module):
    """A mean over the training rows of all ranks; earlier batches fade by `momentum` a step."""

    def __init__(self, *shape: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("total", torch.zeros(shape))
        self.register_buffer("rows", torch.zeros(shape))

    def update(self, values: Tensor, counted: Tensor) -> None:
        """Add this rank's `values` (B, …) where `counted`, which is broadcast to them."""
        values = values.to(self.total)
        counted = counted.to(values).expand_as(values)
        total, rows = parallel.total(torch.stack([(values * counted).sum(0), counted.sum(0)]))
        self.total.mul_(self.momentum).add_(total)
        self.rows.mul_(self.momentum).add_(rows)

    @property
    def mean(self) -> Tensor:
        """The mean, 0 where no row has counted yet."""
        return self.total / torch.where(self.rows > 0, self.rows, 1)


class BatchNorm(nn.Module):
    """Batch norm of (B, d), its statistics over the rows of all ranks that are present.

    As torch's in all else. With fewer than two such rows it uses the running statistics and leaves them.
    """

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return x normalised, scaled and shifted, in the precision of the statistics."""
        x = x.to(self.mean.dtype)
        mean, variance = self._statistics(x, present) if self.training else (self.mean, self.variance)
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    def _statistics(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        every, counted = parallel.gather(x), parallel.gather(present.to(x.dtype)).unsqueeze(-1)
        rows = counted.sum()
        mean = (every * counted).sum(0) / rows.clamp_min(1)
        squares = ((every - mean).square() * counted).sum(0)
        variance = squares / rows.clamp_min(1)
        enough = rows >= 2
        used = torch.where(enough, mean, self.mean), torch.where(enough, variance, self.variance)
        with torch.no_grad():
            rate = self.momentum * enough.to(x.dtype)
            self.mean.lerp_(mean, rate)
            self.variance.lerp_(squares / (rows - 1).clamp_min(1), rate)
        return used
