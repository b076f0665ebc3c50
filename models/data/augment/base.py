"""The contract of augmentations, and how a batch goes through those of its modalities.

The numbers of a row depend on the run's seed, the epoch, the modality, the place of the augmentation in its list and
the row alone: they are the same whatever the order, the batches and the number of ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sweeper.models.data.statistics import Number
from sweeper.models.streams import torch_stream
from sweeper.models.values import Batch


class Augmentation(ABC):
    """Base of all augmentations: `takes` names the kinds of input, `numbers` counts the random numbers of a row."""

    takes: tuple[str, ...] = ()
    numbers: int = 1

    @abstractmethod
    def __call__(self, x: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """Return standardised inputs (B, ...) changed by u (B, numbers), uniform from 0 to 1; 0 is the mean.

        `lengths` (B,) are the steps of each row, those of its last axis where it is an image.
        """


class Augmenter:
    """The augmentations {m: in their order} of a run, drawn for all `rows` of a dataset once an epoch.

    `scale` {m: (mean, std)} is that of modalities whose batches are not standardised; they are for as long as it takes.
    """

    def __init__(
        self,
        chosen: Mapping[str, Sequence[Augmentation]],
        rows: int,
        seed: int,
        scale: Mapping[str, tuple[Number, Number]] | None = None,
    ) -> None:
        self.chosen, self.rows, self.seed, self.scale = chosen, rows, seed, scale or {}
        self.epoch = -1
        self.drawn: dict[tuple[str, int], Tensor] = {}

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """Return the batch as the run sees it in an epoch."""
        if not self.chosen:
            return batch
        self._draw(epoch)
        index, inputs = batch.index.cpu(), dict(batch.inputs)
        for m, steps in self.chosen.items():
            x = inputs[m]
            mean, std = (torch.as_tensor(n).to(x) for n in self.scale.get(m, (0.0, 1.0)))
            x = (x - mean) / std if m in self.scale else x
            for number, augmentation in enumerate(steps):
                x = augmentation(x, self.drawn[m, number][index].to(x), _lengths(x, batch.mask.get(m)))
            inputs[m] = x * std + mean if m in self.scale else x
            if m in batch.mask:  # steps that are not there stay 0
                there = batch.mask[m]
                inputs[m] = inputs[m] * there.view(*there.shape, *[1] * (inputs[m].dim() - 2))
        return replace(batch, inputs=inputs)

    def _draw(self, epoch: int) -> None:
        if epoch == self.epoch:
            return
        self.epoch = epoch
        for m, steps in self.chosen.items():
            for number, augmentation in enumerate(steps):
                generator = torch_stream(self.seed, "augment", m, number, epoch)
                self.drawn[m, number] = torch.rand(self.rows, augmentation.numbers, generator=generator)


def _lengths(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        return mask.sum(1)
    return torch.full((len(x),), x.shape[-1] if x.dim() == 4 else x.shape[1], device=x.device)
