"""Racing and early stopping against numbers worked out by hand."""

from __future__ import annotations

import itertools
import math
import random
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from sweeper.planning.racing import RULES, STOPPINGS, Curves, Rule, Rung, Stopping, ended_at, ranked
from sweeper.study.schema import Search


def kinds(base):
    """All classes below one."""
    return [kind for own in base.__subclasses__() for kind in (own, *kinds(own))]


@pytest.mark.parametrize(
    ("key", "rules", "base"), [("racing", RULES, Rule), ("early_stopping", STOPPINGS, Stopping)]
)
def test_every_rule_is_reached_by_its_name_in_a_study(key, rules, base):
    assert set(get_args(Search.model_fields[key].annotation)) == set(rules)
    assert {type(rule) for rule in rules.values()} == set(kinds(base))


def test_by_two_metrics_fronts_rank_before_means_and_what_is_on_none_comes_last():
    scores = {k: {0: value} for k, value in enumerate([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])}
    fronts = {0: 1, 1: 2, 2: 1, 3: 2}
    assert ranked(scores, fronts=fronts) == [0, 2, 1, 3, 4, 5]
    assert survivors("halving", scores, fronts=fronts) == [0, 1, 2]
    assert survivors("elimination", scores, fronts=fronts) == [0, 2]


@pytest.mark.parametrize(
    ("rule", "n", "expected"),
    [
        ("halving", 1, [1]),
        ("halving", 2, [1, 2]),
        ("halving", 3, [1, 2, 3]),
        ("halving", 4, [1, 2, 4]),
        ("halving", 5, [1, 2, 4, 5]),
        ("halving", 8, [1, 2, 4, 8]),
        ("cost", 5, [1, 2, 4, 5]),
        ("elimination", 4, [1, 2, 3, 4]),
        ("none", 4, [4]),
    ],
)
def test_seeds_at_each_rung(rule, n, expected):
    assert RULES[rule].rungs(n) == expected


@pytest.mark.parametrize(
    ("rule", "configurations", "seeds", "expected"),
    [
        ("halving", 8, 4, 8 + 4 * 1 + 2 * 2),
        ("halving", 9, 4, 9 + 5 * 1 + 3 * 2),
        ("halving", 8, 1, 8),
        ("cost", 8, 4, 8 + 4 * 1 + 2 * 2),
        ("elimination", 16, 4, 16 + 6 + 4 + 3),
        ("elimination", 9, 2, 9 + 3),
        ("elimination", 3, 4, 3),  # the race is over where one is left
        ("halving", 2, 4, 2),
        ("none", 8, 4, 8 * 4),
        ("halving", 1, 4, 0),
    ],
)
def test_the_number_of_runs(rule, configurations, seeds, expected):
    assert RULES[rule].runs_planned(configurations, seeds, 5) == expected + 5


@pytest.mark.parametrize(
    ("rule", "configurations", "seeds", "final", "ahead", "expected"),
    [
        ("none", 6, 3, 2, 4, 12),  # four proposals of three seeds
        ("none", 2, 3, 2, 4, 6),  # no more than there are
        ("halving", 6, 4, 2, 2, 4),  # 2 proposals; then 3 earn one seed more, 2 of them two
        ("elimination", 17, 4, 2, 2, 6),  # 6 earn one seed more
        ("halving", 6, 4, 5, 2, 5),  # the final seeds
        ("halving", 1, 4, 3, 2, 3),  # nothing to search
    ],
)
def test_how_many_runs_of_an_arm_can_be_under_way(rule, configurations, seeds, final, ahead, expected):
    assert RULES[rule].at_once(configurations, seeds, final, ahead) == expected


def survivors(rule, scores, began=0, **known):
    return RULES[rule].survivors(Rung(scores, began or len(scores), **known))


def test_halving_keeps_the_better_half_and_the_earlier_of_equals():
    scores = {0: {0: 0.5}, 1: {0: 0.9}, 2: {0: 0.5}, 3: {0: 0.1}, 4: {0: 0.5}}
    assert survivors("halving", scores) == [0, 1, 2]
    assert survivors("halving", {7: {0: 0.1}}) == [7]


def test_equal_means_are_told_apart_by_the_loss_then_by_the_number():
    scores = {k: {0: 0.5} for k in range(4)} | {4: {0: 0.9}}
    assert ranked(scores) == [4, 0, 1, 2, 3]
    assert ranked(scores, {0: 0.3, 2: 0.1, 3: 0.3}) == [4, 2, 0, 3, 1]
    assert survivors("halving", scores, losses={1: 0.1, 3: 0.2, 4: 9.0}) == [1, 3, 4]


def test_none_keeps_all():
    assert survivors("none", {3: {0: 0.1}, 1: {0: 0.9}}) == [1, 3]


def test_by_cost_the_best_goes_on_and_whoever_fits_into_half_of_the_seconds_beside_it():
    scores = {k: {0: 1 - k / 10} for k in range(6)}
    assert survivors("cost", scores, seconds=dict.fromkeys(range(6), 2.0)) == [0, 1, 2]  # as halving
    dear = {0: 4.0, 1: 6.0, 2: 3.0, 3: 2.0, 4: 2.0, 5: 3.0}  # 20, of which survivors may have taken 10
    assert survivors("cost", scores, seconds=dear) == [0, 1]
    assert survivors("cost", scores, seconds={**dear, 1: 6.5}) == [0, 2, 3]  # 1 is passed over
    assert survivors("cost", scores, seconds={**dear, 0: 90.0}) == [0]  # the best goes on whatever it took
    cheap = {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 30.0, 5: 30.0}
    assert survivors("cost", scores, seconds=cheap) == [0, 1, 2]  # no more than half of them


def test_elimination_keeps_the_best_third_of_one_seed():
    assert survivors("elimination", {k: {0: k / 10} for k in range(7)}) == [4, 5, 6]
    assert survivors("elimination", {k: {0: k / 10} for k in range(7)}, began=12) == [
        3,
        4,
        5,
        6,
    ]  # five were ended
    assert survivors("elimination", {7: {0: 0.1}}) == [7]
    assert survivors("elimination", {7: {0: 0.1, 1: 0.2}}) == [7]


MOST_OF_SIX = 4  # two thirds
SHARED = [0.1, -0.2, 0.15, 0.0]  # of the seeds, the same for all: pairing takes it out


def test_elimination_keeps_who_is_within_a_standard_error_of_the_leader():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = np.add(SHARED, rng.normal(size=(6, 4)) * 0.02 + rng.uniform(0, 0.04, size=(6, 1)))
        order = np.argsort(-values.mean(1))
        deficits = (values[order[0]] - values)[order]
        error = stats.sem(deficits[1:], axis=1)
        bound = math.sqrt(np.mean(error**2))
        expected = [int(k) for k, d in zip(order, deficits, strict=True) if d.mean() <= bound]
        scores = {k: dict(enumerate(row)) for k, row in enumerate(values.tolist())}
        assert survivors("elimination", scores) == sorted(expected[:MOST_OF_SIX])


def test_of_equal_configurations_the_most_that_may_survive_do():
    equal = {k: {0: 0.5, 1: 0.6} for k in range(6)}
    assert survivors("elimination", equal) == list(range(MOST_OF_SIX))


def test_elimination_keeps_who_is_on_the_front_of_two_metrics():
    scores = {k: {0: 0.9 - k / 10, 1: 0.9 - k / 10} for k in range(6)}
    assert survivors("elimination", scores) == [0]
    assert survivors("elimination", scores, fronts={0: 1, 4: 1, 1: 2, 2: 2, 3: 2, 5: 3}) == [0, 4]


CURVES = [[0.1 * k + 0.01 * e for e in range(1, 19)] for k in range(6)]


def test_asha_asks_for_the_best_third_after_a_ninth_and_a_third():
    limits = STOPPINGS["asha"].limits(CURVES, 18)
    assert set(limits) == {2, 6}
    assert limits[2] == pytest.approx(np.quantile([curve[1] for curve in CURVES], 2 / 3))
    assert sum(curve[5] >= limits[6] for curve in CURVES) == 2


def test_once_asks_for_the_median_at_two_fifths():
    limits = STOPPINGS["once"].limits(CURVES, 18)
    assert limits == {8: pytest.approx(np.median([curve[7] for curve in CURVES]))}
    assert [set(STOPPINGS["once"].limits([[0.5] * n] * 3, n)) for n in (1, 2, 4, 20)] == [
        set(),
        {1},
        {2},
        {8},
    ]


def test_a_rule_speaks_only_where_three_got_that_far():
    short = [CURVES[0], CURVES[1], CURVES[2][:2], CURVES[3][:2]]
    assert set(STOPPINGS["asha"].limits(short, 18)) == {2}
    assert STOPPINGS["asha"].limits(CURVES[:2], 18) == {}
    assert STOPPINGS["none"].limits(CURVES, 18) == {}


def test_a_share_of_the_curves_is_what_numpy_says():
    luck = random.Random(3)
    for n in range(3, 60):
        curves = [[luck.choice([luck.gauss(0, 1e6), 0.5, math.inf]), luck.random()] for _ in range(n)]
        for epoch, share in itertools.product((1, 2), (0.5, 2 / 3)):
            with np.errstate(invalid="ignore"):
                expected = np.quantile([curve[epoch - 1] for curve in curves], share)
            np.testing.assert_equal(Curves(curves).quantile(epoch, share), expected)
    assert math.isnan(Curves([[0.1], [math.nan], [0.3]]).quantile(1, 0.5))


@pytest.mark.parametrize(
    ("epochs", "asha"), [(1, set()), (2, {1}), (3, {1}), (4, {1, 3}), (18, {2, 6}), (30, {4, 12})]
)
def test_the_last_epoch_ends_nothing(epochs, asha):
    curves = [[0.5] * epochs] * 3
    assert set(STOPPINGS["asha"].limits(curves, epochs)) == asha
    assert epochs not in STOPPINGS["once"].limits(curves, epochs)


def test_a_run_ends_at_the_first_limit_it_does_not_reach():
    limits = {6: 0.5, 2: 0.3}
    assert ended_at([0.1, 0.2, 0.9, 0.9, 0.9, 0.9], limits) == 2
    assert ended_at([0.1, 0.3, 0.9, 0.9, 0.9, 0.4], limits) == 6
    assert ended_at([0.1, 0.3, 0.0], limits) is None
    assert ended_at([0.1, 0.3, 0, 0, 0, 0.5], limits) is None
    assert ended_at([], limits) is ended_at([0.0], {}) is None
