"""Racing over seeds and early stopping over epochs, a rule per class; all values are larger-is-better here."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

Scores = Mapping[int, Mapping[int, float]]  # {configuration: {seed: value}} over common seeds
NONE: Mapping[int, float] = {}


@dataclass(frozen=True)
class Rung:
    """What is known of the configurations that finished a rung, by their runs so far.

    `began` is how many there were, with those that were ended or failed; `losses` tell equal configurations apart,
    where they are known; `fronts` are 1 for what is on the front by two metrics, 2 for what is behind that, …, empty
    where there is one metric; `seconds` are what their runs took.
    """

    scores: Scores
    began: int
    losses: Mapping[int, float] = field(default_factory=dict)
    fronts: Mapping[int, float] = field(default_factory=dict)
    seconds: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def order(self) -> list[int]:
        """The configurations, best first."""
        return ranked(self.scores, self.losses, self.fronts)

    @property
    def n_seeds(self) -> int:
        """How many seeds each has."""
        return len(self.scores[self.order[0]])


class Rule(ABC):
    """Which configurations of a race earn more seeds; where one is left, the race is over."""

    by_cost = False  # seconds count

    @abstractmethod
    def rungs(self, n_seeds: int) -> list[int]:
        """Return how many seeds a configuration has at each rung."""

    @abstractmethod
    def survivors(self, rung: Rung) -> list[int]:
        """Return the configurations that earn more seeds."""

    def most_alive(self, alive: int, n_seeds: int) -> int:
        """Return how many of the configurations at a rung of so many seeds reach the next, at most."""
        return alive

    def steps(self, configurations: int, n_seeds: int) -> Iterator[tuple[int, int]]:
        """Yield how many configurations earn how many seeds more at each rung, at most."""
        alive, seeds = configurations, [0, *self.rungs(n_seeds)]
        for before, after in itertools.pairwise(seeds):
            alive = self.most_alive(alive, before) if before else alive
            if alive > 1:
                yield alive, after - before

    def runs_planned(self, configurations: int, n_seeds: int, n_final: int) -> int:
        """Return how many runs an arm takes, at most: its rungs, if there is a choice, and its final seeds."""
        return sum(alive * more for alive, more in self.steps(configurations, n_seeds)) + n_final

    def at_once(self, configurations: int, n_seeds: int, n_final: int, ahead: int) -> int:
        """Return how many runs of an arm can be under way at the same time, at most.

        They are the first seeds of configurations proposed `ahead`, the further seeds of a rung, or the final seeds.
        """
        steps = [alive * more for alive, more in self.steps(configurations, n_seeds)]
        first = min(ahead, configurations) * self.rungs(n_seeds)[0] if steps else 0
        return max(first, n_final, *steps[1:])


class NoRace(Rule):
    """Every configuration has all seeds."""

    def rungs(self, n_seeds: int) -> list[int]:
        """Return all at once."""
        return [n_seeds]

    def survivors(self, rung: Rung) -> list[int]:
        """Return all."""
        return sorted(rung.scores)


class Halving(Rule):
    """Rungs of 1, 2, 4, … all seeds; the better half by mean survives."""

    def rungs(self, n_seeds: int) -> list[int]:
        """Return the powers of two below the number of seeds, and that number."""
        return [*(2**i for i in range(n_seeds.bit_length()) if 2**i < n_seeds), n_seeds]

    def most_alive(self, alive: int, n_seeds: int) -> int:
        """Return half, rounded up."""
        return -(-alive // 2)

    def survivors(self, rung: Rung) -> list[int]:
        """Return the better half."""
        return sorted(rung.order[: self.most_alive(len(rung.order), rung.n_seeds)])


class Cost(Halving):
    """As halving, but of seconds too: survivors, taken best first, took at most half of those of the rung together.

    The best goes on whatever it took, and who does not fit is passed over.
    """

    by_cost = True

    def survivors(self, rung: Rung) -> list[int]:
        """Return the best and those of the better half that fit beside it."""
        left = sum(rung.seconds[k] for k in rung.order) / 2
        going = []
        for k in rung.order:
            if not going or rung.seconds[k] <= left:
                going.append(k)
                left -= rung.seconds[k]
        return sorted(going[: self.most_alive(len(rung.order), rung.n_seeds)])


class Elimination(Rule):
    """A seed more a rung: after the first the best third goes on, later who is level with the leader.

    That is who is behind by no more than a standard error, or on the front of two metrics; two thirds at most. The
    deficit to the leader is paired over seeds, its variance pooled over configurations. Successive elimination
    (Even-Dar et al. 2006) with the error in the place of a bound. Ended runs count among those that are out.
    """

    def rungs(self, n_seeds: int) -> list[int]:
        """Return 1, 2, 3, …, all."""
        return list(range(1, n_seeds + 1))

    def most_alive(self, alive: int, n_seeds: int) -> int:
        """Return a third of those of one seed, two thirds of the others, rounded up."""
        return -(-alive // 3) if n_seeds == 1 else -(-2 * alive // 3)

    def survivors(self, rung: Rung) -> list[int]:
        """Return the best third, or the leader and who is level with it."""
        leader, *others = rung.order[: self.most_alive(rung.began, rung.n_seeds)]
        if rung.n_seeds == 1 or not others:
            return sorted([leader, *others])
        values = np.array([[rung.scores[k][seed] for seed in sorted(rung.scores[k])] for k in rung.order])
        deficits = values[0] - values
        error = math.sqrt(deficits[1:].var(axis=1, ddof=1).mean() / rung.n_seeds)
        behind = dict(zip(rung.order, deficits.mean(axis=1), strict=True))
        return sorted([leader, *(k for k in others if behind[k] <= error or rung.fronts.get(k) == 1)])


RULES: dict[str, Rule] = {
    "none": NoRace(),
    "halving": Halving(),
    "elimination": Elimination(),
    "cost": Cost(),
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
    """Once, at two fifths of the epochs, a run must reach the median of the earlier ones there."""

    share = 0.5

    def judged(self, grace: int, epochs: int) -> Sequence[int]:
        """Return that epoch, rounded up."""
        return [e for e in (-(-2 * epochs // 5),) if e < epochs]


STOPPINGS: dict[str, Stopping] = {
    "none": NoStopping(),
    "once": Once(),
    "asha": Asha(),
    "median": Median(),
}


def ended_at(curve: Sequence[float], limits: Mapping[int, float]) -> int | None:
    """Return after how many epochs the limits end a run with this curve, None if they let it go on."""
    return next((e for e in sorted(limits) if e <= len(curve) and curve[e - 1] < limits[e]), None)


def ranked(
    scores: Scores, losses: Mapping[int, float] = NONE, fronts: Mapping[int, float] = NONE
) -> list[int]:
    """Return the configurations by front, then mean, best first, ties to the lower loss, then the lower number."""
    means = {k: float(np.mean(list(v.values()))) for k, v in scores.items()}
    return sorted(means, key=lambda k: (fronts.get(k, math.inf), -means[k], losses.get(k, math.inf), k))
