"""The values that pass between dataset, net, method and trainer.

Shapes: B batch, C classes, D features, M modalities, T time. This module imports no torch at run time, so
that whoever only plans a study stays light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VOID = -1  # the class of a pixel without label

InputKind = Literal["vector", "sequence", "image", "video", "tokens", "audio"]
# the axes of a sample of each kind
AXES: dict[InputKind, str] = {
    "vector": "(D,)",
    "sequence": "(T, D)",
    "image": "(C, H, W)",
    "video": "(T, C, H, W)",
    "tokens": "(T,)",
    "audio": "(T,)",
}
# what a sample is taken for by the number of its axes, where nobody says
BY_AXES: dict[int, InputKind] = {1: "vector", 2: "sequence", 3: "image", 4: "video"}
TIMED = frozenset({"sequence", "video", "tokens", "audio"})  # T comes first, and may differ between rows


@dataclass(frozen=True)
class InputSpec:
    """A modality's samples: their kind, the shape of the longest, the type that batches hold them in.

    `vocabulary` counts the different tokens, 0 for other kinds. `blank` is the token that stands where noise took a
    word away; `special` are those that stand for no word, such as where a text begins, which noise leaves alone.
    """

    kind: InputKind
    shape: tuple[int, ...]
    dtype: Literal["float32", "int64"] = "float32"
    vocabulary: int = 0
    blank: int = 0
    special: tuple[int, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """What a dataset is: its modalities by name, its task, its classes, the rows of each split, its citation.

    `n_classes` counts classes or labels, 1 in regression; `classes` are their names, where the dataset has some; `size`
    is the (H, W) of a target in segmentation. `rows` counts all rows, those of no split included: every `Batch.index`
    is below it.
    """

    name: str
    modalities: dict[str, InputSpec]
    n_classes: int
    sizes: dict[str, int]
    cite: str
    task: str = "classification"
    size: tuple[int, ...] = ()
    rows: int = 0
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Rows of a split: inputs {m: (B, ...)}, target (B, ...), index (B,) in the dataset, present {m: (B,) bool}.

    The target is a class or a number (B,), labels (B, L) or the pixels' classes (B, H, W). A modality that no row
    lacks has no entry in `present`. `mask` {m: (B, T) bool} says which steps are there, for modalities whose rows
    differ in length; the others are 0, and T is that of the longest row. `weight` (B,) is what each row counts in
    the loss, None: all alike. `condition` names the corruption the rows are under.
    """

    inputs: dict[str, Tensor]
    target: Tensor
    index: Tensor
    present: dict[str, Tensor] = field(default_factory=dict)
    condition: str = "clean"
    mask: dict[str, Tensor] = field(default_factory=dict)
    weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def split(self, sizes: list[int]) -> list[Batch]:
        """Return the rows in batches of these sizes, which sum to its own."""
        found = []
        for own in self.index.new_tensor(range(len(self))).split(sizes):

            def chosen(values: Mapping[str, Tensor], own: Tensor = own) -> dict[str, Tensor]:
                return {m: value.index_select(0, own) for m, value in values.items()}

            found.append(
                replace(
                    self,
                    inputs=chosen(self.inputs),
                    target=self.target.index_select(0, own),
                    index=self.index.index_select(0, own),
                    present=chosen(self.present),
                    mask=chosen(self.mask),
                    weight=None if self.weight is None else self.weight.index_select(0, own),
                )
            )
        return found


@dataclass(frozen=True)
class Tokens:
    """A modality's features kept apart in time: values (B, T, D), 0 where `mask` (B, T) bool says nothing is."""

    values: Tensor
    mask: Tensor

    @property
    def pooled(self) -> Tensor:
        """The mean over the steps that are there, (B, D); 0 where none is."""
        return self.values.sum(1) / self.mask.sum(1, keepdim=True).clamp_min(1)


@dataclass(frozen=True)
class Output:
    """What a forward pass gives: features by modality, fused (B, C), unimodal {m: (B, C)} read out on demand.

    Features are what the fusion reads: pooled (B, D_m), Tokens, or maps (B, D_m, h, w). In segmentation logits are
    (B, C, H, W). `extra` is what a method says of each row, (B, …) by name.
    """

    features: dict[str, Tensor | Tokens]
    fused: Tensor
    read_out: Callable[[dict[str, Any]], dict[str, Tensor]]
    extra: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def unimodal(self) -> dict[str, Tensor]:
        """Logits (B, C) of every modality alone, computed once when first asked for."""
        return self.read_out(self.features)

    @property
    def pooled(self) -> dict[str, Tensor]:
        """Every modality's features as (B, D_m): tokens averaged over time, maps over positions."""
        return {m: pooled(z) for m, z in self.features.items()}


def pooled(features: Tensor | Tokens) -> Tensor:
    """Return features (B, D) of pooled ones, Tokens or maps (B, D, …)."""
    if isinstance(features, Tokens):
        return features.pooled
    return features.flatten(2).mean(-1) if features.dim() > 2 else features


@dataclass(frozen=True)
class Objective:
    """One thing to minimise with one optimiser step: a loss, or named losses whose sum is minimised.

    `train` names the parameters that the step may change, by the beginnings of their names; none named: all.
    """

    loss: Tensor | dict[str, Tensor]
    output: Output
    batch: Batch
    train: tuple[str, ...] = ()

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
        return replace(self, loss={name: loss * share for name, loss in self.losses.items()})


@dataclass(frozen=True)
class Phase:
    """A stage of training: its epochs, which parameters train (name prefixes; none named: all), what it keeps.

    `keep`: the weights of the epoch that is best by `metric` on validation (None: the study's), of the last, or none:
    then all is put back as the phase found it but what the method's own buffers and frozen copies remember, as for a
    probe. `lr` takes the place of the run's learning rate. `optimizer` kept goes on with the momentum of the last phase
    that was no probe.
    """

    name: str
    epochs: int
    train: tuple[str, ...] = ()
    keep: Literal["best", "last", "none"] = "best"
    metric: str | None = None
    lr: float | None = None
    optimizer: Literal["fresh", "kept"] = "fresh"


@dataclass(frozen=True)
class EpochRows:
    """The rows that an epoch trains on, in order: index (n,) in the dataset; rows may repeat or be left out.

    `weight` (n,) is what each counts in the loss, None: all alike; `present` {m: (n,) bool} takes modalities away.
    """

    index: Tensor
    weight: Tensor | None = None
    present: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a hook may see: where training stands, training rows in file order, and named randomness.

    There is no optimiser and no test data in it. `epoch` counts from 0 within the phase and `epochs` is the
    phase's length; `step` counts optimiser steps' batches over the whole run. `train` and `held_out` iterate
    over batches in file order, clean or under a condition that is named; `held_out` are the training rows that
    the method set aside (`held_out` on the class) and never trains on. `rows` gives training rows, whoever holds
    them, by their `Batch.index`.
    """

    phase: Phase
    epoch: int
    epochs: int
    step: int
    train: Callable[..., Iterator[Batch]]
    held_out: Callable[..., Iterator[Batch]]
    rows: Callable[[Tensor], Batch]
    log: Callable[[str, float], None]
    generator: Callable[..., torch.Generator]
    lr: float


Metrics = Mapping[str, float]
Options = Mapping[str, Any]
