"""Methods compared two by two: on one dataset over the seeds that they share, and over several datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, count
from statistics import fmean, median
from typing import TYPE_CHECKING

from sweeper.reports.cells import Cell
from sweeper.reports.differences import bootstrap
from sweeper.reports.differences.bootstrap import Interval
from sweeper.reports.differences.verdicts import (
    ALPHA,
    BETTER,
    LEAST_SEEDS,
    UNCLEAR,
    UNTESTED,
    WORSE,
    verdict,
)
from sweeper.reports.ranks import Competitor, Ranking, competitor, names_of
from sweeper.reports.statistics import detectable, holm, mean_std, paired_p, wilcoxon
from sweeper.reports.tables import Table

if TYPE_CHECKING:
    import numpy as np

POWER = 0.8
LEAST_DATASETS = 5  # of fewer, drawing datasets says nothing of others
ALONE = " alone"  # of a verdict that holds without correction only
TURNED = {BETTER: WORSE, WORSE: BETTER, BETTER + ALONE: WORSE + ALONE, WORSE + ALONE: BETTER + ALONE}
Seeds = dict[int, float]


@dataclass(frozen=True)
class Pair:
    """`one` against `other`: its mean minus the other's over n common seeds (datasets), in the metric's own unit.

    `improvement` is the probability that a run of `one` is better than a run of `other`; `corrected` is p after
    Holm over all pairs of the family; None stands where n is too small. `verdict` goes by it, and is "better alone" or
    "worse alone" where only p itself tells. `detectable` is the difference that the test finds with probability POWER,
    given the std of the paired differences.
    """

    one: str
    other: str
    n: int
    difference: float
    interval: Interval | None
    p: float | None
    corrected: float | None
    improvement: float
    verdict: str
    detectable: float | None = None

    def turned(self) -> Pair:
        """Return the same for `other` against `one`."""
        interval = (-self.interval[1], -self.interval[0]) if self.interval else None
        return replace(
            self,
            one=self.other,
            other=self.one,
            difference=-self.difference,
            interval=interval,
            improvement=1 - self.improvement,
            verdict=TURNED.get(self.verdict, self.verdict),
        )


@dataclass(frozen=True)
class Compared:
    """What is compared: `names`, best first; the `best`, and the `baseline` unless it is left out or alone."""

    axes: dict[str, str]
    metric: str
    direction: str
    share: bool
    names: tuple[str, ...]
    baseline: str | None

    @property
    def best(self) -> str:
        """The name of the best."""
        return self.names[0]

    @property
    def pairs(self) -> list[Pair]:
        """Every two, the better one first."""
        raise NotImplementedError

    @cached_property
    def _found(self) -> dict[tuple[str, str], Pair]:
        return {(pair.one, pair.other): pair for pair in self.pairs}

    def against(self, reference: str) -> list[Pair]:
        """Return every other name against the reference."""
        others = (name for name in self.names if name != reference)
        return [
            self._found.get((name, reference)) or self._found[reference, name].turned() for name in others
        ]


@dataclass(frozen=True)
class Family(Compared):
    """Results that one table compares with each other, on one dataset under one condition: {name: {seed: value}}."""

    values: dict[str, Seeds]

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds that all have."""
        return sorted(set.intersection(*(set(own) for own in self.values.values())))

    @property
    def n(self) -> int:
        """How many seeds all have."""
        return len(self.seeds)

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every two, compared by the paired t-test from LEAST_SEEDS seeds on."""
        import numpy as np

        two = list(combinations(self.names, 2))
        values = {name: {seed: own[seed] for seed in self.seeds} for name, own in self.values.items()}
        tested = self.n >= LEAST_SEEDS
        found = np.array([[values[a][s] - values[b][s] for a, b in two] for s in self.seeds])
        intervals = bootstrap.of_means(found) if tested else [None] * len(two)
        ps = [paired_p(values[a], values[b]) if tested else None for a, b in two]
        corrected = holm(ps) if tested else ps
        pairs = []
        for i, (a, b) in enumerate(two):
            own, other = values[a], values[b]
            mean, std, _ = mean_std(found[:, i].tolist())
            pairs.append(
                Pair(
                    *(a, b, self.n, mean, intervals[i], ps[i], corrected[i]),
                    improvement=improvement([own.values()], [other.values()], self.direction),
                    verdict=self._verdict(own, other, corrected[i]),
                    detectable=detectable(self.n, ALPHA, POWER) * std if std is not None else None,
                )
            )
        return pairs

    def _verdict(self, one: Seeds, other: Seeds, corrected: float | None) -> str:
        said = verdict(one, other, self.direction, share=self.share, p=corrected)
        alone = verdict(one, other, self.direction, share=self.share)
        return alone + ALONE if said == UNCLEAR and alone in (BETTER, WORSE) else said

    @cached_property
    def visible(self) -> float | None:
        """The difference that a test finds with probability POWER, at the median std of all paired differences."""
        found = [pair.detectable for pair in self.pairs if pair.detectable]
        return median(found) if found else None


@dataclass(frozen=True)
class Overall(Compared):
    """Results over several datasets: {name: {dataset: {seed: value}}}, every one with the same seeds."""

    values: dict[str, dict[str, Seeds]]
    ranks: dict[str, float]

    @cached_property
    def datasets(self) -> list[str]:
        """The datasets."""
        return list(self.values[self.best])

    @cached_property
    def n(self) -> int:
        """How many seeds each has."""
        return len(self.values[self.best][self.datasets[0]])

    @property
    def drawn(self) -> str:
        """What intervals of differences draw, empty if there are none."""
        if len(self.datasets) >= LEAST_DATASETS and self.n > 1:
            return "datasets, and seeds in each"
        return "seeds within each dataset" if self._enough else ""

    @cached_property
    def least_datasets(self) -> int:
        """Of how many datasets Wilcoxon's test can tell two apart: its least p is 2^(1 - datasets), times the pairs."""
        pairs = len(self.names) * (len(self.names) - 1) // 2
        return next(n for n in count(2) if pairs * 2 ** (1 - n) < ALPHA)

    @property
    def _enough(self) -> bool:
        """Whether drawing seeds within datasets has as many degrees of freedom as LEAST_SEEDS seeds of one."""
        return self.n > 2 and len(self.datasets) * (self.n - 1) >= LEAST_SEEDS - 1

    def _array(self, name: str) -> np.ndarray:
        """Return a name's values (datasets, seeds)."""
        import numpy as np

        return np.array([[own[s] for s in sorted(own)] for own in self.values[name].values()])

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every two, compared by Wilcoxon's signed-rank test of their means on each dataset."""
        import numpy as np

        two = list(combinations(self.names, 2))
        arrays = {name: self._array(name) for name in self.names}
        found = np.stack([arrays[a] - arrays[b] for a, b in two], axis=2)
        draw = bootstrap.hierarchical if len(self.datasets) >= LEAST_DATASETS else bootstrap.within
        intervals = draw(found) if self.drawn else [None] * len(two)
        ps = [wilcoxon(found[:, :, i].mean(1).tolist()) for i in range(len(two))]
        pairs = []
        for i, ((a, b), p) in enumerate(zip(two, holm(ps), strict=True)):
            own, other = (values.tolist() for values in (arrays[a], arrays[b]))
            difference, chance = float(found[:, :, i].mean()), improvement(own, other, self.direction)
            said = UNTESTED if 2 ** (1 - len(self.datasets)) >= ALPHA else UNCLEAR
            if ps[i] < ALPHA:
                said = BETTER if (difference > 0) == (self.direction == "max") else WORSE
                said += ALONE * (p >= ALPHA)
            pairs.append(Pair(a, b, len(self.datasets), difference, intervals[i], ps[i], p, chance, said))
        return pairs

    @cached_property
    def interquartile_means(self) -> dict[str, tuple[float, Interval | None]]:
        """The interquartile mean over all runs with its interval, by name."""
        arrays = {name: self._array(name) for name in self.names}
        return {
            name: (
                bootstrap.interquartile_mean(values.ravel().tolist()),
                bootstrap.of_interquartile_mean(values) if self._enough else None,
            )
            for name, values in arrays.items()
        }


def improvement(one: Iterable[Iterable[float]], other: Iterable[Iterable[float]], direction: str) -> float:
    """Return the probability that a run of `one` is better than one of `other`, by dataset and then averaged.

    Equal values count a half (Agarwal et al., NeurIPS 2021; Mann and Whitney's U / n²).
    """
    sign = 1 if direction == "max" else -1
    shares = []
    for own, theirs in zip(one, other, strict=True):
        known = list(theirs)
        shares.append(fmean((sign * a > sign * b) + (a == b) / 2 for a in own for b in known))
    return fmean(shares)


def families(
    table: Table, directions: Mapping[str, str | None], baselines: Sequence[Mapping[str, str]]
) -> list[Family]:
    """Return what the table compares: its groups with two complete cells or more of a metric that has a direction.

    The baseline is the first of `baselines` that is among them.
    """
    found = []
    for keys in table.groups:
        cells = {key: table.cells[key] for key in keys if table.cells[key].status == "complete"}
        metric = table.cells[keys[0]].metric
        direction = directions.get(metric)
        if direction is None or len(cells) < 2:
            continue
        places = [row + column for row, column in cells]
        apart = [i for i, labels in enumerate(zip(*places, strict=True)) if len(set(labels)) > 1]
        named = {
            " / ".join(p[i] for i in apart): cell for p, cell in zip(places, cells.values(), strict=True)
        }
        order = sorted(named, key=lambda name: named[name].summary[0], reverse=direction == "max")
        first = (name for one in baselines for name, cell in named.items() if _is(cell, one))
        found.append(
            Family(
                _common(named.values()),
                metric,
                direction,
                metric in table.percent,
                tuple(order),
                next(first, None),
                {name: named[name].values for name in order},
            )
        )
    return found


def overall(
    ranking: Ranking | None, direction: str, share: bool, baselines: Sequence[Mapping[str, str]]
) -> Overall | None:
    """Return the ranked compared over their datasets, best mean rank first."""
    if ranking is None:
        return None
    several = any(encoders for *_, encoders in ranking.ranks)
    names: dict[Competitor, str] = names_of(list(ranking.ranks))
    first = (competitor(one, several=several) for one in baselines)
    return Overall(
        {"condition": ranking.condition},
        ranking.metric,
        direction,
        share,
        tuple(names.values()),
        next((names[one] for one in first if one in names), None),
        {name: ranking.values[one] for one, name in names.items()},
        ranking.means,
    )


def _is(cell: Cell, axes: Mapping[str, str]) -> bool:
    return all(cell.axes.get(axis) == label for axis, label in axes.items())


def _common(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the axes that all cells have in common."""
    first, *rest = (cell.axes for cell in cells)
    return {axis: label for axis, label in first.items() if all(own.get(axis) == label for own in rest)}
