"""`synthetic`: Gaussian noise around what the target says, in every modality; needs no file and takes a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data.dataset import Dataset, assemble
from sweeper.models.data.splits import SPLITS
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, Share, ShareBelow1
from sweeper.models.streams import numpy_stream
from sweeper.models.values import TIMED, InputKind, InputSpec

STEPS, SAMPLES = 4, 64


def load(
    *,
    root: Path | None = None,
    task: Literal["classification", "multilabel", "regression", "segmentation"] = "classification",
    modalities: Count = 2,
    n_classes: Count = 4,
    train: Count = 256,
    validation: Count = 128,
    test: Count = 128,
    dim: Count = 8,
    signal: list[float] | float = 1.0,
    noise: list[float] | float = 1.0,
    kind: list[InputKind] | InputKind = "vector",
    data_seed: int = 0,
    missing: ShareBelow1 = 0.0,
    shorter: Share = 0.0,
) -> Dataset:
    """Return modalities m0, m1, … whose sample is its class's centre plus white Gaussian noise, float32.

    A sample is, by its `kind`, a vector (dim,), a sequence (4, dim), an image (1, dim, dim), a video (4, 1, dim, dim)
    or audio (64 dim,); or 4 dim tokens of dim different ones, drawn with odds e^x of such a vector's x. `signal` is
    the mean distance between the centres of two classes, `noise` the std of each number; all three are one for all
    modalities or one each. With two classes a modality alone allows accuracy Φ(signal / (2 noise)) at best, whatever
    its size. Each row lacks each modality with probability `missing` (its numbers are then 0); a row that would lack
    all gets one back. What has steps is cut short in each row by up to a share `shorter` of them. Classes come in
    turn. A longer split begins with the rows of the shorter one and changes no other split.

    Another `task` puts something else in the centre's place. Multilabel: the sum of the centres of a row's
    labels, each of which it has or not by chance. Regression: a point between two centres, the target going from
    -3 at the one to 3 at the other. Segmentation, of kind image: a disc of one class on a ground of class 0, a
    pixel being its class's grey; greys are evenly spaced, in an order of each modality's own.

    Raises UserError for fewer than two classes, negative signals or noise, and as many of them as modalities or one.
    """
    sizes = dict(zip(SPLITS, (train, validation, test), strict=True))
    _demand(n_classes >= 2, "n_classes", n_classes, "whole numbers from 2")
    distances, stds = _each("signal", signal, modalities), _each("noise", noise, modalities)
    specs = inputs(modalities=modalities, kind=kind, dim=dim)
    starts = np.cumsum([0, *sizes.values()])
    rows = {s: np.arange(a, b) for s, a, b in zip(SPLITS, starts, starts[1:], strict=False)}
    images = all(spec.kind == "image" for spec in specs.values())
    _demand(images or task != "segmentation", "kind", kind, "image, for segmentation")
    target = np.concatenate([_target(task, s, n, n_classes, dim, data_seed) for s, n in sizes.items()])
    present = _present(modalities, sizes, missing, data_seed)
    found: dict[str, np.ndarray] = {}
    lengths: dict[str, np.ndarray] = {}
    for (m, spec), distance, std in zip(specs.items(), distances, stds, strict=True):
        streams = {s: numpy_stream(data_seed, "synthetic", s, m) for s in ("centres", *sizes)}
        size = dim if spec.kind == "tokens" else int(np.prod(spec.shape))
        clean = _clean(task, target, n_classes, size, distance, streams["centres"])
        white = [streams[s].normal(size=(n, clean.shape[1])) for s, n in sizes.items()]
        x = (clean + std * np.concatenate(white)) * present[m][:, None]
        if spec.kind == "tokens":
            draws = {s: numpy_stream(data_seed, "synthetic", s, m, "tokens") for s in sizes}
            own = [_tokens(x[rows[s]], spec.shape[0], rng) for s, rng in draws.items()]
            found[m] = np.concatenate(own) * present[m][:, None]
        else:
            found[m] = x.astype(np.float32).reshape(-1, *spec.shape)
        if shorter and spec.kind in TIMED:
            draws = {s: numpy_stream(data_seed, "synthetic", s, m, "length") for s in sizes}
            lengths[m] = _lengths(spec.shape[0], shorter, [draws[s].random(n) for s, n in sizes.items()])
    kinds = {m: spec.kind for m, spec in specs.items()}
    given = {"task": task, "n_classes": n_classes, "cite": "synthetic Gaussian noise"}
    return assemble("synthetic", found, target, rows, kinds, present=present, lengths=lengths, **given)


def _lengths(steps: int, shorter: float, shares: list[np.ndarray]) -> np.ndarray:
    """Return the length of each row (N,): of `steps` up to the share `shorter` is cut off, but one is left."""
    cut = (np.concatenate(shares) * shorter * steps).round().astype(int)
    return np.maximum(steps - cut, 1)


def inputs(
    *,
    root: Path | None = None,
    modalities: int = 2,
    kind: list[InputKind] | InputKind = "vector",
    dim: int = 8,
    **_: object,
) -> dict[str, InputSpec]:
    """Return m0, m1, …"""
    kinds = kind if isinstance(kind, list) else [kind] * modalities
    _demand(len(kinds) == modalities, "kind", kind, f"one kind, or a list of {modalities} of them")
    shapes = {
        "vector": (dim,),
        "sequence": (STEPS, dim),
        "image": (1, dim, dim),
        "video": (STEPS, 1, dim, dim),
        "tokens": (STEPS * dim,),
        "audio": (SAMPLES * dim,),
    }
    return {f"m{i}": InputSpec(own, shapes[own]) for i, own in enumerate(kinds)}


def task(*, root: Path | None = None, task: str = "classification", **_: object) -> str:
    """Return the task."""
    return task


def files(*, root: Path | None = None, **_: object) -> list[Path]:
    """Return no file: the options decide everything."""
    return []


def _demand(ok: bool, option: str, value: object, admissible: str) -> None:
    if not ok:
        raise UserError(f"dataset 'synthetic': {option} is {value}; admissible: {admissible}")


def _each(option: str, value: list[float] | float, modalities: int) -> list[float]:
    """Return one non-negative number per modality."""
    values = value if isinstance(value, list) else [value] * modalities
    fits = len(values) == modalities and min(values) >= 0
    _demand(fits, option, value, f"a number from 0, or a list of {modalities} of them")
    return values


def _target(task: str, split: str, n: int, n_classes: int, dim: int, seed: int) -> np.ndarray:
    """Return the target (n, …) of a split."""
    rng = numpy_stream(seed, "synthetic", split, "target")
    in_turn = np.arange(n)
    if task == "multilabel":
        return (rng.random((n, n_classes)) < 0.5).astype(int)
    if task == "regression":
        return 6 * rng.random(n) - 3
    if task == "segmentation":
        y, x, radius = (v[:, None, None] for v in rng.random((n, 3)).T * [[dim], [dim], [dim / 4]])
        pixel = np.arange(dim) + 0.5
        inside = (pixel[:, None] - y) ** 2 + (pixel - x) ** 2 <= (dim / 4 + radius) ** 2
        return inside * (1 + in_turn % (n_classes - 1))[:, None, None]
    return in_turn % n_classes


def _clean(
    task: str, target: np.ndarray, n_classes: int, size: int, distance: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the samples (N, size) of one modality before noise."""
    if task == "segmentation":
        gaps = np.arange(1, n_classes)
        mean_gap = (gaps * gaps[::-1]).sum() / gaps.sum()
        greys = rng.permutation(n_classes) * (distance / mean_gap)
        return greys[target].reshape(-1, size)
    if task == "regression":
        low, high = _centres(2, size, distance, rng)
        return low + (target[:, None] + 3) / 6 * (high - low)
    centres = _centres(n_classes, size, distance, rng)
    return target @ centres if task == "multilabel" else centres[target]


def _tokens(scores: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Return tokens (n, steps), each drawn with odds e^x of the row's scores x (n, vocabulary)."""
    gumbel = -np.log(-np.log(rng.random((len(scores), steps, scores.shape[1]))))
    return (scores[:, None] + gumbel).argmax(-1)


def _centres(n_classes: int, size: int, distance: float, rng: np.random.Generator) -> np.ndarray:
    """Return random centres (C, size) whose distances have the mean `distance`."""
    centres = rng.normal(size=(n_classes, size))
    gaps = [np.linalg.norm(a - centres[:i], axis=1) for i, a in enumerate(centres)]
    return centres * (distance / np.concatenate(gaps).mean())


def _present(modalities: int, sizes: dict[str, int], missing: float, seed: int) -> dict[str, np.ndarray]:
    """Return {m: (N,) bool}, at least one modality true in each row."""
    parts = []
    for split, n in sizes.items():
        rng = numpy_stream(seed, "synthetic", split, "present")
        score = rng.random((n, modalities))
        parts.append((score >= missing) | (score == score.max(1, keepdims=True)))
    return {f"m{i}": column for i, column in enumerate(np.concatenate(parts).T)}
