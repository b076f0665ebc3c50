"""The planner: decides which run comes next; knows neither Ray nor torch, and no clock.

An arm passes through three stages. *Propose*: configuration k runs its first seeds; it is proposed once the first
results of 0 … k - ahead are known, so proposals depend on results and never on timing. *Race*: rung by rung,
survivors earn more seeds. *Final*: the best configuration is frozen and runs on the fresh seeds. Arms are offered in
turn, so none waits for the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.ledger.records import Record, RunRecord
from sweeper.planning.proposals import Sampler, sampler
from sweeper.planning.race import Race
from sweeper.study.arms import Arm
from sweeper.study.runs import Run
from sweeper.study.schema import Study

REPEATABLE = ("done", "pruned", "diverged")  # all would be so again


class Planner:
    """All arms of a study; `take` the next run, `settle` it with its record. `note` receives ledger records.

    `records` are the runs by key, `proposed` the configurations by arm and number, as the ledger has them. Runs that
    failed are done again. `sampled` makes the sampler of an arm.
    """

    def __init__(
        self,
        study: Study,
        arms: list[Arm],
        records: Mapping[str, RunRecord],
        proposed: Mapping[str, Mapping[int, Mapping[str, Any]]],
        note: Callable[[Record], None],
        sampled: Callable[..., Sampler] = sampler,
    ) -> None:
        self.study = study
        self.earlier = records
        self.records: dict[str, RunRecord | None] = {}
        self.taken: dict[str, Run] = {}
        self.trained: set[str] = set()
        self.training: set[str] = set()
        searching = sum(arm.size(study.search) > 1 for arm in arms)
        share = study.search.hours * 3600 / searching if study.search.hours and searching else math.inf
        self.races = [Race(study, arm, self, proposed.get(arm.key, {}), note, sampled, share) for arm in arms]
        self.turn = 0

    def take(self) -> Run | None:
        """Return a run to carry out now; None if every one that could come next waits for a result."""
        for _ in self.races:
            race = self.races[self.turn]
            self.turn = (self.turn + 1) % len(self.races)
            run = race.take()
            if run is not None:
                if run.training:
                    self.training.add(run.training)
                return run
        return None

    def settle(self, key: str, record: RunRecord) -> None:
        """Enter the record of a run that was taken."""
        self.records[key] = record
        run = self.taken.pop(key, None)
        done = run.training if run else None
        if done:
            self.trained.add(done)
            self.training.discard(done)
        for race in self.races:
            race.settle(key, trained=bool(done))

    def record(self, key: str) -> RunRecord | None:
        """Return the record of a run: of those settled, or as the ledger had it, looked up once."""
        if key not in self.records:
            found = self.earlier.get(key)
            self.records[key] = found if found and found.status in REPEATABLE else None
        return self.records[key]

    def ready(self, run: Run) -> bool:
        """Whether a run need not wait for another that does the same training now."""
        return not run.training or run.training in self.trained or run.training not in self.training

    @property
    def finished(self) -> bool:
        """Whether every arm has run all it will."""
        return all(race.stage == "over" for race in self.races)

    def planned(self) -> int:
        """Return the number of runs of the whole study, as far as it can be known now."""
        return sum(race.planned() for race in self.races)
