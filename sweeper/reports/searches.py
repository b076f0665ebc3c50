"""Every arm's search as a study of Optuna's, for optuna-dashboard and Optuna's own plots: a view, never read back.

A trial is a configuration: COMPLETE with its mean over the tuning seeds it was given, on validation. Optuna makes the
tables; rows are written by SQL, since by Optuna each takes milliseconds.
"""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper import bridge
from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan, Proposed, RunRecord, Shared
from sweeper.planning import proposals
from sweeper.reports.plots import lines
from sweeper.reports.statistics import mean_std
from sweeper.study.space import Domain

if TYPE_CHECKING:
    import optuna

FILE = "optuna.db"
SCALARS = (str, int, float, bool, type(None))
PLOTTED = 2  # trials at least
OF_STUDY = (
    *("trials", "study_directions", "study_user_attributes", "study_system_attributes"),
    "studies",
)
TABLES = (
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
)


@dataclass(frozen=True)
class Trial:
    """A configuration as Optuna has it; `parameters` {name: (domain, value)}, `steps` the mean after each epoch.

    `values` are its means by the metrics of the search. Optuna knows steps where that is one; where there are two,
    `behind` is by how much it is behind the published defaults in the first, over common seeds.
    """

    state: str
    parameters: dict[str, tuple[Domain, Any]]
    values: Sequence[float]
    steps: list[float]
    start: float
    end: float
    attributes: dict[str, Any]
    behind: float | None = None


def trials(history: History) -> dict[str, list[Trial]]:
    """Return the configurations of each arm of a study in their order."""
    plan, seeds = history.plan, history.plan.search.seeds
    given: dict[tuple[str, int], Mapping[str, Any]] = {}
    runs: dict[tuple[str, int], dict[int, RunRecord]] = {}
    for record in history.records:
        if not isinstance(record, Proposed | RunRecord | Shared) or record.arm not in history.names:
            continue
        place = record.arm, record.configuration
        searched = not isinstance(record, Proposed) and record.stage == "search" and record.seed in seeds
        if searched and record.key in history.runs:
            runs.setdefault(place, {})[record.seed] = history.runs[record.key]
        if not isinstance(record, Shared):
            given.setdefault(place, record.parameters)
    found: dict[str, list[Trial]] = {arm.key: [] for arm in plan.arms}
    arms = {arm.key: arm for arm in plan.arms}
    for key, number in sorted(given):
        chosen = history.selected.get(key)
        own = {"configuration": number, "parameters": given[key, number]}
        if chosen and chosen.configuration == number:
            own["selected"] = chosen.rule
        place = key, number
        metrics = plan.searched_by(arms[key])
        found[key].append(_trial(arms[key], given[place], runs.get(place, {}), metrics, own))
    sign = 1 if bridge.direction(plan.select.metric) == "max" else -1
    return {
        key: [replace(one, behind=_behind(one, own[0], sign)) for one in own] if arms[key].beside else own
        for key, own in found.items()
    }


def _behind(one: Trial, defaults: Trial, sign: int) -> float | None:
    scores, reached = one.attributes["by seed"], defaults.attributes["by seed"]
    common = scores.keys() & reached.keys()
    return sign * fsum(reached[s] - scores[s] for s in sorted(common)) / len(common) if common else None


def _trial(
    arm: ArmPlan,
    values: Mapping[str, Any],
    runs: Mapping[int, RunRecord],
    metrics: Sequence[str],
    own: dict[str, Any],
) -> Trial:
    records = [runs[seed] for seed in sorted(runs)]
    statuses = {record.status for record in records}
    done = [record for record in records if record.done and record.validation.keys() >= set(metrics)]
    scores = {record.seed: [record.validation[metric] for metric in metrics] for record in done}
    if not records:
        state = "WAITING"
    elif done == records:
        state = "COMPLETE"
    else:
        state = "PRUNED" if "pruned" in statuses <= {"done", "pruned"} else "FAIL"
    found = [mean_std(values) for values in zip(*scores.values(), strict=True)]
    own |= {"n": len(scores), "std": found[0][1] if found else None}
    own |= {"by seed": {str(seed): score[0] for seed, score in scores.items()}}
    own |= {"failed": [r.failure for r in records if r.error]} if any(r.error for r in records) else {}
    rows = zip(*(r.curve for r in records if r.curve), strict=False)
    return Trial(
        state,
        dict(_searched(arm, values)),
        [mean for mean, _, _ in found] if state == "COMPLETE" else [],
        [sum(row) / len(row) for row in rows] if len(metrics) == 1 else [],
        min((r.started for r in records), default=0.0),
        max((r.started + r.seconds for r in records), default=0.0),
        own,
    )


def _searched(arm: ArmPlan, values: Mapping[str, Any]) -> Iterable[tuple[str, tuple[Domain, Any]]]:
    """Yield (name, (domain, value)) of what lies in the arm's space; a default may lie outside it."""
    for name, domains in arm.space.items():
        domain = next((own for own in domains if own.given(values)), None)
        if domain and name in values and domain.holds(values[name]):
            plain = replace(domain, choices=tuple(map(_plain, domain.choices)))
            value = _plain(values[name]) if domain.kind == "choice" else values[name]
            yield proposals.label(name, domain), (plain, value)


def _plain(choice: object) -> object:
    """Return a choice as Optuna keeps it in a database."""
    return choice if isinstance(choice, SCALARS) else json.dumps(choice)


class Searches:
    """A storage's optuna.db on its way: what it held, in memory, until it is written back whole."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._open(file if file.exists() else None)
        except Exception:  # whatever is raised for a file that is damaged or of another version
            self._open(None)

    def _open(self, file: Path | None) -> None:
        import optuna
        from sqlalchemy.pool import StaticPool

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.memory = sqlite3.connect(":memory:", check_same_thread=False)
        if file:
            with closing(sqlite3.connect(file)) as kept:
                kept.backup(self.memory)
        connection = {"creator": lambda: self.memory, "poolclass": StaticPool}
        self.storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs=connection)

    def enter(self, history: History) -> None:
        """Put a study's arms in place of what there was of it."""
        found, plan = trials(history), history.plan
        better = {"max": "MAXIMIZE", "min": "MINIMIZE"}
        with self.memory:
            self._forget(plan.study)
            numbers = {table: self._next(table) for table in ("studies", "trials")}
            for arm in plan.arms:
                study = next(numbers["studies"])
                name = name_of(history, arm.key)
                self._insert("studies", "study_id, study_name", [(study, name)])
                metrics = plan.searched_by(arm)
                ways = [(better[bridge.direction(m)], study, i) for i, m in enumerate(metrics)]
                self._insert("study_directions", "direction, study_id, objective", ways)
                names = [(study, "study:metric_names", json.dumps(metrics))]
                self._insert("study_system_attributes", "study_id, key, value_json", names)
                told = {"study": plan.study, "metric": f"{' and '.join(metrics)} on validation", **arm.axes}
                rows = [(study, key, json.dumps(value)) for key, value in told.items()]
                self._insert("study_user_attributes", "study_id, key, value_json", rows)
                self._enter(study, zip(numbers["trials"], found[arm.key], strict=False))

    def _enter(self, study: int, numbered: Iterable[tuple[int, Trial]]) -> None:
        from optuna.distributions import distribution_to_json

        for number, (key, one) in enumerate(numbered):
            times = [_time(one.start), _time(one.end)] if one.end else [None, None]
            self._insert(
                "trials",
                "trial_id, number, study_id, state, datetime_start, datetime_complete",
                [(key, number, study, one.state, *times)],
            )
            parameters = [
                (key, name, own.to_internal_repr(value), distribution_to_json(own))
                for name, (domain, value) in one.parameters.items()
                for own in [proposals.distribution(domain)]
            ]
            self._insert("trial_params", "trial_id, param_name, param_value, distribution_json", parameters)
            columns = "trial_id, objective, value, value_type"
            values = [(key, i, value, "FINITE") for i, value in enumerate(one.values)]
            self._insert("trial_values", columns, values)
            if one.behind is not None:
                constraint = [(key, f"constraints:{proposals.BEHIND}", json.dumps(one.behind))]
                self._insert("trial_system_attributes", "trial_id, key, value_json", constraint)
            steps = [(key, step, value, "FINITE") for step, value in enumerate(one.steps, start=1)]
            columns = "trial_id, step, intermediate_value, intermediate_value_type"
            self._insert("trial_intermediate_values", columns, steps)
            told = [(key, name, json.dumps(value, default=str)) for name, value in one.attributes.items()]
            self._insert("trial_user_attributes", "trial_id, key, value_json", told)

    def write(self) -> None:
        """Write the file, whole or not at all."""
        with bridge.written(self.file) as new, closing(sqlite3.connect(new)) as whole:
            self.memory.backup(whole)

    def plot(self, history: History, folder: Path) -> list[Path]:
        """Draw Optuna's plots of every arm that has results enough into a folder; return the files."""
        import optuna

        lines.prepare()
        from optuna.visualization import matplotlib as drawn

        made: list[Path] = []
        label = f"validation {history.plan.select.metric}, mean over seeds"
        for arm in history.plan.arms:
            study = optuna.load_study(study_name=name_of(history, arm.key), storage=self.storage)
            done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
            names = _varied(done)
            # of two metrics Optuna wants to be told which one to draw
            first = {"target": lambda trial: trial.values[0]} if arm.beside else {}
            shared = [name for name in names if all(name in trial.params for trial in done)]
            if len(done) < PLOTTED or not shared:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # that these plots are experimental, and how they are laid out
                ranked = list(optuna.importance.get_param_importances(study, params=shared, **first))
                shown = {
                    "history": (drawn.plot_optimization_history, []),
                    "importances": (drawn.plot_param_importances, ranked),
                    "slice": (drawn.plot_slice, names),
                    "parallel": (drawn.plot_parallel_coordinate, ranked),
                    "contour": (drawn.plot_contour, ranked[:2]),
                }
                for kind, (draw, params) in shown.items():
                    if kind == "contour" and len(params) < 2:
                        continue
                    axes = draw(study, target_name=label, **first, **({"params": params} if params else {}))
                    path = folder / f"{history.names[arm.key]} {kind}.png".replace("/", "-")
                    made.append(lines.keep(axes, path, width=3.2 * len(names) if kind == "slice" else 8.0))
        return made

    def _forget(self, study: str) -> None:
        mine = "select study_id from study_user_attributes where key = 'study' and value_json = ?"
        ids = [row[0] for row in self.memory.execute(mine, [json.dumps(study)])]
        for one in ids:
            for table in TABLES:
                within = "select trial_id from trials where study_id = ?"
                self.memory.execute(f"delete from {table} where trial_id in ({within})", [one])
            for table in OF_STUDY:
                self.memory.execute(f"delete from {table} where study_id = ?", [one])

    def _next(self, table: str) -> Iterator[int]:
        key = {"studies": "study_id", "trials": "trial_id"}[table]
        return count(self.memory.execute(f"select coalesce(max({key}), 0) + 1 from {table}").fetchone()[0])

    def _insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        places = ", ".join("?" * (columns.count(",") + 1))
        self.memory.executemany(f"insert into {table} ({columns}) values ({places})", rows)


def name_of(history: History, arm: str) -> str:
    """Return what the study of an arm is called, unique in a storage."""
    return f"{history.plan.study}: {history.names[arm]}"


def _varied(done: Sequence[optuna.trial.FrozenTrial]) -> list[str]:
    """Return the parameters that differ among the trials that have them."""
    values: dict[str, set[str]] = {}
    for name, value in (item for trial in done for item in trial.params.items()):
        values.setdefault(name, set()).add(repr(value))
    return sorted(name for name, seen in values.items() if len(seen) > 1)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "microseconds")
