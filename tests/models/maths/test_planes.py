"""Points of a plane: components as defined, and neighbours that stay neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.models.maths.planes import neighbours, principal, units


@pytest.fixture
def rows() -> np.ndarray:
    """Three groups of twenty rows, far apart in twelve dimensions."""
    rng = np.random.default_rng(0)
    return np.repeat(10 * rng.normal(size=(3, 12)), 20, axis=0) + rng.normal(size=(60, 12))


def test_principal_components_are_those_of_scikit_learn(rows):
    from sklearn.decomposition import PCA

    expected = PCA(2).fit_transform(rows)
    found = principal(rows)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-9)
    np.testing.assert_array_equal(principal(rows[::-1])[::-1].round(9), found.round(9))


@pytest.mark.parametrize(("count", "width"), [(1, 5), (5, 1), (2, 2)])
def test_few_rows_or_columns_are_points_too(count, width):
    found = principal(np.arange(count * width, dtype=float).reshape(count, width))
    assert found.shape == (count, 2)
    assert np.isfinite(found).all()
    assert np.isfinite(neighbours(np.ones((count, width)))).all()


def test_neighbours_stay_neighbours_and_the_seed_is_fixed(rows):
    found = neighbours(rows)
    np.testing.assert_array_equal(found, neighbours(rows))
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1) + np.diag(np.full(60, np.inf))
    assert (apart.argmin(1) // 20 == np.arange(60) // 20).all()


def test_rows_of_zeros_have_no_length():
    np.testing.assert_allclose(units(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])
