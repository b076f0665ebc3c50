"""The values that pass between dataset, net, method and trainer.

Shapes: B batch, C classes, D features, M modalities, T time. This module imports no torch at run time, so
that whoever only plans a study stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VOID = -1  # the class of a pixel without label


INPUT_KINDS = ("vector", "sequence", "image")


@dataclass(frozen=True)
class InputSpec:
    """Shape of one sample of one modality: (D,) vector, (T, D) sequence or (C, H, W) image."""

    shape: tuple[int, ...]

    @property
    def kind(self) -> Literal["vector", "sequence", "image"]:
        """The kind of input, read off the number of axes."""
        return INPUT_KINDS[len(self.shape) - 1]


@dataclass(frozen=True)
class DataSpec:
    """What a dataset is: its modalities by name, its task, its classes, the rows of each split, its citation.

    `n_classes` counts classes or labels, 1 in regression; `size` is the (H, W) of a target in segmentation.
    """

    name: str
    modalities: dict[str, InputSpec]
    n_classes: int
    sizes: dict[str, int]
    cite: str
    task: str = "classification"
    size: tuple[int, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Rows of a split: inputs {m: (B, ...)}, target (B, ...), index (B,) in the dataset, present {m: (B,) bool}.

    The target is a class or a number (B,), labels (B, L) or the pixels' classes (B, H, W).
    A modality that no row lacks has no entry in `present`. `condition` names the corruption the rows are under.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    index: Tensor
    present: dict[str, Tensor] = field(default_factory=dict)
    condition: str = "clean"

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Output:
    """What a forward pass gives: features {m: (B, D_m)}, fused (B, C), unimodal {m: (B, C)} read out on demand.

    In segmentation features are maps (B, D_m, h, w) and logits (B, C, H, W). `extra` is what a method says of
    each row, (B, …) by name.
    """

    features: dict[str, Tensor]
    fused: Tensor
    read_out: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    extra: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def unimodal(self) -> dict[str, Tensor]:
        """Logits (B, C) of every modality alone, computed once when first asked for."""
        return self.read_out(self.features)


@dataclass(frozen=True)
class Objective:
    """One thing to minimise with one optimiser step: a loss, or named losses whose sum is minimised."""

    loss: Tensor | dict[str, Tensor]
    output: Output
    batch: Batch

    @property
    def losses(self) -> dict[str, Tensor]:
        """The losses by name; a single one is called `loss`."""
        return self.loss if isinstance(self.loss, dict) else {"loss": self.loss}

    @property
    def total(self) -> Tensor:
        """The scalar that backward starts from."""
        return sum(self.loss.values()) if isinstance(self.loss, dict) else self.loss

    def scaled(self, share: float) -> Objective:
        """Return the same objective with every loss times `share`: this rank's part of the global batch."""
        scaled = {name: loss * share for name, loss in self.losses.items()}
        return Objective(scaled, self.output, self.batch)


@dataclass(frozen=True)
class Phase:
    """A stage of training: its epochs, which parameters train (name prefixes; none named: all), what it keeps."""

    name: str
    epochs: int
    train: tuple[str, ...] = ()
    keep: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class Context:
    """What a hook may see: where training stands, training rows in file order, and named randomness.

    There is no optimiser and no test data in it. `epoch` counts from 0 within the phase and `epochs` is the
    phase's length; `step` counts optimiser steps' batches over the whole run. `train` and `held_out` iterate
    over batches in file order, clean or under a condition that is named; `held_out` are the training rows that
    the method set aside (`held_out` on the class) and never trains on.
    """

    phase: Phase
    epoch: int
    epochs: int
    step: int
    train: Callable[..., Iterator[Batch]]
    held_out: Callable[..., Iterator[Batch]]
    log: Callable[[str, float], None]
    generator: Callable[..., torch.Generator]
    lr: float


Metrics = Mapping[str, float]
Options = Mapping[str, Any]
