"""What other rules would have chosen, and at what cost: the planner itself, answered from recorded runs.

A replay is a restart of a study whose runs are all there: its configurations were proposed, in some order, and every
run has its record, which the planner ends where its limits would have. So nothing of racing, early stopping or seeds
is written twice. It takes no clock, no torch and no Ray.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import mean
from types import SimpleNamespace
from typing import Any

from sweeper.bridge import direction, is_share
from sweeper.ledger.history import History
from sweeper.ledger.records import Proposed, RunRecord, Selected, Shared
from sweeper.planning.planner import Planner
from sweeper.planning.pooled import pooled, spanned
from sweeper.planning.proposals import sampler
from sweeper.study.runs import Run
from sweeper.study.samplers import Named, words
from sweeper.study.schema import Final, Search, Select, Study
from sweeper.study.space import Space, Values

ORDERS = 24  # of seeds and configurations
RECORDED = "recorded"  # configurations are proposed in some order of their records


@dataclass(frozen=True, eq=False)
class Pool:
    """An arm of records, in an `Arm`'s place: its configurations are those that ran to their end on every seed."""

    name: str
    axes: dict[str, str]
    metric: str
    seeds: tuple[int, ...]
    configurations: tuple[Values, ...]
    records: Mapping[tuple[int, int], RunRecord]  # {(configuration, seed): its run}
    left_out: int = 0
    any_code: bool = False
    code: str = ""
    beside: str = ""

    @property
    def method(self) -> Any:  # noqa: ANN401 - in an Entry's place
        """What a run asks of its method: nothing is fitted after training."""
        return SimpleNamespace(facts={"after_training": ()})

    @property
    def key(self) -> str:
        """The arm's name."""
        return self.name

    @cached_property
    def space(self) -> Space:
        """What its configurations span."""
        return spanned(self.configurations)[0]

    @cached_property
    def fixed(self) -> Values:
        """What its configurations have in common."""
        return spanned(self.configurations)[1]

    @cached_property
    def identity(self) -> Values:
        """What tells the runs of a pool apart."""
        return {"arm": self.name, "method": {}, "stage": "", "seed": 0}

    @property
    def sign(self) -> float:
        """1 where larger is better, else -1."""
        return 1.0 if direction(self.metric) == "max" else -1.0

    @cached_property
    def epochs(self) -> int:
        """How many epochs a run has."""
        return max(record.epochs for record in self.records.values())

    @cached_property
    def grid(self) -> int:
        """How many epochs all its runs took."""
        return sum(record.epochs for record in self.records.values())

    @cached_property
    def means(self) -> list[float]:
        """The mean of the metric over all seeds by configuration, larger is better; -inf where a run has none."""

        def value(record: RunRecord) -> float:
            found = self.sign * record.validation.get(self.metric, math.nan) if record.done else math.nan
            return found if math.isfinite(found) else -math.inf

        return [
            sum(value(self.records[k, seed]) for seed in self.seeds) / len(self.seeds)
            for k in range(len(self.configurations))
        ]

    def defaults(self) -> Values:
        """Return configuration 0."""
        return self.configurations[0]

    def size(self, search: Search) -> int:
        """Return how many configurations are tried."""
        return min(search.configurations, len(self.configurations))

    def tested(self, stage: str) -> list[str]:
        """Return no condition."""
        return []

    def payload(self, parameters: Mapping[str, Any], stage: str, seed: int) -> Values:
        """Return what tells a run apart."""
        return {
            **self.identity,
            "method": dict(parameters),
            "stage": stage,
            "seed": seed,
            "train": {"epochs": self.epochs},
        }

    def run(self, k: int, seed: int) -> Run:
        """Return the search run of a configuration."""
        return Run(self, k, self.configurations[k], "search", seed)


@dataclass(frozen=True)
class Rule:
    """What is tried: a sampler over the pool, or the order of records; how many configurations and seeds, 0 for all."""

    racing: str = "none"
    early_stopping: str = "none"
    sampler: Named = RECORDED
    configurations: int = 0
    seeds: int = 0

    @property
    def words(self) -> list[str]:
        """The rule as the first cells of a row."""
        named = RECORDED if self.sampler == RECORDED else words(self.sampler)
        budget = [str(n or "all") for n in (self.configurations, self.seeds)]
        return [named, self.racing, self.early_stopping, *budget]


@dataclass(frozen=True)
class Outcome:
    """What one replay of an arm chose: its configuration, the epochs and seconds it took, the points it lost by it."""

    chosen: int
    epochs: int
    seconds: float
    regret: float


@dataclass(frozen=True)
class Replays:
    """What a rule did in every arm."""

    rule: Rule
    outcomes: Mapping[Pool, Sequence[Outcome]]

    @property
    def saved(self) -> float:
        """The share saved of the epochs of all runs, a mean over arms."""
        return mean(1 - mean(o.epochs for o in own) / pool.grid for pool, own in self.outcomes.items())

    @property
    def seconds_saved(self) -> float:
        """The share saved of their seconds, a run's spread evenly over its epochs."""
        return mean(
            1 - mean(o.seconds for o in own) / sum(r.seconds for r in pool.records.values())
            for pool, own in self.outcomes.items()
        )

    @property
    def regret(self) -> float:
        """The mean over arms of the mean regret over orders, in points."""
        return mean(_points(pool) * mean(o.regret for o in own) for pool, own in self.outcomes.items())

    @property
    def worst(self) -> float:
        """The largest regret of all, in points."""
        return max(_points(pool) * o.regret for pool, own in self.outcomes.items() for o in own)

    @property
    def figures(self) -> list[str]:
        """The figures as cells of a row."""
        shares = [f"{100 * share:.1f} %" for share in (self.saved, self.seconds_saved)]
        lost = [f"{self.regret:.3f}", f"{self.worst:.2f}"]
        return [*shares, *lost, str(len(self.outcomes)), str(len(next(iter(self.outcomes.values()))))]


def _points(pool: Pool) -> float:
    """Return what a regret is multiplied by: shares are told in points of a hundred."""
    return 100.0 if is_share(pool.metric) else 1.0


def pools(history: History) -> list[Pool]:
    """Return the arms of a study that have at least two configurations with a whole run on every tuning seed."""
    plan, found = history.plan, []
    parameters: dict[tuple[str, int], Values] = {}
    runs: dict[tuple[str, int, int], RunRecord] = {}
    for record in history.records:
        if isinstance(record, Proposed):
            parameters[record.arm, record.configuration] = record.parameters
        elif isinstance(record, RunRecord | Shared) and record.stage == "search":
            run = history.runs.get(record.key)
            if run and run.status in ("done", "diverged"):
                runs[record.arm, record.configuration, record.seed] = run
    for arm in plan.arms:
        proposed = {k: values for (key, k), values in sorted(parameters.items()) if key == arm.key}
        seeds = tuple(plan.search.seeds)
        whole = [k for k in proposed if all((arm.key, k, seed) in runs for seed in seeds)]
        if len(whole) < 2:
            continue
        pool = Pool(
            name=f"{plan.study}/{history.names[arm.key]}",
            axes=arm.axes,
            metric=plan.select.metric,
            seeds=seeds,
            configurations=tuple(proposed[k] for k in whole),
            records={(i, seed): runs[arm.key, k, seed] for i, k in enumerate(whole) for seed in seeds},
            left_out=len(proposed) - len(whole),
        )
        if pool.grid and math.isfinite(max(pool.means)):
            found.append(pool)
    return found


def search_of(pool: Pool, rule: Rule, order: int) -> tuple[Search, list[int]]:
    """Return a search by a rule, and the order in which the configurations of a pool are proposed, the first first.

    The orders of the seeds are gone through in turn, those of the configurations drawn.
    """
    draw = random.Random(f"{pool.name}/{order}")
    of_seeds = list(itertools.islice(itertools.permutations(pool.seeds), 1000))
    random.Random(pool.name).shuffle(of_seeds)
    rest = list(range(1, len(pool.configurations)))
    draw.shuffle(rest)
    search = Search(
        configurations=min(rule.configurations or len(rest) + 1, len(rest) + 1),
        seeds=list(of_seeds[order % len(of_seeds)])[: rule.seeds or None],
        sampler=rule.sampler if rule.sampler != RECORDED else "random",
        racing=rule.racing,
        early_stopping=rule.early_stopping,
        seed=order,
    )
    return search, [0, *rest]


def replay(pool: Pool, rule: Rule, order: int = 0) -> Outcome:
    """Let the planner carry out a search of a pool by a rule."""
    search, numbers = search_of(pool, rule, order)
    study = Study(
        study="replay",
        dataset=[{"name": "recorded"}],
        methods=[{"name": "recorded"}],
        search=search,
        select=Select(metric=pool.metric),
        final=Final(seeds=[-1]),
    )
    records = {pool.run(k, seed).key: pool.records[k, seed] for k in numbers for seed in search.seeds}
    noted: list[Selected] = []

    def note(record: object) -> None:
        if isinstance(record, Selected):
            noted.append(record)

    recorded = {pool.key: {i: pool.configurations[k] for i, k in enumerate(numbers)}}
    planner = Planner(
        study,
        [pool],
        records,
        recorded if rule.sampler == RECORDED else {},
        note,
        partial(pooled, pool.configurations) if rule.sampler != RECORDED else sampler,
    )
    planner.take()
    race = planner.races[0]
    used = {run.key: run for run in race.runs.values() if run.stage == "search"}
    spent = [(race.record(run), records[run.key]) for run in used.values()]
    chosen = pool.configurations.index(noted[0].parameters) if noted else 0
    return Outcome(
        chosen=chosen,
        epochs=sum(seen.epochs for seen, _ in spent),
        seconds=sum(whole.seconds * seen.epochs / max(whole.epochs, 1) for seen, whole in spent),
        regret=max(pool.means) - pool.means[chosen],
    )


def replays(arms: Sequence[Pool], rule: Rule, orders: int = ORDERS) -> Replays:
    """Return what a rule would have done with each of these arms, in so many orders."""
    return Replays(rule, {pool: [replay(pool, rule, order) for order in range(orders)] for pool in arms})


def table(found: Sequence[Replays], form: str = "md") -> str:
    """Return a row for each rule: what it saved of the epochs and seconds of all runs, what it lost, of how many."""
    columns = ("epochs saved", "seconds saved", "mean regret", "worst regret", "arms", "orders")
    head = ["sampler", "racing", "early stopping", "configurations", "seeds", *columns]
    rows = [[*one.rule.words, *one.figures] for one in found]
    if form == "csv":
        return "\n".join(",".join(row) for row in [head, *rows])
    rule = [":---"] * 3 + ["---:"] * (len(head) - 3)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def told(arms: Sequence[Pool]) -> str:
    """Return how the table is read: what was recorded, what is saved and lost, what was left out."""
    sizes = sorted({(len(pool.configurations), len(pool.seeds), pool.epochs) for pool in arms})
    recorded = "; ".join(f"{k} configurations × {s} seed{'s' * (s > 1)} × {e} epochs" for k, s, e in sizes)
    left = sum(pool.left_out for pool in arms)
    return (
        f"Recorded: {len(arms)} arms of {recorded}. Saved: of all their epochs and seconds. Regret: points of"
        " validation mean over all seeds below the best configuration; where nothing is chosen the first counts."
        + (f" Left out: {left} configurations without a whole run on every seed." if left else "")
    )
