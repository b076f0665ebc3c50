"""Means, deviations and paired tests against hand-made numbers and SciPy."""

import itertools
import math
import random
import subprocess
import sys

import pytest
from scipy import stats

from sweeper.reports.statistics import (
    detectable,
    holm,
    mean_std,
    paired_interval,
    paired_p,
    t_quantile,
    wilcoxon,
)


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


# Corrections, signed ranks, power


@pytest.mark.parametrize(
    ("ps", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # as R's p.adjust(method = "holm") gives
        ([0.01, 0.015, 0.02], [0.03, 0.03, 0.03]),
        ([0.5, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holms_correction(ps, corrected):
    assert holm(ps) == pytest.approx(corrected)


def test_holm_rejects_step_by_step_until_the_first_that_stands():
    draw = random.Random(0)
    for _ in range(50):
        ps = [draw.random() ** 3 for _ in range(6)]
        rejected, order = set(), sorted(range(6), key=ps.__getitem__)
        for i, place in enumerate(order):
            if ps[place] > 0.05 / (6 - i):
                break
            rejected.add(place)
        assert {i for i, p in enumerate(holm(ps)) if p <= 0.05} == rejected


# Demšar, table 2: AUC of C4.5 and of C4.5 with m, on 14 datasets
C45 = [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.94, 0.619, 0.972, 0.957]
C45M = [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978]


def test_wilcoxon_rejects_in_demsars_example():
    p = wilcoxon([a - b for a, b in zip(C45M, C45, strict=True)])
    assert p < 0.05
    kept = [round(a - b, 3) for a, b in zip(C45M, C45, strict=True) if a != b]
    signs = itertools.product((-1, 1), repeat=len(kept))
    ranked = stats.rankdata(list(map(abs, kept)))
    total = sum(ranked)
    seen = abs(sum(r for r, d in zip(ranked, kept, strict=True) if d > 0) - total / 2)
    sums = [abs(sum(r for r, s in zip(ranked, own, strict=True) if s > 0) - total / 2) for own in signs]
    assert p == pytest.approx(sum(one >= seen - 1e-9 for one in sums) / len(sums))


@pytest.mark.parametrize("n", [1, 2, 5, 6, 12, 25])
@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_wilcoxon_is_scipys_exact_test(n, shift):
    draw = random.Random(n)
    values = [draw.gauss(shift, 1) for _ in range(n)]
    expected = stats.wilcoxon(values, method="exact").pvalue
    assert wilcoxon(values) == wilcoxon([-v for v in values]) == pytest.approx(expected)


def test_wilcoxon_without_any_difference_is_no_evidence():
    assert wilcoxon([]) == wilcoxon([0.0, 0.1 + 0.2 - 0.3]) == 1.0


@pytest.mark.parametrize("df", [1, 2, 4, 9, 40])
@pytest.mark.parametrize("p", [0.9, 0.975, 0.9995])
def test_the_t_quantile_is_scipys(df, p):
    assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9)


def test_the_paired_interval_is_scipys():
    a, b = {1: 0.9, 2: 0.8, 3: 0.7, 9: 0.0}, {3: 0.6, 2: 0.75, 1: 0.7, 8: 1.0}
    expected = stats.ttest_rel([0.9, 0.8, 0.7], [0.7, 0.75, 0.6]).confidence_interval(0.9)
    assert paired_interval(a, b, 0.9) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("n", [3, 4, 5, 10, 30])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_a_difference_of_the_detectable_size_is_found_with_that_power(n, power):
    shift, critical = detectable(n, 0.05, power) * math.sqrt(n), stats.t.ppf(0.975, n - 1)
    found = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    assert found == pytest.approx(power, abs=1e-5)


def test_two_pairs_find_only_what_is_twelve_times_the_std():
    draw = random.Random(0)
    size, critical, found = detectable(2, 0.05, 0.8), stats.t.ppf(0.975, 1), 0
    for _ in range(4000):
        a, b = draw.gauss(size, 1), draw.gauss(size, 1)
        found += abs(a + b) / abs(a - b) > critical
    assert size == pytest.approx(11.55, abs=0.01)
    assert found / 4000 == pytest.approx(0.8, abs=0.02)
