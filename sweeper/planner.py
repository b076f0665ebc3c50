"""The planner: decides which run comes next; knows neither Ray nor torch, and no clock.

An arm passes through three stages. *Propose*: configuration k runs its first seed; it is proposed once the first
results of 0 … k - ahead are known, so proposals depend on results and never on timing. *Race*: rung by rung,
survivors earn more seeds. *Final*: the best configuration is frozen and runs on the fresh seeds. Arms are offered in
turn, so none waits for the slowest.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.arms import Arm, Run
from sweeper.bridge import direction
from sweeper.proposals import Proposals
from sweeper.racing import epoch_limits, rungs, runs_planned, survivors
from sweeper.study import Study

Record = Mapping[str, Any]
SAME_ERROR_STOPS = 3


class Planner:
    """All arms of a study; `take` the next run, `settle` it with its record. `note` receives ledger records."""

    def __init__(
        self,
        study: Study,
        arms: list[Arm],
        records: Mapping[str, Record],
        proposed: Mapping[str, Mapping[int, Mapping[str, Any]]],
        note: Callable[[dict[str, Any]], None],
    ) -> None:
        self.study = study
        self.records = dict(records)
        self.races = [Race(study, arm, self, proposed.get(arm.key, {}), note) for arm in arms]
        self.waiting: dict[str, list[Race]] = {}
        self.turn = 0

    def take(self) -> Run | None:
        """Return a run to carry out now; None if every one that could come next waits for a result."""
        for i in range(len(self.races)):
            race = self.races[(self.turn + i) % len(self.races)]
            run = race.take()
            if run is not None:
                self.turn = (self.turn + i + 1) % len(self.races)
                return run
        return None

    def settle(self, key: str, record: Record) -> None:
        """Enter the record of a run that was taken."""
        self.records[key] = record
        for race in self.waiting.pop(key, []):
            race.settle(key)

    @property
    def finished(self) -> bool:
        """Whether every arm has run all it will."""
        return all(race.stage == "over" for race in self.races)

    def planned(self) -> int:
        """Return the number of runs of the whole study, as far as it can be known now."""
        return sum(race.planned() for race in self.races)


class Race:
    """One arm's way from proposals to reported runs; every step is a function of the records."""

    def __init__(
        self,
        study: Study,
        arm: Arm,
        planner: Planner,
        proposed: Mapping[int, Mapping[str, Any]],
        note: Callable[[dict[str, Any]], None],
    ) -> None:
        self.study, self.arm, self.planner, self.note = study, arm, planner, note
        self.proposed = proposed
        search = study.search
        self.sign = 1.0 if direction(study.select.metric) == "max" else -1.0
        self.proposals = Proposals(
            arm.space,
            arm.fixed,
            arm.defaults(),
            sampler=search.sampler,
            direction=direction(study.select.metric),
            count=search.configurations,
            seed=search.seed,
        )
        self.size = self.proposals.size()
        self.configurations: list[dict[str, Any]] = []
        self.rungs = rungs(search.racing, len(search.seeds))
        self.stage, self.rung, self.told = "propose", 0, 0
        self.alive: list[int] = []
        self.queue: deque[Run] = deque()
        self.open: dict[str, Run] = {}
        self.runs: dict[tuple[int, str, int], Run] = {}
        self.stopped = ""
        self.selected: int | None = None

    def take(self) -> Run | None:
        """Return the arm's next run that has no record yet, advancing over all that do."""
        while self.stage != "over":
            while self.queue:
                run = self.queue.popleft()
                self.runs[run.configuration, run.stage, run.seed] = run
                if self._known(run):
                    continue
                waiting = self.planner.waiting.setdefault(run.key, [])
                waiting.append(self)
                self.open[run.key] = run
                if len(waiting) == 1:
                    return run
            if not self._advance():
                return None
        return None

    def settle(self, key: str) -> None:
        """A run this arm waited for has a record now."""
        self.open.pop(key, None)
        if self.planner.records[key].get("error") and self._repeated_error():
            self.queue.clear()

    def planned(self) -> int:
        """Return how many runs the arm takes, an upper bound while racing."""
        if self.stage == "over":
            return len(self.runs)
        study = self.study
        return runs_planned(study.search.racing, self.size, len(study.search.seeds), len(study.final.seeds))

    def scores(self, configuration: int, stage: str = "search") -> dict[int, float]:
        """Return {seed: value of the selection metric on validation, larger is better} of the finished runs."""
        found = {}
        seeds = self.study.search.seeds if stage == "search" else self.study.final.seeds
        for seed in seeds:
            run = self.runs.get((configuration, stage, seed))
            record = self.planner.records.get(run.key) if run else None
            if record and record["status"] == "done":
                found[seed] = self.sign * record["metrics"]["validation"][self.study.select.metric]
        return found

    def best(self) -> tuple[int, float] | None:
        """Return (configuration, value) of the best mean so far, for the progress line."""
        means = {
            k: sum(s.values()) / len(s) for k in range(len(self.configurations)) if (s := self.scores(k))
        }
        if not means:
            return None
        k = max(means, key=lambda k: (len(self.scores(k)), means[k], -k))
        return k, self.sign * means[k]

    def _known(self, run: Run) -> bool:
        record = self.planner.records.get(run.key)
        if record is None:
            return False
        if record["status"] == "pruned":
            # counts only where today's limits would end the same curve at the same place
            limit, curve = run.limits.get(str(record["epochs"])), record["curve"]
            return limit is not None and self.sign * curve[-1] < self.sign * limit
        return True

    def _advance(self) -> bool:
        """Queue what follows from the records; False if that waits for a run."""
        if self.stopped:
            if not self.open:
                self.stage = "over"
                return True
            return False
        return {"propose": self._propose, "race": self._race, "final": self._finish}[self.stage]()

    def _propose(self) -> bool:
        search, k = self.study.search, len(self.configurations)
        if self.size == 1:
            self.configurations.append(self.proposals.ask(0))
            return self._freeze(0, "the only configuration")
        if k == self.size:
            if self.open:
                return False
            self.stage, self.alive = "race", list(range(k))
            return True
        seeds = search.seeds[: self.rungs[0]]
        while self.told <= k - search.ahead:
            runs = [self.runs[self.told, "search", seed] for seed in seeds]
            if any(run.key in self.open for run in runs):
                return False
            self._tell(self.told, [self.planner.records[run.key] for run in runs])
            self.told += 1
        if k in self.proposed:
            values = self.proposals.recall(k, dict(self.proposed[k]))
        else:
            values = self.proposals.ask(k)
            self.note({"kind": "proposed", "arm": self.arm.key, "configuration": k, "parameters": values})
        self.configurations.append(values)
        self.queue.extend(self._run(k, "search", seed) for seed in seeds)
        return True

    def _tell(self, k: int, records: list[Record]) -> None:
        """Tell Optuna the first rung of configuration k: its mean, or that it was pruned or failed."""
        metric = self.study.select.metric
        states = {record["status"] for record in records}
        if states == {"done"}:
            values = [record["metrics"]["validation"][metric] for record in records]
            self.proposals.tell(k, sum(values) / len(values), "complete")
        elif states <= {"done", "pruned"}:
            pruned = next(record for record in records if record["status"] == "pruned")
            self.proposals.tell(k, pruned["curve"][-1], "pruned", pruned["epochs"])
        else:
            self.proposals.tell(k, None, "fail")

    def _race(self) -> bool:
        if self.open:
            return False
        search = self.study.search
        done = search.seeds[: self.rungs[self.rung]]
        scores = {
            k: s
            for k in self.alive
            if len(s := {x: v for x, v in self.scores(k).items() if x in done}) == len(done)
        }
        if not scores:
            self.stopped = "no configuration finished its tuning seeds"
            return True
        if self.rung + 1 == len(self.rungs):
            best = max(scores, key=lambda k: (sum(scores[k].values()), -k))
            return self._freeze(
                best, f"best mean of {self.study.select.metric} on validation over {len(done)} tuning seeds"
            )
        self.alive = survivors(scores, search.racing)
        self.rung += 1
        new = search.seeds[len(done) : self.rungs[self.rung]]
        self.queue.extend(self._run(k, "search", seed) for seed in new for k in self.alive)
        return True

    def _freeze(self, k: int, rule: str) -> bool:
        self.selected, self.stage = k, "final"
        runs = [self._run(k, "final", seed) for seed in self.study.final.seeds]
        self.queue.extend(runs)
        self.note(
            {
                "kind": "selected",
                "study": self.study.study,
                "arm": self.arm.key,
                "axes": self.arm.axes,
                "configuration": k,
                "parameters": self.configurations[k],
                "rule": rule,
                "runs": {str(run.seed): run.key for run in runs},
            }
        )
        return True

    def _finish(self) -> bool:
        if self.open:
            return False
        self.stage = "over"
        return True

    def _run(self, k: int, stage: str, seed: int) -> Run:
        limits: dict[str, float] = {}
        search = self.study.search
        if stage == "search" and seed == search.seeds[0] and search.early_stopping != "none":
            earlier = [self.runs[i, "search", seed] for i in range(self.told)]
            records = [self.planner.records[run.key] for run in earlier]
            curves = [[self.sign * v for v in r["curve"]] for r in records if r.get("curve")]
            epochs = self.arm.payload(self.configurations[k], stage, seed)["train"]["epochs"]
            found = epoch_limits(curves, search.early_stopping, epochs)
            limits = {str(e): self.sign * v for e, v in found.items()}
        return Run(self.arm, k, self.configurations[k], stage, seed, limits)

    def _repeated_error(self) -> bool:
        records = [self.planner.records.get(run.key) for run in self.runs.values()]
        if any(r and r["status"] in ("done", "pruned") for r in records):
            return False
        errors = Counter(
            f"{r['error']['class']}: {r['error']['message']}" for r in records if r and r.get("error")
        )
        worst, count = errors.most_common(1)[0] if errors else ("", 0)
        if count >= SAME_ERROR_STOPS:
            self.stopped = f"the same error {count} times: {worst}"
        return bool(self.stopped)
