"""What the configurations of a search by two metrics found: their means on validation, and which lie on the front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan

from sweeper.bridge import direction
from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord
from sweeper.planning.fronts import contenders, fronts
from sweeper.reports.statistics import mean_std


@dataclass(frozen=True)
class Found:
    """A configuration: its mean and std (ddof 1, 0 for one seed) by both metrics over n seeds, its place.

    It is `whole` with as many seeds as any, and `able` unless it is behind the published defaults.
    """

    number: int
    n: int
    means: tuple[float, float]
    stds: tuple[float, float]
    whole: bool
    able: bool
    on_front: bool
    selected: bool


def found(history: History, arm: str) -> list[Found]:
    """Return the configurations of an arm that finished and have both metrics.

    The front is that of those with the most seeds, since a mean over fewer is no rival to theirs, that are no worse by
    the first metric than the published defaults.
    """
    metrics = history.plan.select.metrics
    runs = history.tried[arm]
    tried = {k: _values(own, metrics) for k, own in sorted(runs.items())}
    tried = {k: values for k, values in tried.items() if values}
    most = max((len(values[0]) for values in tried.values()), default=0)
    summaries = {k: [mean_std(values) for values in own] for k, own in tried.items()}
    whole = {k: (one[0], other[0]) for k, (one, other) in summaries.items() if one[2] == most}
    ways = [direction(metric) for metric in metrics]
    sign = 1 if ways[0] == "max" else -1
    scores = {k: {seed: sign * run.validation[metrics[0]] for seed, run in runs[k].items()} for k in tried}
    able = contenders(scores, scores.get(0, {}))
    front = fronts({k: whole[k] for k in able if k in whole}, ways)
    chosen = history.selected.get(arm)
    return [
        Found(
            number=k,
            n=one[2],
            means=(one[0], other[0]),
            stds=(one[1] or 0.0, other[1] or 0.0),
            whole=k in whole,
            able=k in able,
            on_front=front.get(k) == 1,
            selected=bool(chosen and chosen.configuration == k),
        )
        for k, (one, other) in summaries.items()
    ]


def _values(runs: Mapping[int, RunRecord], metrics: list[str]) -> list[list[float]]:
    """Return the values of finished runs by metric, empty unless all are numbers."""
    values = [[run.validation.get(metric, nan) for _, run in sorted(runs.items())] for metric in metrics]
    return values if all(isfinite(value) for own in values for value in own) else []
