"""Racing and early stopping as pure functions of recorded values; all values are larger-is-better here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

Scores = Mapping[int, Mapping[int, float]]


def rungs(rule: str, n_seeds: int) -> list[int]:
    """Return how many seeds a configuration has at each rung: halving 1, 2, 4, … all; paired 1, 2, 3, …; none all."""
    if rule == "halving":
        return [*(2**i for i in range(n_seeds.bit_length()) if 2**i < n_seeds), n_seeds]
    return list(range(1, n_seeds + 1)) if rule == "paired" else [n_seeds]


def runs_planned(rule: str, configurations: int, n_seeds: int, n_final: int) -> int:
    """Return how many runs an arm takes, at most: its rungs and its final seeds; one configuration needs no search."""
    if configurations == 1:
        return n_final
    seeds = rungs(rule, n_seeds)
    alive, total = configurations, configurations * seeds[0]
    for before, after in itertools.pairwise(seeds):
        alive = -(-alive // 2) if rule == "halving" else alive
        total += alive * (after - before)
    return total + n_final


def survivors(scores: Scores, rule: str, alpha: float = 0.1) -> list[int]:
    """Return the configurations that earn more seeds, given {configuration: {seed: value}} over common seeds.

    `none` keeps all; `halving` the better half by mean, ties to the lower number; `paired` those whose deficit to
    the leader, paired over seeds with the deficit's variance pooled over configurations, is not significant at
    `alpha` one-sided (needs two seeds).
    """
    means = {k: float(np.mean(list(v.values()))) for k, v in scores.items()}
    order = sorted(means, key=lambda k: (-means[k], k))
    if rule == "halving":
        return sorted(order[: math.ceil(len(order) / 2)])
    if rule == "paired" and len(order) > 1:
        return _not_worse(scores, order, alpha)
    return sorted(order)


def _not_worse(scores: Scores, order: list[int], alpha: float) -> list[int]:
    leader, seeds = order[0], sorted(scores[order[0]])
    n = len(seeds)
    if n < 2:
        return sorted(order)
    deficits = {k: np.array([scores[leader][s] - scores[k][s] for s in seeds]) for k in order[1:]}
    freedom = len(deficits) * (n - 1)
    pooled = sum(float(((d - d.mean()) ** 2).sum()) for d in deficits.values()) / freedom
    from scipy.special import stdtrit

    bound = float(stdtrit(freedom, 1 - alpha)) * math.sqrt(pooled / n)
    return sorted([leader, *(k for k, d in deficits.items() if d.mean() <= bound)])


def epoch_limits(curves: Sequence[Sequence[float]], rule: str, epochs: int) -> dict[int, float]:
    """Return {epochs done: worst admissible value} for a run, given the curves of earlier configurations.

    `asha` (Li et al. 2020, arXiv 1810.05934): at epochs/9 and epochs/3 the run must reach the best third of what
    was recorded there. `median` (Golovin et al. 2017): from epochs/9 on it must reach the median of the earlier
    runs' values at that epoch. A rule speaks only where at least three earlier runs got that far. Because the
    curves are those known when the configuration was proposed, stopping does not depend on timing.
    """
    grace = max(1, math.ceil(epochs / 9))
    if rule == "none":
        return {}
    rungs = range(grace, epochs) if rule == "median" else [e for e in (grace, 3 * grace) if e < epochs]
    share = 0.5 if rule == "median" else 2 / 3
    limits = {}
    for epoch in rungs:
        reached = [curve[epoch - 1] for curve in curves if len(curve) >= epoch]
        if len(reached) >= 3:
            limits[epoch] = float(np.quantile(reached, share))
    return limits


def ended_at(curve: Sequence[float], limits: Mapping[int, float]) -> int | None:
    """Return after how many epochs the limits end a run with this curve, None if they let it go on."""
    return next((e for e in sorted(limits) if e <= len(curve) and curve[e - 1] < limits[e]), None)
