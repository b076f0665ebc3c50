"""Fronts by two metrics against the definition, point by point."""

from __future__ import annotations

import random

import pytest

from sweeper.planning.fronts import contenders, fronts


def behind(own, other):
    """Whether `other` is as good in both values and better in one; larger is better."""
    return all(a <= b for a, b in zip(own, other, strict=True)) and own != other


def peeled(points):
    """The fronts by their definition: what is behind nothing that is left, again and again."""
    found, left, number = {}, dict(points), 0
    while left:
        number += 1
        free = [k for k, own in left.items() if not any(behind(own, other) for other in left.values())]
        found |= dict.fromkeys(free, number)
        left = {k: own for k, own in left.items() if k not in free}
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_front_is_what_nothing_of_the_fronts_before_is_ahead_of(seed):
    draw = random.Random(seed)
    points = {k: (draw.randrange(6), draw.randrange(6)) for k in range(30)}  # with ties and equal points
    assert fronts(points, ["max", "max"]) == peeled(points)


def test_each_value_has_its_own_direction():
    points = {0: (0.9, 0.2), 1: (0.8, 0.1), 2: (0.8, 0.3), 3: (0.95, 0.25)}
    assert fronts(points, ["max", "min"]) == {0: 1, 1: 1, 2: 2, 3: 1}
    assert fronts(points, ["max", "max"]) == {3: 1, 2: 1, 0: 2, 1: 3}
    assert fronts({}, ["max", "min"]) == {}


def test_who_is_no_worse_than_the_published_defaults_contends():
    scores = {0: {0: 0.8}, 1: {0: 0.8, 1: 0.1}, 2: {0: 0.7, 1: 0.9}, 3: {0: 0.9, 1: 0.9}}
    assert contenders(scores, scores[0]) == [0, 1, 3]  # over the seed that the defaults had
    assert contenders(scores, {0: 0.8, 1: 0.8}) == [0, 2, 3]
    assert contenders(scores, {}) == [0, 1, 2, 3]
