"""Bootstrap intervals against every resample there is, SciPy's resampling, and how often they hold the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from sweeper.reports.differences import bootstrap


def test_all_resamples_of_few_things_are_drawn_as_often_as_they_come():
    values = np.array([0.1, 0.5, 0.2, 0.9])
    every = np.sort([np.mean(own) for own in itertools.product(values, repeat=4)])
    outside = bootstrap.tail(4, 3)
    ends = np.quantile(every, [outside, 1 - outside], method="inverted_cdf")
    assert bootstrap.of_means(values[:, None]) == [pytest.approx(tuple(ends))]


def test_with_unmoved_tails_it_is_scipys_percentile_bootstrap(monkeypatch):
    monkeypatch.setattr(bootstrap, "tail", lambda n, df: 0.025)
    values = np.random.default_rng(3).normal(size=(20, 1))
    found = stats.bootstrap((values[:, 0],), np.mean, method="percentile", n_resamples=20_000, rng=1)
    expected = tuple(found.confidence_interval)
    assert bootstrap.of_means(values)[0] == pytest.approx(expected, abs=0.02)


def test_the_tails_are_hesterbergs():
    for n in (5, 10, 50):
        t = stats.t.ppf(0.975, n - 1)
        assert bootstrap.tail(n, n - 1) == pytest.approx(stats.norm.cdf(-np.sqrt(n / (n - 1)) * t))


def test_five_seeds_hold_the_mean_far_more_often_than_without_moved_tails(monkeypatch):
    values = np.random.default_rng(0).normal(size=(5, 2000))

    def held():
        return np.mean([low <= 0 <= high for low, high in bootstrap.of_means(values)])

    assert held() == pytest.approx(0.92, abs=0.02)
    monkeypatch.setattr(bootstrap, "tail", lambda n, df: 0.025)
    assert held() == pytest.approx(0.83, abs=0.02)


def test_over_datasets_of_which_results_differ_the_mean_of_all_datasets_is_held():
    stream = np.random.default_rng(0)
    values = stream.normal(size=(5, 5, 400)) + 2 * stream.normal(size=(5, 1, 400))
    of_all = np.mean([low <= 0 <= high for low, high in bootstrap.hierarchical(values)])
    of_these = np.mean([low <= 0 <= high for low, high in bootstrap.within(values)])
    assert of_all > 0.92
    assert of_these < 0.75  # of these datasets it says something else


def test_seeds_are_drawn_within_their_dataset():
    values = np.array([[[0.0], [0.0], [0.0]], [[1.0], [1.0], [1.0]]])
    assert bootstrap.within(values) == [(0.5, 0.5)]
    assert bootstrap.hierarchical(values) == [(0.0, 1.0)]
    assert bootstrap.of_interquartile_mean(values[:, :, 0]) == (0.5, 0.5)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 15, 25])
def test_the_interquartile_mean_is_scipys_trimmed_mean(n):
    values = np.random.default_rng(n).normal(size=n)
    assert bootstrap.interquartile_mean(values.tolist()) == pytest.approx(stats.trim_mean(values, 0.25))


def test_the_interval_of_the_interquartile_mean_is_that_of_trimmed_means_of_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "tail", lambda n, df: 0.025)
    values = np.random.default_rng(0).normal(size=(4, 5))
    stream = np.random.default_rng(9)
    drawn = [np.concatenate([stream.choice(own, size=5) for own in values]) for _ in range(10_000)]
    expected = np.quantile(stats.trim_mean(drawn, 0.25, axis=1), [0.025, 0.975])
    assert bootstrap.of_interquartile_mean(values) == pytest.approx(tuple(expected), abs=0.03)


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(0).normal(size=(6, 9, 2))
    for draw in (bootstrap.within, bootstrap.hierarchical):
        assert draw(values) == draw(values)
    assert bootstrap.of_means(values[0]) == bootstrap.of_means(values[0])
