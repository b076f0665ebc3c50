"""Means, deviations and paired tests against hand-made numbers and SciPy."""

import itertools
import math
import random
import subprocess
import sys

import pytest
from scipy import stats

from sweeper.reports.statistics import mean_std, paired_p


def test_std_has_ddof_1():
    assert mean_std([1.0, 2.0, 3.0, 4.0]) == (2.5, pytest.approx(math.sqrt(5 / 3)), 4)


def test_one_value_has_no_std():
    assert mean_std([0.7]) == (0.7, None, 1)


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="no values"):
        mean_std([])


def test_any_iterable_in_any_order_gives_the_same_bits():
    values = [0.1, 0.7, 1e-9, 0.3, 1e6]
    assert len({mean_std(iter(order)) for order in itertools.permutations(values)}) == 1


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 10, 31])
@pytest.mark.parametrize("shift", [0.0, 0.3, 3.0])
def test_paired_p_is_the_paired_t_test(n, shift):
    draw = random.Random(n)
    a = {seed: draw.gauss(shift, 1) for seed in range(n)}
    b = {seed: draw.gauss(0, 1) for seed in range(n)}
    expected = stats.ttest_rel(list(a.values()), list(b.values())).pvalue
    assert paired_p(a, b) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    assert paired_p(b, a) == paired_p(a, b)


def test_only_common_seeds_are_paired_and_by_seed_not_by_place():
    a = {1: 0.9, 2: 0.8, 3: 0.7, 9: 0.0}
    b = {3: 0.6, 2: 0.75, 1: 0.7, 8: 1.0}
    assert paired_p(a, b) == paired_p({1: 0.9, 2: 0.8, 3: 0.7}, {1: 0.7, 2: 0.75, 3: 0.6})


@pytest.mark.parametrize(("a", "b"), [({}, {}), ({1: 0.5}, {1: 0.4}), ({1: 0.5, 2: 0.6}, {2: 0.5, 3: 0.4})])
def test_fewer_than_two_common_seeds_are_no_test(a, b):
    assert paired_p(a, b) is None


def test_differences_without_variance():
    a = {1: 0.5, 2: 0.25}
    assert paired_p(a, a) == 1.0
    assert paired_p(a, {seed: value - 0.125 for seed, value in a.items()}) == 0.0


def test_a_report_imports_no_heavy_library():
    code = (
        "import sys, sweeper.reports.tables, sweeper.reports.figures; "
        "print({'scipy', 'sklearn', 'matplotlib', 'torch', 'ray', 'mlflow', 'optuna'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "set()"
