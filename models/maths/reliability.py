"""How far weights and uncertainties can be relied on: pure functions of NumPy arrays, no torch.

Shapes: N rows, M modalities, C classes. `correct` (…,) is h, whether a prediction is right; `uncertain` (…,)
is larger where a prediction is less to be trusted.

Source: two-stage dynamic fusion (Ge and Chen, INFORMS Journal on Computing, 10.1287/ijoc.2023.0448),
appendix F.4 (oracles, correlation) and F.8 (subjective rejection), unless a function says otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweeper.models.maths.metrics import pearson


class Kept(NamedTuple):
    """What rejection leaves: the share of rows kept, the error among them (NaN if none), and which they are (N,)."""

    coverage: float
    error: float
    rows: np.ndarray


def oracles(correct: np.ndarray, present: np.ndarray | None = None) -> tuple[float, float]:
    """Return (Acc_upper, Acc_lower): the shares of rows where any, and where every, modality is right.

    `correct`, `present` (M, N) bool; a modality that a row lacks is left out. Acc_upper is the accuracy of a
    selector that knows who is right. It does not bound fusion: the sum of two wrong modalities' logits can
    be right.
    """
    present = np.ones_like(correct) if present is None else present
    return float((correct & present).any(0).mean()), float((correct | ~present).all(0).mean())


def correlation(score: np.ndarray, correct: np.ndarray, present: np.ndarray | None = None) -> float:
    """Return Pearson's r of a score with correctness, pooled over modalities and rows; NaN if one is constant.

    All three (M, N); modalities that a row lacks are left out. A good weight has a high r, a good uncertainty
    a low one. The pooling is ours: the supplement does not say how the figure's modalities are combined.
    """
    chosen = np.ones(correct.shape, bool) if present is None else present
    return pearson(score[chosen].astype(np.float64), correct[chosen].astype(np.float64))


def reject(uncertain: np.ndarray, correct: np.ndarray, u_max: float = 0.6) -> Kept:
    """Drop the rows (N,) whose uncertainty exceeds `u_max`; the supplement's threshold is 0.6.

    Which uncertainty it means is not said: with vacuity C / S of many classes 0.6 drops nearly every row, so the
    error is worth reading only next to the coverage.
    """
    kept = uncertain <= u_max
    error = 1 - float(correct[kept].mean()) if kept.any() else float("nan")
    return Kept(float(kept.mean()), error, kept)


def risk_coverage(uncertain: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (coverage, risk), both (N,): keeping the k surest rows, k = 1…N, the share kept and their error.

    Rows of equal uncertainty count with their common error, which is the mean over all orders among them.
    Source: El-Yaniv and Wiener, JMLR 2010.
    """
    levels, group, size = np.unique(uncertain, return_inverse=True, return_counts=True)
    error = np.bincount(group, weights=~correct.astype(bool), minlength=len(levels)) / size
    kept = np.arange(1, len(uncertain) + 1)
    return kept / len(uncertain), np.cumsum(np.repeat(error, size)) / kept


def aurc(uncertain: np.ndarray, correct: np.ndarray) -> float:
    """Return the area under the risk–coverage curve, the mean of its N risks; smaller is better."""
    return float(risk_coverage(uncertain, correct)[1].mean())


def calibration_error(probabilities: np.ndarray, target: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error of (N, C): Σ_b n_b / N |accuracy_b - mean confidence_b|.

    Confidence is the largest probability, in `bins` bins of equal width that contain their upper edge (Guo et
    al., ICML 2017).
    """
    confidence = probabilities.max(1).astype(np.float64)
    surplus = confidence - (probabilities.argmax(1) == target)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=surplus, minlength=bins)).sum() / len(target))
