"""`synthetic`: Gaussian classes, one centre per class and modality; needs no file and takes a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from models.data.dataset import SPLITS, Dataset, assemble
from models.errors import UserError
from models.streams import numpy_stream

STEPS = 4


def load(
    *,
    root: Path | None = None,
    modalities: int = 2,
    n_classes: int = 4,
    train: int = 256,
    validation: int = 128,
    test: int = 128,
    dim: int = 8,
    signal: list[float] | float = 1.0,
    noise: list[float] | float = 1.0,
    kind: Literal["vector", "sequence", "image"] = "vector",
    data_seed: int = 0,
    missing: float = 0.0,
) -> Dataset:
    """Return modalities m0, m1, … whose sample is its class's centre plus white Gaussian noise, float32.

    A sample is a vector (dim,), a sequence (4, dim) or an image (1, dim, dim). `signal` is the mean distance
    between the centres of two classes, `noise` the std of each number, one for all modalities or one each;
    with two classes a modality alone allows accuracy Φ(signal / (2 noise)) at best, whatever its size. Each
    row lacks each modality with probability `missing` (its numbers are then 0); a row that would lack all
    gets one back. Classes come in turn. A longer split begins with the rows of the shorter one and changes no
    other split. Raises UserError for counts below one and numbers out of range.
    """
    sizes = dict(zip(SPLITS, (train, validation, test), strict=True))
    for option, value in {"modalities": modalities, "dim": dim, **sizes}.items():
        _demand(value >= 1, option, value, "whole numbers from 1")
    _demand(n_classes >= 2, "n_classes", n_classes, "whole numbers from 2")
    _demand(0 <= missing < 1, "missing", missing, "numbers from 0 to below 1")
    distances, stds = _each("signal", signal, modalities), _each("noise", noise, modalities)
    shape = {"vector": (dim,), "sequence": (STEPS, dim), "image": (1, dim, dim)}[kind]
    starts = np.cumsum([0, *sizes.values()])
    rows = {s: np.arange(a, b) for s, a, b in zip(SPLITS, starts, starts[1:], strict=False)}
    target = np.concatenate([np.arange(n) % n_classes for n in sizes.values()])
    present = _present(modalities, sizes, missing, data_seed)
    inputs = {}
    for m, distance, std in zip(present, distances, stds, strict=True):
        streams = {s: numpy_stream(data_seed, "synthetic", s, m) for s in ("centres", *sizes)}
        centres = _centres(n_classes, int(np.prod(shape)), distance, streams["centres"])
        white = [streams[s].normal(size=(n, centres.shape[1])) for s, n in sizes.items()]
        x = (centres[target] + std * np.concatenate(white)) * present[m][:, None]
        inputs[m] = x.astype(np.float32).reshape(-1, *shape)
    cite = "synthetic Gaussian classes"
    return assemble("synthetic", inputs, target, rows, n_classes=n_classes, cite=cite, present=present)


def modalities(*, root: Path | None = None, modalities: int = 2, **_: object) -> list[str]:
    """Return m0, m1, …"""
    return [f"m{i}" for i in range(modalities)]


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
