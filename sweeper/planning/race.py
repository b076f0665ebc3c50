"""One arm's way from proposals to reported runs; every step is a function of the records."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import stdev
from typing import Any, NamedTuple, Protocol

from sweeper.bridge import direction
from sweeper.ledger.records import Proposed, Record, RunRecord, Selected, Shared
from sweeper.planning.fronts import contenders, fronts
from sweeper.planning.proposals import Sampler
from sweeper.planning.racing import RULES, STOPPINGS, Curves, Rung, Scores, ended_at, ranked
from sweeper.study.arms import Arm
from sweeper.study.runs import Run
from sweeper.study.schema import Study

SAME_ERROR_STOPS = 3


class Best(NamedTuple):
    """A configuration, and its mean, std (ddof 1, None for one) and n over tuning seeds on validation."""

    configuration: int
    mean: float
    std: float | None
    n: int


class Runs(Protocol):
    """What all arms of a study share: the records so far, and the runs under way."""

    taken: dict[str, Run]

    def record(self, key: str) -> RunRecord | None:
        """Return the record of a run."""

    def ready(self, run: Run) -> bool:
        """Whether a run need not wait for another that does the same training now."""


class Race:
    """An arm from its first proposal to its last report seed."""

    def __init__(
        self,
        study: Study,
        arm: Arm,
        runs: Runs,
        proposed: Mapping[int, Mapping[str, Any]],
        note: Callable[[Record], None],
        sampled: Callable[..., Sampler],
        seconds: float = math.inf,
    ) -> None:
        self.seconds = seconds  # that its search runs may take
        self.study, self.arm, self.shared, self.proposed, self.note = study, arm, runs, proposed, note
        search, self.metric = study.search, study.select.metric
        self.metrics = [self.metric, *([arm.beside] if arm.beside else [])]
        self.directions = [direction(metric) for metric in self.metrics]
        self.sign = 1.0 if self.directions[0] == "max" else -1.0
        self.size = arm.size(search)
        space = (arm.space, arm.fixed, arm.defaults())
        self.proposals = sampled(search, *space, *self.directions)
        self.rule, self.stopping = RULES[search.racing], STOPPINGS[search.early_stopping]
        self.rungs = self.rule.rungs(len(search.seeds))
        self.stage, self.rung, self.told = "propose", 0, 0
        self.configurations: list[dict[str, Any]] = []
        self.alive: list[int] = []
        self.queue: deque[Run] = deque()
        self.runs: dict[tuple[int, str, int], Run] = {}
        self.stopped = ""
        self._open: dict[str, list[Run]] = {}
        self._waits = False  # until a record comes that could change anything
        self._sound = False  # one of its first runs did not fail
        self._curves = {seed: Curves() for seed in search.seeds}  # of those told
        self._scores: dict[int, dict[int, float]] = {}

    @property
    def open(self) -> list[Run]:
        """The runs begun that have no record yet."""
        return [run for runs in self._open.values() for run in runs]

    def take(self) -> Run | None:
        """Return the arm's next run that has no record yet, advancing over all that do."""
        run = None if self._waits else self._next()
        self._waits = run is None
        return run

    def _next(self) -> Run | None:
        while self.stage != "over":
            if not self.stopped and (error := self._same_error()):
                self.stopped = f"the same error {SAME_ERROR_STOPS} times: {error}"
                self.queue.clear()
            if self.queue:
                place = next((i for i, run in enumerate(self.queue) if self.shared.ready(run)), None)
                if place is None:
                    return None
                run = self.queue[place]
                del self.queue[place]
                if self._begin(run):
                    return run
            elif not self._advance():
                return None
        return None

    def settle(self, key: str, *, trained: bool = False) -> None:
        """A run has a record now: what waited for it goes on, or is queued again if the record does not suit it.

        What waited for a training goes on where the run was one, `trained`.
        """
        waited = self._open.pop(key, ())
        if waited or trained:
            self._waits = False
        for run in waited:
            self._scores.pop(run.configuration, None)
            if self.record(run) is None:
                self.queue.appendleft(run)
            else:
                self._share(run)

    def record(self, run: Run) -> RunRecord | None:
        """Return the run's record as its own limits show it, None if there is none that goes far enough.

        Other arms, configurations and studies share runs, and may have ended them earlier or not at all, or
        tested them under other conditions.
        """
        record = self.shared.record(run.key)
        if record is None or (record.done and not run.covered(record.metrics)):
            return None
        limits = {int(epoch): self.sign * limit for epoch, limit in run.limits.items()}
        epoch = ended_at([self.sign * value for value in record.curve], limits)
        if epoch is not None:
            return replace(record, status="pruned", epochs=epoch, curve=record.curve[:epoch])
        return None if record.status == "pruned" else record

    def planned(self) -> int:
        """Return how many runs the arm takes, an upper bound while racing."""
        if self.stage == "over":
            return len(self.runs)
        study = self.study
        return self.rule.runs_planned(self.size, len(study.search.seeds), len(study.final.seeds))

    def scores(self, configuration: int) -> dict[int, float]:
        """Return {tuning seed: value of the selection metric on validation, larger is better} of the finished runs."""
        known = self._scores.get(configuration)
        if known is None:
            places = {
                seed: self.runs.get((configuration, "search", seed)) for seed in self.study.search.seeds
            }
            found = {seed: self._value(self.record(run)) for seed, run in places.items() if run}
            known = {seed: value for seed, value in found.items() if value is not None}
            self._scores[configuration] = known
        return known

    def best(self) -> Best | None:
        """Return the best mean so far among the configurations with the most seeds, None before the first."""
        scores = {k: s for k in range(len(self.configurations)) if (s := self.scores(k))}
        if not scores:
            return None
        k = max(scores, key=lambda k: (len(scores[k]), _mean(scores[k]), -k))
        values = list(scores[k].values())
        return Best(k, self.sign * _mean(scores[k]), stdev(values) if len(values) > 1 else None, len(values))

    def _begin(self, run: Run) -> bool:
        """Enter a run; return whether it is to be carried out now."""
        self.runs[run.configuration, run.stage, run.seed] = run
        self._scores.pop(run.configuration, None)
        if self.record(run) is not None:
            self._share(run)
            return False
        self._open.setdefault(run.key, []).append(run)
        if run.key in self.shared.taken:  # another arm or configuration runs it already
            return False
        self.shared.taken[run.key] = run
        return True

    def _value(self, record: RunRecord | None) -> float | None:
        if record is None or not record.done:
            return None
        value = self.sign * record.validation[self.metric]
        return value if math.isfinite(value) else None

    def _advance(self) -> bool:
        """Queue what follows from the records; False if that waits for a run."""
        if self.stage == "propose" and not self.stopped and len(self.configurations) < self.size:
            return self._propose()
        if self._open:
            return False
        if self.stage == "final" or self.stopped:
            self.stage = "over"
        elif self.stage == "propose":
            self.stage, self.alive = "race", list(range(self.size))
        else:
            self._race()
        return True

    def _propose(self) -> bool:
        search, k = self.study.search, len(self.configurations)
        seeds = search.seeds[: self.rungs[0]]
        limited = k > 0 and math.isfinite(self.seconds)  # then what a run takes must be known
        while self.told <= max(k - search.ahead, 0 if limited else -1):
            records = self._records(self.told, seeds)
            if None in records:
                return False
            self._tell(self.told, records)
            if search.early_stopping != "none":
                for seed, record in zip(seeds, records, strict=True):
                    self._curves[seed].add([self.sign * value for value in record.curve])
            self.told += 1
        if limited and self._takes(k + 1) > self.seconds:
            self.size = k
            return True
        if k in self.proposed:
            values = dict(self.proposed[k])
            self.proposals.recall(k, values)
        else:
            values = self.proposals.ask(k)
        self.note(Proposed(arm=self.arm.key, configuration=k, parameters=values))
        self.configurations.append(values)
        if self.size == 1:
            self._freeze(0, "the only configuration")
        else:
            self.queue.extend(self._run(k, "search", seed) for seed in seeds)
        return True

    def _takes(self, size: int) -> float:
        """Return the seconds that searching among `size` configurations takes, by the runs of those told."""
        seeds = self.study.search.seeds
        told = [run for k in range(self.told) for run in self._records(k, seeds[: self.rungs[0]])]
        each = sum(run.seconds for run in told) / len(told)
        return self.rule.runs_planned(size, len(seeds), 0) * each

    def _tell(self, k: int, records: list[RunRecord]) -> None:
        """Tell the sampler the first rung of configuration k: its means, or that it was pruned or failed."""
        means = [_mean_of(metric, records) for metric in self.metrics]
        pruned = next((record for record in records if record.status == "pruned"), None)
        if None not in means:
            self.proposals.tell(k, means if len(means) > 1 else means[0], "complete")
        elif pruned and all(record.status in ("done", "pruned") for record in records):
            self.proposals.tell(k, pruned.curve[-1], "pruned", pruned.epochs)
        else:
            self.proposals.tell(k, None, "fail")

    def _race(self) -> None:
        """Freeze the best configuration of the last rung, or give the survivors of this one more seeds."""
        search = self.study.search
        n = self.rungs[self.rung]
        scores = {k: s for k in self.alive if len(s := self.scores(k)) == n}
        if not scores:
            self.stopped = "no configuration finished its tuning seeds"
            return
        losses = self._means("loss", scores)
        last = self.rung + 1 == len(self.rungs)
        if not last:
            seconds = {k: sum(run.seconds for run in self._records(k, scores[k])) for k in scores}
            rung = Rung(scores, len(self.alive), losses, self._fronts(scores), seconds)
            self.alive = self.rule.survivors(rung)
        if last or len(self.alive) == 1:
            best = ranked(scores, losses)[0] if last else self.alive[0]
            cost = ", seconds counting in the race" * self.rule.by_cost
            seeds = f"{n} tuning seed{'s' * (n > 1)}"
            self._freeze(best, f"best mean of {self.metric} on validation over {seeds}{cost}")
            return
        self.rung += 1
        more = search.seeds[n : self.rungs[self.rung]]
        self.queue.extend(self._run(k, "search", seed) for seed in more for k in self.alive)

    def _records(self, k: int, seeds: Iterable[int]) -> list[RunRecord]:
        return [self.record(self.runs[k, "search", seed]) for seed in seeds]

    def _means(self, metric: str, scores: Scores) -> dict[int, float]:
        """Return a metric's mean on validation over the seeds of their scores, of configurations that have one."""
        found = {k: _mean_of(metric, self._records(k, seeds)) for k, seeds in scores.items()}
        return {k: mean for k, mean in found.items() if mean is not None}

    def _fronts(self, scores: Scores) -> dict[int, int]:
        """Return the front of each configuration that is on one, none where the search goes by one metric."""
        if len(self.metrics) == 1:
            return {}
        one, other = (self._means(metric, scores) for metric in self.metrics)
        able = [k for k in contenders(scores, self.scores(0)) if k in other]
        return fronts({k: (one[k], other[k]) for k in able}, self.directions)

    def _freeze(self, k: int, rule: str) -> None:
        self.stage = "final"
        runs = [self._run(k, "final", seed) for seed in self.study.final.seeds]
        self.queue.extend(runs)
        self.note(
            Selected(
                study=self.study.study,
                arm=self.arm.key,
                axes=self.arm.axes,
                configuration=k,
                parameters=self.configurations[k],
                rule=rule,
                runs={run.seed: run.key for run in runs},
            )
        )

    def _run(self, k: int, stage: str, seed: int) -> Run:
        return Run(self.arm, k, self.configurations[k], stage, seed, self._limits(k, stage, seed))

    def _share(self, run: Run) -> None:
        """Note a search run that was carried out as another's, so that it counts here as well."""
        record = self.shared.record(run.key)
        place = (self.arm.key, run.configuration, run.stage)
        if run.stage == "search" and (record.arm, record.configuration, record.stage) != place:
            arm, configuration, stage = place
            self.note(Shared(arm=arm, configuration=configuration, stage=stage, seed=run.seed, key=run.key))

    def _limits(self, k: int, stage: str, seed: int) -> dict[str, float]:
        """Return where a run of the first rung may end early: told curves of the same seed are the yardstick."""
        if self.study.search.early_stopping == "none" or stage == "final" or self.rung > 0:
            return {}
        epochs = self.arm.payload(self.configurations[k], stage, seed)["train"]["epochs"]
        limits = self.stopping.limits(self._curves[seed], epochs)
        return {str(epoch): self.sign * value for epoch, value in limits.items()}

    def _same_error(self) -> str:
        """Return the error that this many of the arm's first runs ended with, before any that did not fail.

        It is looked for in the order in which runs are planned, so the answer does not depend on timing.
        """
        errors: Counter[str] = Counter()
        for run in () if self._sound else self.runs.values():
            record = self.record(run)
            if record is None or record.status in ("done", "pruned"):
                self._sound = record is not None
                break
            if record.status != "diverged":  # that says something of the configuration, not of the arm
                errors[record.failure] += 1
                if errors[record.failure] == SAME_ERROR_STOPS:
                    return record.failure
        return ""


def _mean_of(metric: str, records: Sequence[RunRecord]) -> float | None:
    """Return a metric's mean on validation, None unless all runs ended and have a finite value."""
    values = [record.validation.get(metric, math.nan) if record.done else math.nan for record in records]
    return sum(values) / len(values) if all(map(math.isfinite, values)) else None


def _mean(scores: Mapping[int, float]) -> float:
    return sum(scores.values()) / len(scores)
