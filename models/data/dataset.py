"""A dataset, in memory or memory-mapped: inputs by modality, target, disjoint splits, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sweeper.models.data.files import blocks
from sweeper.models.data.splits import SPLITS, check_splits
from sweeper.models.data.statistics import Number, Per, Statistics
from sweeper.models.data.targets import checked
from sweeper.models.errors import UserError
from sweeper.models.values import AXES, TIMED, DataSpec, InputKind, InputSpec


@dataclass(frozen=True)
class Dataset:
    """Inputs {m: (N, ...)}, target (N, ...), rows by split, present {m: (N,) bool} where a modality may lack.

    `scale` holds {m: (mean, std)}, numbers or one for each feature: a batch is float32 (x - mean) / std, so that
    compact integer arrays stay compact. `lengths` {m: (N,)} are the steps of each row where rows differ; what stands
    behind them counts for nothing. Arrays may be memory-mapped. `unscaled` are the modalities whose encoder is given
    their own numbers, `encodings` those of modalities that nets read as features, as encoded.py tells.
    """

    spec: DataSpec
    inputs: dict[str, np.ndarray]
    target: np.ndarray
    rows: dict[str, np.ndarray]
    present: dict[str, np.ndarray] = field(default_factory=dict)
    scale: dict[str, tuple[Number, Number]] = field(default_factory=dict)
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    unscaled: frozenset[str] = frozenset()
    encodings: dict[str, Encoding] = field(default_factory=dict)

    @cached_property
    def statistics(self) -> dict[str, Statistics]:
        """What is known of each modality's train rows that have it."""
        train, found = self.rows["train"], {}
        for m, spec in self.spec.modalities.items():
            rows = train[self.present[m][train]] if m in self.present else train
            zero = 0.0 if m in self.unscaled else self.scale.get(m, (0.0, 1.0))[0]
            lengths = self.lengths.get(m)
            found[m] = Statistics(self.inputs[m], rows, spec.kind, lengths, zero, spec.blank, spec.special)
        return found

    @property
    def bytes(self) -> int:
        """What its arrays take in memory, or would if they were read."""
        arrays = (*self.inputs.values(), self.target, *self.present.values(), *self.lengths.values())
        return sum(int(array.nbytes) for array in arrays)


@dataclass(frozen=True)
class Encoding:
    """A modality's features: their `spec`, and how to have them, for rows (n,) of the dataset under a condition.

    `features(dataset, rows, hit, draw)` are values (n, …) and, where they have steps, the number (n,) of each row's.
    The rows marked in `hit` (n,) are those whose inputs are not the clean ones; `draw` names what hit them, "" nothing.
    """

    spec: InputSpec
    features: Callable[[Dataset, np.ndarray, np.ndarray, str], tuple[np.ndarray, np.ndarray | None]]


def assemble(
    name: str,
    inputs: Mapping[str, np.ndarray],
    target: np.ndarray,
    rows: Mapping[str, np.ndarray],
    kinds: Mapping[str, InputKind],
    *,
    cite: str,
    task: str = "classification",
    n_classes: int | None = None,
    present: Mapping[str, np.ndarray] | None = None,
    lengths: Mapping[str, np.ndarray] | None = None,
) -> Dataset:
    """Check the arrays against each other and return them as a Dataset; C is the labels' unless given.

    Raises UserError for unequal lengths, types or shapes that are not of the kind, NaN or infinite inputs, a target
    that `task` does not take (targets.py), overlapping or empty splits, a row without any modality.
    """
    target, lengths = np.asarray(target), {m: np.asarray(n) for m, n in (lengths or {}).items()}
    for modality, array in inputs.items():
        check_input(name, modality, array, kinds[modality], len(target))
    check_lengths(name, lengths, inputs, kinds, len(target))
    check_splits(name, rows, len(target))
    target, n_classes, size = checked(name, task, target, rows["train"], n_classes)
    spec = DataSpec(
        name=name,
        modalities={m: input_spec(kinds[m], a) for m, a in inputs.items()},
        n_classes=n_classes,
        sizes={split: len(rows[split]) for split in SPLITS},
        cite=cite,
        task=task,
        size=size,
        rows=len(target),
    )
    for modality, own in spec.modalities.items():
        if task == "segmentation" and own.kind != "image":
            raise UserError(
                f"dataset {name!r}: modality {modality!r} is of kind {own.kind}, a sample {AXES[own.kind]};"
                " segmentation needs an image (C, H, W) of every modality"
            )
    present = check_present(name, dict(present or {}), spec, len(target))
    steps = {m: n.astype(np.int64) for m, n in lengths.items()}
    return Dataset(spec, dict(inputs), target, dict(rows), present, lengths=steps)


def standardized(dataset: Dataset, per: Per = "feature") -> Dataset:
    """Return `dataset` with each modality's scale set to mean and std of the train rows that have it.

    Of each feature of a vector or sequence and each channel of an image by itself, or of a modality's numbers
    together. Tokens have no scale.
    """
    kinds = {m: spec.kind for m, spec in dataset.spec.modalities.items()}
    known = {m: s for m, s in dataset.statistics.items() if kinds[m] != "tokens"}
    return replace(dataset, scale={m: statistics.mean_std(per) for m, statistics in known.items()})


def input_spec(kind: InputKind, array: np.ndarray) -> InputSpec:
    """Return what an array (N, ...) of samples of a kind is to a net."""
    shape = tuple(int(n) for n in array.shape[1:])
    if kind != "tokens":
        return InputSpec(kind, shape)
    vocabulary = 1 + max((int(block.max()) for _, block in blocks(array, np.arange(len(array)))), default=0)
    return InputSpec(kind, shape, "int64", vocabulary)


def check_input(name: str, modality: str, array: np.ndarray, kind: InputKind, n: int) -> None:
    """Raise UserError unless `array` (N, ...) is a named modality of `n` samples of a kind."""
    where = f"dataset {name!r}: modality {modality!r}"
    if not modality.isidentifier():
        raise UserError(
            f"{where} has no usable name; letters, digits and underscores are admissible, a letter first"
        )
    wanted = "iu" if kind == "tokens" else "biuf"
    if array.dtype.kind not in wanted or array.dtype.itemsize > 8 or not array.dtype.isnative:
        what = "whole numbers from 0" if kind == "tokens" else "plain numbers, like uint8 or float32,"
        raise UserError(f"{where} has type {array.dtype.str}; {what} are needed")
    axes = AXES[kind].count(",") + (not AXES[kind].endswith(",)"))
    if array.ndim != 1 + axes or 0 in array.shape[1:]:
        raise UserError(f"{where} has shape {array.shape}; a sample of kind {kind} must be {AXES[kind]}")
    if len(array) != n:
        raise UserError(
            f"{where} has {len(array)} rows but the target has {n}; every array needs one row per sample"
        )
    for rows, block in blocks(array, np.arange(n)) if array.dtype.kind == "f" or kind == "tokens" else ():
        usable = block >= 0 if kind == "tokens" else np.abs(block) <= np.finfo(np.float32).max
        whole = usable.reshape(len(block), -1).all(1)
        if not whole.all():
            what = "a negative number" if kind == "tokens" else "NaN, infinity or a number beyond float32"
            raise UserError(f"{where} holds {what} in row {int(rows[np.argmin(whole)])}; clean it first")


def check_lengths(
    name: str,
    lengths: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    kinds: Mapping[str, InputKind],
    n: int,
) -> None:
    """Raise UserError unless lengths {m: (N,)} are whole numbers of steps that the inputs have."""
    for modality, own in lengths.items():
        where = f"dataset {name!r}: the length of {modality!r}"
        if kinds[modality] not in TIMED:
            raise UserError(
                f"{where} is given, but it is of kind {kinds[modality]}; admissible: {', '.join(sorted(TIMED))}"
            )
        if own.dtype.kind not in "iu" or own.shape != (n,):
            raise UserError(
                f"{where} has type {own.dtype} and shape {own.shape}; one whole number per sample is needed"
            )
        most = inputs[modality].shape[1]
        if own.min() < 0 or own.max() > most:
            raise UserError(f"{where} reaches from {own.min()} to {own.max()}; 0 to {most} are admissible")


def check_present(name: str, present: dict[str, np.ndarray], spec: DataSpec, n: int) -> dict[str, np.ndarray]:
    """Return `present` {m: (N,) bool} without modalities that no row lacks; raise UserError if unusable."""
    for modality, mask in present.items():
        if mask.dtype != bool or mask.shape != (n,):
            raise UserError(
                f"dataset {name!r}: presence of {modality!r} has type {mask.dtype} and shape {mask.shape};"
                f" true or false for each of the {n} samples is needed"
            )
    kept = {m: np.asarray(mask) for m, mask in present.items() if not mask.all()}
    if len(kept) == len(spec.modalities):
        lacking = ~np.any(list(kept.values()), axis=0)
        if lacking.any():
            raise UserError(
                f"dataset {name!r}: row {int(np.argmax(lacking))} lacks every modality; leave it out"
            )
    return kept
