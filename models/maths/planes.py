"""Rows of numbers as points of a plane, for figures: principal components, and t-SNE."""

from __future__ import annotations

import numpy as np

NEIGHBOURS = 30.0  # t-SNE's perplexity


def units(features: np.ndarray) -> np.ndarray:
    """Return rows (N, D) of length 1; a row of zeros stays one."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)


def principal(rows: np.ndarray) -> np.ndarray:
    """Return rows (N, D) on their two first principal components, (N, 2); a component's largest loading is positive."""
    centred = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    found = centred @ (axes * signs[:, None]).T
    return np.pad(
        found, ((0, 0), (0, 2 - found.shape[1]))
    )  # of one row, or one column, there is one component


def neighbours(rows: np.ndarray) -> np.ndarray:
    """Return rows (N, D) as t-SNE lays them out, (N, 2), from their principal components (van der Maaten, Hinton 2008).

    Neighbours stay neighbours; distances between groups, and directions, mean nothing. Its seed is fixed.
    """
    from sklearn.manifold import TSNE

    if len(rows) < 4:
        return principal(rows)
    start = principal(rows)
    start = 1e-4 * start / max(start[:, 0].std(), 1e-12)
    perplexity = min(NEIGHBOURS, (len(rows) - 1) / 3)
    return TSNE(perplexity=perplexity, init=start, random_state=0).fit_transform(rows)
