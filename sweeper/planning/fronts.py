"""Fronts of configurations by two metrics; who is behind the published defaults in the first is on none.

A net that tells nothing apart treats its modalities alike: without that rule the front would end in such nets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum

Point = tuple[float, float]


def contenders(scores: Mapping[int, Mapping[int, float]], defaults: Mapping[int, float]) -> list[int]:
    """Return the configurations that are no worse than the published defaults over the seeds that both have.

    `scores` {configuration: {seed: value}} and `defaults` {seed: value} are of the first metric, larger is better.
    """
    common = {k: own.keys() & defaults.keys() for k, own in scores.items()}
    return [
        k
        for k, seeds in common.items()
        if fsum(scores[k][s] for s in seeds) >= fsum(defaults[s] for s in seeds)
    ]


def fronts(points: Mapping[int, Point], directions: Sequence[str]) -> dict[int, int]:
    """Return {configuration: its front}, from 1, of points whose two values are better by `directions`, max or min.

    No point of a front is as good as another in both values and better in one; every point of a further front is behind
    some point of the front before it (non-dominated sorting; Deb et al., IEEE Trans. Evol. Comput. 6, 2002).
    """
    signs = [1.0 if way == "max" else -1.0 for way in directions]
    worth = {k: tuple(s * v for s, v in zip(signs, own, strict=True)) for k, own in points.items()}
    found: dict[int, int] = {}
    last: list[Sequence[float]] = []  # the point of each front that is best in the second value
    for k in sorted(worth, key=lambda k: (*(-value for value in worth[k]), k)):
        own = worth[k]
        place = next((i for i, other in enumerate(last) if own == other or own[1] > other[1]), len(last))
        last[place : place + 1] = [own]
        found[k] = place + 1
    return found
