"""Linear models of the inputs themselves: the floor that nets are to reach."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models import parallel
from sweeper.models.errors import UserError, choose
from sweeper.models.maths import linear
from sweeper.models.maths.presence import per_row, present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import TIMED, VOID, Batch, Context, InputSpec, Output, Phase

FITS = {
    "classification": linear.softmax_regression,
    "segmentation": linear.softmax_regression,
    "multilabel": linear.label_regressions,
    "regression": linear.ridge_regression,
}
PIXELS = 100_000  # the most that are fitted to in segmentation


class Linear(Method):
    """Logistic or ridge regression on all modalities' flattened inputs, or on those of one `modality`.

    Tokens are counted (a bag of words), rows shorter than the longest are filled up with zeros, every number is
    standardised over the training rows that have it, and 0 where a row lacks its modality. In segmentation the inputs
    of a pixel are the channels of all modalities at its place, pictures enlarged to the target's size and videos
    averaged over frames; 100,000 pixels, drawn at random, are fitted to at most. `penalty` is that on squared weights.
    It is fitted to convergence, in no epochs; but for the drawn pixels the seed counts for nothing. Read-out
    W_m x_m + b/M.

    Plain `linear` in a study is an arm on all modalities and one on each; tables name the arms that do not reach
    theirs. Source: softmax and ridge regression as scikit-learn has them, the usual control. Raises UserError in
    segmentation for a modality that is no picture.
    """

    tasks = ("classification", "multilabel", "regression", "segmentation")
    fuses = False
    encodes = False
    trains = False
    floor = True

    def __init__(self, net: Net, task: Task, *, penalty: Positive = 1.0, modality: str | None = None) -> None:
        super().__init__(net, task)
        if modality is not None:
            choose("modality", modality, net.spec.modalities, "method 'linear'")
        self.penalty = penalty
        self.read = {m: spec for m, spec in net.spec.modalities.items() if modality in (None, m)}
        if task.size and (unfit := [m for m, s in self.read.items() if s.kind not in ("image", "video")]):
            raise UserError(
                f"method 'linear': modality {unfit[0]!r} is of kind {self.read[unfit[0]].kind}; admissible in"
                " segmentation: image, video"
            )
        self.widths = {m: _width(spec, task) for m, spec in self.read.items()}
        self.head = nn.Linear(sum(self.widths.values()), task.n_outputs)
        self.register_buffer("mean", torch.zeros(self.head.in_features))
        self.register_buffer("std", torch.ones(self.head.in_features))

    def phases(self, epochs: int) -> list[Phase]:
        """Return a phase without epochs, at whose end the model is fitted."""
        return [Phase("fit", 0, keep="last")]

    def forward(self, batch: Batch) -> Output:
        """Return the logits of all modalities as fused, and the part of each as read-out; there are no features."""
        x, there = self._inputs(batch)
        x = torch.where(there, (x - self.mean) / self.std, 0.0)
        sizes, share = list(self.widths.values()), self.head.bias / len(self.widths)
        parts = zip(self.read, x.split(sizes, -1), self.head.weight.split(sizes, 1), strict=True)
        logits = {m: (own @ w.T + share).movedim(-1, 1) for m, own, w in parts}
        return Output({}, sum(logits.values()), lambda _: logits)

    @torch.no_grad()
    def on_phase_end(self, ctx: Context) -> None:
        """Fit the model to all training rows; every rank has them all."""
        x, there, y = (np.concatenate(parts) for parts in zip(*self._samples(ctx), strict=True))
        if self.task.size and len(y) > PIXELS:
            drawn = torch.randperm(len(y), generator=ctx.generator("pixels"))[:PIXELS].numpy()
            x, there, y = x[drawn], there[drawn], y[drawn]
        count = there.sum(0).clip(1)
        mean = np.where(there, x, 0.0).sum(0) / count
        std = np.sqrt(np.square(np.where(there, x - mean, 0.0)).sum(0) / count)
        std[std < 1e-6] = 1.0
        x = np.where(there, (x - mean) / std, 0.0)
        weight, bias = FITS[self.net.spec.task](x, y, self.task.n_outputs, self.penalty)
        found = {self.head.weight: weight, self.head.bias: bias, self.mean: mean, self.std: std}
        for own, value in found.items():
            own.copy_(parallel.mean(torch.as_tensor(value), 1))

    def _samples(self, ctx: Context) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield inputs (N, D), whether they are there (N, D), and targets (N, …) of training rows or their pixels."""
        for batch in ctx.train():
            x, there = self._inputs(batch)
            y = batch.target
            if self.task.size:
                labelled = y != VOID
                x, there, y = x[labelled], there[labelled], y[labelled]
            yield x.double().cpu().numpy(), there.cpu().numpy(), y.cpu().numpy()

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the inputs side by side, (B, D) or (B, H, W, D), and which of them a row has."""
        found, there = [self._flat(m, batch) for m in self.read], present_in(batch, self.read)
        own = [per_row(row, x).bool().expand_as(x) for row, x in zip(there, found, strict=True)]
        return torch.cat(found, -1), torch.cat(own, -1)

    def _flat(self, modality: str, batch: Batch) -> Tensor:
        """Return a modality's inputs as (B, D_m), or as those of each pixel (B, H, W, D_m)."""
        x, spec, mask = batch.inputs[modality], self.read[modality], batch.mask.get(modality)
        if self.task.size:
            if spec.kind == "video":
                steps = x.shape[1] if mask is None else mask.sum(1).clamp_min(1).view(-1, 1, 1, 1)
                x = x.sum(1) / steps
            return functional.interpolate(x, self.task.size, mode="bilinear").movedim(1, -1)
        if spec.kind == "tokens":
            counts = self.mean.new_zeros(len(x), spec.vocabulary)
            there = torch.ones_like(x) if mask is None else mask
            return counts.scatter_add_(1, x, there.to(counts.dtype))
        if spec.kind in TIMED and x.shape[1] < spec.shape[0]:
            lacking = [0, 0] * (x.dim() - 2) + [0, spec.shape[0] - x.shape[1]]
            x = functional.pad(x, lacking)
        return x.flatten(1)


def _width(spec: InputSpec, task: Task) -> int:
    """Return how many numbers a modality gives a row, or a pixel."""
    if task.size:
        return spec.shape[-3]
    return spec.vocabulary or prod(spec.shape)
