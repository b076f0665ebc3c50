"""Racing over seeds and early stopping over epochs, a rule per class; all values are larger-is-better here."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Scores = Mapping[int, Mapping[int, float]]  # {configuration: {seed: value}} over common seeds
Losses = Mapping[int, float]  # by which equal configurations are told apart, where they are known
Fronts = Mapping[
    int, float
]  # 1 for what is on the front by two metrics, 2 for what is behind that, …; or nothing
NONE: Losses = {}
ALPHA = 0.1


class Rule(ABC):
    """Which configurations of a race earn more seeds."""

    @abstractmethod
    def rungs(self, n_seeds: int) -> list[int]:
        """Return how many seeds a configuration has at each rung."""

    @abstractmethod
    def survivors(self, scores: Scores, losses: Losses = NONE, fronts: Fronts = NONE) -> list[int]:
        """Return the configurations that earn more seeds."""

    def most_alive(self, alive: int, n_seeds: int) -> int:
        """Return how many of the configurations at a rung of so many seeds reach the next, at most."""
        return alive

    def runs_planned(self, configurations: int, n_seeds: int, n_final: int) -> int:
        """Return how many runs an arm takes, at most: its rungs, if there is a choice, and its final seeds."""
        if configurations == 1:
            return n_final
        seeds = self.rungs(n_seeds)
        alive, total = configurations, configurations * seeds[0]
        for before, after in itertools.pairwise(seeds):
            alive = self.most_alive(alive, before)
            total += alive * (after - before)
        return total + n_final

    def at_once(self, configurations: int, n_seeds: int, n_final: int, ahead: int) -> int:
        """Return how many runs of an arm can be under way at the same time, at most.

        They are the first seeds of configurations proposed `ahead`, the further seeds of a rung, or the final seeds.
        """
        if configurations == 1:
            return n_final
        seeds = self.rungs(n_seeds)
        alive, most = configurations, max(n_final, min(ahead, configurations) * seeds[0])
        for before, after in itertools.pairwise(seeds):
            alive = self.most_alive(alive, before)
            most = max(most, alive * (after - before))
        return most


class NoRace(Rule):
    """Every configuration has all seeds."""

    def rungs(self, n_seeds: int) -> list[int]:
        """Return all at once."""
        return [n_seeds]

    def survivors(self, scores: Scores, losses: Losses = NONE, fronts: Fronts = NONE) -> list[int]:
        """Return all."""
        return sorted(scores)


class Halving(Rule):
    """Rungs of 1, 2, 4, … all seeds; the better half by mean survives."""

    def rungs(self, n_seeds: int) -> list[int]:
        """Return the powers of two below the number of seeds, and that number."""
        return _doubling(n_seeds)

    def most_alive(self, alive: int, n_seeds: int) -> int:
        """Return half, rounded up."""
        return -(-alive // 2)

    def survivors(self, scores: Scores, losses: Losses = NONE, fronts: Fronts = NONE) -> list[int]:
        """Return the better half."""
        return sorted(ranked(scores, losses, fronts)[: math.ceil(len(scores) / 2)])


class Thirding(Rule):
    """Rungs of 1, 2, 4, … all seeds; after the first the best third by mean survives, then the better half."""

    def rungs(self, n_seeds: int) -> list[int]:
        """Return the powers of two below the number of seeds, and that number."""
        return _doubling(n_seeds)

    def most_alive(self, alive: int, n_seeds: int) -> int:
        """Return a third of those of one seed, half of the others, rounded up."""
        return -(-alive // (3 if n_seeds == 1 else 2))

    def survivors(self, scores: Scores, losses: Losses = NONE, fronts: Fronts = NONE) -> list[int]:
        """Return the best third or half."""
        order = ranked(scores, losses, fronts)
        return sorted(order[: self.most_alive(len(order), len(scores[order[0]]))])


class Paired(Rule):
    """A seed more a rung; who is not significantly worse than the leader survives, and who is on the front.

    The deficit to the leader is paired over seeds, its variance pooled over configurations, and tested at ALPHA
    one-sided, from two seeds on.
    """

    def rungs(self, n_seeds: int) -> list[int]:
        """Return 1, 2, 3, …, all."""
        return list(range(1, n_seeds + 1))

    def survivors(self, scores: Scores, losses: Losses = NONE, fronts: Fronts = NONE) -> list[int]:
        """Return the leader and those whose deficit is within the bound."""
        order = ranked(scores, losses, fronts)
        leader, seeds = order[0], sorted(scores[order[0]])
        n = len(seeds)
        if n < 2 or len(order) < 2:
            return sorted(order)
        deficits = {k: np.array([scores[leader][s] - scores[k][s] for s in seeds]) for k in order[1:]}
        freedom = len(deficits) * (n - 1)
        pooled = sum(float(((d - d.mean()) ** 2).sum()) for d in deficits.values()) / freedom
        from scipy.special import stdtrit

        bound = float(stdtrit(freedom, 1 - ALPHA)) * math.sqrt(pooled / n)
        return sorted([leader, *(k for k, d in deficits.items() if d.mean() <= bound or fronts.get(k) == 1)])


RULES: dict[str, Rule] = {
    "none": NoRace(),
    "halving": Halving(),
    "thirding": Thirding(),
    "paired": Paired(),
}


class Curves:
    """Curves by epoch: the values that they have there, in order, so that one more costs the same as the first."""

    def __init__(self, curves: Iterable[Sequence[float]] = ()) -> None:
        self.columns: list[list[float]] = []
        self.broken: set[int] = set()  # epochs at which some curve is no number
        for curve in curves:
            self.add(curve)

    def add(self, curve: Sequence[float]) -> None:
        """Add a curve, of any length."""
        self.columns += [[] for _ in range(len(curve) - len(self.columns))]
        for epoch, (column, value) in enumerate(zip(self.columns, curve, strict=False), 1):
            if math.isnan(value):
                self.broken.add(epoch)
            insort(column, value)

    def at(self, epoch: int) -> list[float]:
        """Return the values of those that got so far."""
        return self.columns[epoch - 1] if epoch <= len(self.columns) else []

    def quantile(self, epoch: int, share: float) -> float:
        """Return the value at an epoch that has `share` of them below it, interpolated as NumPy does."""
        column = self.at(epoch)
        place = (len(column) - 1) * share
        low, t = math.floor(place), place - math.floor(place)
        a, b = column[low], column[min(low + 1, len(column) - 1)]
        return math.nan if epoch in self.broken else b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t


class Stopping(ABC):
    """When a run ends early, given the curves of earlier configurations.

    The curves are those known when the configuration was proposed, so stopping does not depend on timing. A rule
    speaks only where at least three earlier runs got that far, and not before a ninth of the epochs is done.
    """

    share: float = 0.0

    @abstractmethod
    def judged(self, grace: int, epochs: int) -> Sequence[int]:
        """Return after which epochs a run is judged; the first that may be is `grace`."""

    def limits(self, curves: Curves | Sequence[Sequence[float]], epochs: int) -> dict[int, float]:
        """Return {epochs done: worst admissible value}."""
        told = curves if isinstance(curves, Curves) else Curves(curves)
        judged = self.judged(max(1, math.ceil(epochs / 9)), epochs)
        return {epoch: told.quantile(epoch, self.share) for epoch in judged if len(told.at(epoch)) >= 3}


class NoStopping(Stopping):
    """Every run goes to its end."""

    def judged(self, grace: int, epochs: int) -> Sequence[int]:
        """Return no epoch."""
        return ()


class Asha(Stopping):
    """At a ninth and a third of the epochs a run must reach the best third (Li et al. 2020, arXiv 1810.05934)."""

    share = 2 / 3

    def judged(self, grace: int, epochs: int) -> Sequence[int]:
        """Return the two rungs."""
        return [e for e in (grace, 3 * grace) if e < epochs]


class Median(Stopping):
    """From a ninth of the epochs on a run must reach the median of the earlier ones there (Golovin et al. 2017)."""

    share = 0.5

    def judged(self, grace: int, epochs: int) -> Sequence[int]:
        """Return every epoch but the last."""
        return range(grace, epochs)


class Once(Stopping):
    """Once, at a third of the epochs, a run must reach the median of the earlier ones there."""

    share = 0.5

    def judged(self, grace: int, epochs: int) -> Sequence[int]:
        """Return that epoch, rounded up."""
        return [e for e in (-(-epochs // 3),) if e < epochs]


STOPPINGS: dict[str, Stopping] = {
    "none": NoStopping(),
    "asha": Asha(),
    "median": Median(),
    "once": Once(),
}


def _doubling(n_seeds: int) -> list[int]:
    """Return the powers of two below the number of seeds, and that number."""
    return [*(2**i for i in range(n_seeds.bit_length()) if 2**i < n_seeds), n_seeds]


def ended_at(curve: Sequence[float], limits: Mapping[int, float]) -> int | None:
    """Return after how many epochs the limits end a run with this curve, None if they let it go on."""
    return next((e for e in sorted(limits) if e <= len(curve) and curve[e - 1] < limits[e]), None)


def ranked(scores: Scores, losses: Losses = NONE, fronts: Fronts = NONE) -> list[int]:
    """Return the configurations by front, then mean, best first, ties to the lower loss, then the lower number."""
    means = {k: float(np.mean(list(v.values()))) for k, v in scores.items()}
    return sorted(means, key=lambda k: (fronts.get(k, math.inf), -means[k], losses.get(k, math.inf), k))
