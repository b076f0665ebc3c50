"""One study as the ledger tells it: a frozen view that report, figures, plan, status and MLflow share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from sweeper.ledger.file import Ledger, enter, runs_of
from sweeper.ledger.records import Announced, Record, RunRecord, Selected, Shared
from sweeper.models.errors import choose
from sweeper.study.arms import short_names


def announcements(records: Iterable[Record]) -> dict[str, Announced]:
    """Return {study: what it plans}, the latest of each."""
    return {record.study: record for record in records if isinstance(record, Announced)}


@dataclass(frozen=True)
class History:
    """A study's latest plan, and the ledger's records in their order: all of them, or those that concern the study."""

    plan: Announced
    records: Sequence[Record]

    @classmethod
    def of(cls, study: str, records: Sequence[Record]) -> Self:
        """Return the history of a study; raise UserError if the records hold no such study."""
        plans = announcements(records)
        return cls(plans[choose("study", study, plans, "the ledger")], records)

    @classmethod
    def read(cls, study: str, ledger: Ledger) -> Self:
        """Return the history of a study, reading only what concerns it; raise UserError if there is no such study."""
        plans = ledger.of(Announced, study=[study]) or ledger.of(Announced)
        plan = announcements(plans)[choose("study", study, announcements(plans), "the ledger")]
        about: dict[str, Collection[str]] = {"study": [study], "arm": [arm.key for arm in plan.arms]}
        records = ledger.of(Record, **about)
        keys = {record.key for record in records if isinstance(record, RunRecord | Shared)}
        keys |= {key for record in records if isinstance(record, Selected) for key in record.runs.values()}
        return cls(plan, ledger.of(Record, **about, key=keys))

    @cached_property
    def names(self) -> dict[str, str]:
        """A short name for each arm, by its key."""
        keys = [arm.key for arm in self.plan.arms]
        return dict(zip(keys, short_names([arm.axes for arm in self.plan.arms]), strict=True))

    @cached_property
    def runs(self) -> dict[str, RunRecord]:
        """Every run by its key: the latest, but what was done stays done."""
        return runs_of(self.records)

    @cached_property
    def latest(self) -> dict[str, RunRecord]:
        """Every run by its key: the latest, whatever came of it."""
        return {r.key: r for r in self.records if isinstance(r, RunRecord)}

    @cached_property
    def announced(self) -> set[str]:
        """The keys of all arms that the study has ever planned."""
        plans = [r for r in self.records if isinstance(r, Announced) and r.study == self.plan.study]
        return {arm.key for plan in plans for arm in plan.arms}

    @cached_property
    def selections(self) -> list[Selected]:
        """What the study has ever selected, in order."""
        return [r for r in self.records if isinstance(r, Selected) and r.study == self.plan.study]

    @cached_property
    def selected(self) -> dict[str, Selected]:
        """What is selected of each arm that is planned now."""
        return {r.arm: r for r in self.selections if r.arm in self.names}

    @cached_property
    def search_runs(self) -> list[tuple[str, int, RunRecord]]:
        """(arm, configuration, run) of the search runs that the arms used, whoever carried them out, in order."""
        found: list[tuple[str, int, RunRecord]] = []
        seeds, runs = set(self.plan.search.seeds), dict[str, RunRecord]()
        for record in self.records:
            if isinstance(record, RunRecord):
                enter(runs, record)
            counts = isinstance(record, RunRecord | Shared) and record.stage == "search"
            if counts and record.arm in self.names and record.seed in seeds:
                run = record if isinstance(record, RunRecord) else runs.get(record.key)
                if run:  # the line of a run may be one that cannot be read
                    found.append((record.arm, record.configuration, run))
        return found

    @cached_property
    def searched(self) -> dict[str, list[RunRecord]]:
        """The same runs by arm."""
        found: dict[str, list[RunRecord]] = {arm.key: [] for arm in self.plan.arms}
        for arm, _, run in self.search_runs:
            found[arm].append(run)
        return found

    @cached_property
    def tried(self) -> dict[str, dict[int, dict[int, RunRecord]]]:
        """The finished search runs of each arm, by configuration and tuning seed."""
        found: dict[str, dict[int, dict[int, RunRecord]]] = {arm.key: {} for arm in self.plan.arms}
        sizes = {arm.key: arm.size or self.plan.search.configurations for arm in self.plan.arms}
        for arm, configuration, run in self.search_runs:
            if run.done and configuration < sizes[arm]:
                found[arm].setdefault(configuration, {})[run.seed] = run
        return found

    def final(self, arm: str) -> dict[int, RunRecord]:
        """Return the finished runs of an arm's selected configuration by report seed."""
        chosen = self.selected[arm].runs if arm in self.selected else {}
        return {
            seed: self.runs[key] for seed, key in chosen.items() if key in self.runs and self.runs[key].done
        }

    def looks(self, axes: Mapping[str, str]) -> int:
        """Return how many configurations have ever been shown the test data under these axes, whatever the space."""
        shown = {
            json.dumps(record.parameters, sort_keys=True)
            for record in self.selections
            if record.axes == axes and any(self.runs[k].done for k in record.runs.values() if k in self.runs)
        }
        return len(shown)

    def errors(self, arm: str) -> str:
        """Return what went wrong in an arm of which nothing is selected, empty if nothing did."""
        found = [r.failure for r in self.runs.values() if r.arm == arm and r.error]
        if not found:
            return ""
        worst = Counter(found).most_common(1)[0][0]
        return f"nothing selected; {len(found)} runs failed, most often with {worst}"

    def concerning(self) -> list[Record]:
        """Return the records that the study's table is built from, in their order."""
        noted = [r for r in self.records if isinstance(r, Shared | Selected) and r.arm in self.names]
        keys = {key for r in noted for key in (r.runs.values() if isinstance(r, Selected) else (r.key,))}

        def concerns(record: Record) -> bool:
            if isinstance(record, Announced | Selected):
                return record.study == self.plan.study
            return record.arm in self.names or getattr(record, "key", None) in keys

        return [r for r in self.records if concerns(r)]
