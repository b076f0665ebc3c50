"""Metrics as pure functions of predictions, targets and features (NumPy arrays), and which way is better.

Shapes: N rows, C classes, D features. Importing this module loads neither torch nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import numpy as np

from models.errors import choose

DIRECTIONS: dict[str, Literal["max", "min"]] = {
    "accuracy": "max",
    "macro_f1": "max",
    "weighted_f1": "max",
    "map": "max",
    "loss": "min",
    "gap": "min",
    # A diagnostic more than an aim: LFM (figure 2) reads a larger distance as the better representation.
    "modality_distance": "max",
}


def direction(name: str) -> Literal["max", "min"]:
    """Return which way metric `name` is better; it may carry a modality after a slash, as in `accuracy/left`.

    Raises UserError for an unknown metric.
    """
    return DIRECTIONS[choose("metric", name.partition("/")[0], DIRECTIONS)]


def accuracy(probabilities: np.ndarray, target: np.ndarray) -> float:
    """Return the share of rows whose most probable class, of (N, C), is the target (N,)."""
    return float((probabilities.argmax(1) == target).mean())


def classification(probabilities: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return accuracy, macro_f1, weighted_f1 and map of probabilities (N, C) against the target (N,).

    F1 is averaged over the classes present or predicted, plainly or by their rows; a class that is only one
    of the two has 0. MAP is the plain mean, over the classes present, of the average precision of one class
    against the rest, without interpolation. Source: the metrics of LFM section 4.1.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support

    predicted = probabilities.argmax(1)
    _, _, f1, rows = precision_recall_fscore_support(target, predicted, average=None, zero_division=0.0)
    classes = np.unique(target)
    return {
        "accuracy": accuracy(probabilities, target),
        "macro_f1": float(f1.mean()),
        "weighted_f1": float(np.average(f1, weights=rows)),
        "map": float(average_precision_score(target[:, None] == classes, probabilities[:, classes])),
    }


def gap(unimodal: Mapping[str, float]) -> float:
    """Return the best minus the worst modality's value of one metric; 0 for a single modality.

    Source: the difference of two modalities in the tables of LFM; greatest minus least extends it to more.
    """
    return max(unimodal.values()) - min(unimodal.values())


def modality_distance(features: Mapping[str, np.ndarray]) -> float | None:
    """Return how far apart the modalities' features {m: (N, D_m)} lie on the unit sphere, from 0 to 2.

    For a pair it is ‖mean_i u_i - mean_i v_i‖ of the unit-normalised rows u and v (Liang et al., Mind the
    Gap, NeurIPS 2022); pairs of equal width are averaged, None is returned where there is none. A row of
    zeros, such as that of an absent modality, has no direction and is left out.
    """
    centres = [_centre(z) for z in features.values()]
    distances = [np.linalg.norm(a - b) for a, b in combinations(centres, 2) if a.shape == b.shape]
    return float(np.mean(distances)) if distances else None


def _centre(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    units = np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)
    return units.sum(0) / max(np.count_nonzero(norms), 1)
