"""Searches by accuracy and by accuracy and gap at once, on scikit-learn's digits: how good are their fronts?

The front of a search is that of its configurations' means over the tuning seeds. What counts is its hypervolume: the
share of the square from WORST to perfect that lies behind some point of it. The configurations of the front are then
trained on FRESH seeds, since the luckiest of many look better than they are. All of it is validation. A method takes
most of an hour.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sweeper.bridge import Order, execute
from sweeper.planning.fronts import Point, contenders, fronts
from sweeper.planning.proposals import sampler
from sweeper.study.arms import Arm
from sweeper.study.runs import Run
from sweeper.study.schema import parse
from sweeper.study.space import Values
from sweeper.study.unfold import unfold

METRICS, DIRECTIONS = ("accuracy", "gap"), ("max", "min")
WORST: Point = (0.8, 0.3)
SEARCHES = {
    "random": ("random", 2, 12),
    "tpe, accuracy": ("tpe", 1, 12),
    "tpe, both": ("tpe", 2, 12),
    "nsgaii, both": ("nsgaii", 2, 12),
    "gp, both": ("gp", 2, 6),
}  # by which sampler, by how many metrics, and how often
CONFIGURATIONS, AHEAD, TUNING, FRESH = 16, 4, (0, 1), (2, 3, 4)
STUDY = {"study": "fronts", "dataset": "digits", "train": {"epochs": 20}, "select": {"beside": "gap"}}


class Bench:
    """The runs of an arm, each carried out once."""

    def __init__(self, method: str) -> None:
        (self.arm,) = unfold(parse({**STUDY, "methods": [method]}))
        self.run = cache(self._run)

    def means(self, values: Values, seeds: Iterable[int]) -> Point:
        """Return a configuration's means over seeds; one that diverged is as bad as can be."""
        found = [self.run(tuple(sorted(values.items())), seed) for seed in seeds]
        return tuple(statistics.fmean(own) for own in zip(*found, strict=True))

    def _run(self, items: tuple[tuple[str, object], ...], seed: int) -> Point:
        with tempfile.TemporaryDirectory() as folder:
            payload = Run(self.arm, 0, dict(items), "search", seed).payload
            result = execute(Order(payload, Path(folder), checkpoints="none", threads=1))
        return (
            tuple(result["metrics"]["validation"][m] for m in METRICS)
            if result["status"] == "done"
            else (0, 1)
        )


def searched(bench: Bench, name: str, seed: int) -> list[Values]:
    """Return the configurations of one search, told every result AHEAD configurations later."""
    by, count, _ = SEARCHES[name]
    study = parse({**STUDY, "methods": ["joint"], "search": {"sampler": by, "seed": seed}})
    arm: Arm = bench.arm
    own = sampler(study.search, arm.space, arm.fixed, arm.defaults(), *DIRECTIONS[:count])
    asked: list[Values] = []
    for k in range(CONFIGURATIONS):
        if k >= AHEAD:
            told = bench.means(asked[k - AHEAD], TUNING)
            own.tell(k - AHEAD, told if count > 1 else told[0], "complete")
        asked.append(own.ask(k))
    return asked


def hypervolume(points: Iterable[Point]) -> float:
    """Return the share of the square from WORST to (1, 0) that lies behind some of the points."""
    area, reached = 0.0, WORST[1]
    for accuracy, gap in sorted(points, reverse=True):
        if accuracy > WORST[0] and gap < reached:
            area += (accuracy - WORST[0]) * (reached - gap)
            reached = gap
    return area / ((1 - WORST[0]) * WORST[1])


def main(*methods: str) -> None:
    """Print hypervolumes of fronts, on tuning and fresh seeds, and the best accuracy, by method and search."""
    for method in methods or ("joint", "lfm"):
        bench = Bench(method)
        print(
            f"{method}: % of the square, on tuning seeds and on fresh ones; best accuracy; points on the front"
        )
        for name, (_, _, repeats) in SEARCHES.items():
            rows = []
            for seed in range(repeats):
                tried = searched(bench, name, seed)
                means = {k: bench.means(values, TUNING) for k, values in enumerate(tried)}
                scores = {k: {0: accuracy} for k, (accuracy, _) in means.items()}
                able = {k: means[k] for k in contenders(scores, scores[0])}
                front = [k for k, number in fronts(able, DIRECTIONS).items() if number == 1]
                again = [bench.means(tried[k], FRESH) for k in front]
                best = max(accuracy for accuracy, _ in means.values())
                rows.append(
                    (100 * hypervolume(able.values()), 100 * hypervolume(again), 100 * best, len(front))
                )
            cells = [_said(column) for column in zip(*rows, strict=True)]
            print(f"  {name:14} {'   '.join(cells)}   n {repeats}", flush=True)


def _said(values: Iterable[float]) -> str:
    found = list(values)
    return f"{statistics.mean(found):.1f} ± {statistics.stdev(found) / len(found) ** 0.5:.1f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
