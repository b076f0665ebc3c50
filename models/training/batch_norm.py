"""Batch norm whose statistics are over the rows of all ranks; torch has one for GPUs alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from sweeper.models import parallel
from sweeper.models.errors import UserError


def synchronise(module: nn.Module) -> None:
    """Give every batch norm within `module` the statistics of all ranks; its parameters and buffers are as they were.

    Each rank's loss depends on such a layer, or none's does. Raises UserError for a batch norm that is not torch's.
    """
    for layer in module.modules():
        if type(layer) in SYNCHRONISED:
            layer.__class__ = SYNCHRONISED[type(layer)]  # as torch's lazy layers become others
        elif isinstance(layer, _BatchNorm) and not isinstance(layer, _Synchronised):
            known = ", ".join(kind.__name__ for kind in SYNCHRONISED)
            raise UserError(
                f"train.batch_norm is 'synchronised', but the net has a {type(layer).__name__}; admissible: {known}"
            )


class _Synchronised(_BatchNorm):
    """A batch norm that is torch's own on one rank and in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised values of x (B, C, ...)."""
        if parallel.world() == 1 or not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        with torch.no_grad():
            mean, variance, rows = _moments(x)
            if self.track_running_stats:
                self.num_batches_tracked.add_(1)
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * rows / (rows - 1).clamp_min(1), share)
        return _Normalised.apply(x, self.weight, self.bias, mean, variance, rows, self.eps)


class BatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """Batch norm of (B, C) or (B, C, T)."""


class BatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """Batch norm of (B, C, H, W)."""


class BatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """Batch norm of (B, C, T, H, W)."""


SYNCHRONISED = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each channel's mean and variance (C,) over all ranks, and of how many values they are, in one message.

    A rank may have no values. Those of half precision are summed in single.
    """
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    count = x.numel() // x.shape[1]
    own = torch.var_mean(x, _all_but_channels(x), correction=0) if count else x.new_zeros(2, x.shape[1])
    every = parallel.stacked(torch.cat([*own, x.new_tensor([count])]))
    variances, means, counts = every.split([x.shape[1], x.shape[1], 1], 1)
    rows = counts.sum()
    mean = (counts * means).sum(0) / rows
    return mean, (counts * (variances + (means - mean).square())).sum(0) / rows, rows


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        rows: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, rows)
        ctx.eps = eps
        return batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by x, and this rank's part of those by weight and bias."""
        x, weight, mean, variance, rows = ctx.saved_tensors
        grad, dims = grad.to(mean.dtype), _all_but_channels(x)
        normal = batch_norm(x.to(mean.dtype), mean, variance, eps=ctx.eps)
        own = torch.stack([grad.sum(dims), (grad * normal).sum(dims)])
        shape = [1, -1] + [1] * (x.dim() - 2)
        along_one, along_normal = (s.view(shape) for s in parallel.total(own) / rows)
        scale = (variance + ctx.eps).rsqrt() * (1 if weight is None else weight)
        by_x = (grad - along_one - along_normal * normal) * scale.view(shape)
        by_weight, by_bias = (g if ctx.needs_input_grad[i] else None for i, g in ((1, own[1]), (2, own[0])))
        return by_x.to(x.dtype), by_weight, by_bias, None, None, None, None


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]
