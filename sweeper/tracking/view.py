"""A study as MLflow shows it: configurations with their runs, names and aggregates, pure functions of its history."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.bridge import direction
from sweeper.ledger.history import History
from sweeper.ledger.records import Announced, Proposed, RunRecord, Selected, Shared
from sweeper.reports.statistics import mean_std

Position = tuple[str, int]  # (arm, configuration)
Point = tuple[str, float, float, int]  # (metric, value, unix time, step)

STATUS = {
    "done": "FINISHED",
    "pruned": "KILLED",
    "preempted": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}
FACTS = ("status", "stage", "seed", "epochs", "best_epoch", "host", "git", "versions", "key")
NOTE, NAME, PARENT = "mlflow.note.content", "mlflow.runName", "mlflow.parentRunId"
CURVE, GROUP = "sweeper.curve", "sweeper.name"
VIEW = "workflowType=machine_learning&viewStateShareKey"
COLUMNS = 12  # of parameters in a view, which has to fit into a tag


@dataclass(frozen=True)
class Curve:
    """A configuration's mean, least and greatest value of the selection metric by epoch, and over which seeds."""

    seeds: str
    points: list[Point]


NO_CURVE = Curve("", [])


@dataclass
class Configuration:
    """A configuration of an arm; `runs` {key: record} are those that count for it, whoever carried them out."""

    arm: str
    number: int
    label: str
    axes: Mapping[str, str]
    parameters: Mapping[str, Any]
    rule: str = ""
    settled: bool = False
    runs: dict[str, RunRecord] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The configuration's name, unique in its study."""
        return f"{self.label} #{self.number}"

    def tags(self) -> dict[str, str]:
        """Return what a reader filters and groups configurations by."""
        return {
            NAME: self.name,
            GROUP: self.name,
            **self.axes,
            "sweeper.kind": "configuration",
            "sweeper.selected": _said(self.rule),
            "sweeper.default": _said(self.number == 0),
            "sweeper.configuration": str(self.number),
            "sweeper.arm": self.arm,
            NOTE: f"Selected: {self.rule}." if self.rule else "",
        }

    def run_tags(self, record: RunRecord) -> dict[str, str]:
        """Return what a reader filters and groups runs by."""
        final, said = "final " * (record.stage == "final"), record.failure
        return {
            NAME: f"{self.name}, {final}seed {record.seed}",
            GROUP: self.name,
            **self.axes,
            "sweeper.kind": "run",
            **{f"sweeper.{name}": str(getattr(record, name)) for name in FACTS},
            "sweeper.configuration": str(self.number),
            "sweeper.arm": self.arm,
            "sweeper.error": said,
            NOTE: f"{record.status}: {said}" if said else "",
        }

    def metrics(self, plan: Announced) -> dict[str, float]:
        """Return mean, std (ddof 1) and n of the headline metrics over the finished seeds.

        On validation over the tuning seeds and, once it is selected, on test over the report seeds.
        """
        found: dict[str, float] = {}
        tests = [("final", f"test/{condition}") for condition in plan.conditions]
        seeds = {"search": plan.search.seeds, "final": plan.final.seeds}
        for stage, split in [("search", "validation"), *tests]:
            done = [r for r in self.runs.values() if r.stage == stage and r.done]
            done = [r for r in done if r.seed in seeds[stage] and split in r.metrics]
            for metric in _headlines(plan, done, split):
                values = [r.metrics[split].get(metric, math.nan) for r in done]
                values = [value for value in values if math.isfinite(value)]
                if values:
                    mean, std, n = mean_std(values)
                    of = {"mean": mean, "std": std, "n": float(n)}
                    found |= {f"{title(split, metric)}.{k}": v for k, v in of.items() if v is not None}
        return found

    def curve(self, plan: Announced) -> Curve:
        """Return the curve over the finished tuning seeds, as far as all of them have come."""
        done = [r for r in self.runs.values() if r.stage == "search" and r.done and r.curve]
        done = sorted((r for r in done if r.seed in plan.search.seeds), key=lambda r: r.seed)
        if not done:
            return NO_CURVE
        name, end = f"validation/{plan.select.metric}", max(r.started + r.seconds for r in done)
        points: list[Point] = []
        for epoch, values in enumerate(zip(*(r.curve for r in done), strict=False), start=1):
            of = {"mean": sum(values) / len(values), "min": min(values), "max": max(values)}
            points += [(f"{name}.{which}", value, end, epoch) for which, value in of.items()]
        return Curve(", ".join(str(r.seed) for r in done), points)

    def status(self, closing: bool) -> str:
        """Return FAILED if there are only failures, FINISHED once its fate is known, else if it goes on now."""
        if self.runs and all(STATUS[r.status] == "FAILED" for r in self.runs.values()):
            return "FAILED"
        return "FINISHED" if self.settled else "KILLED" if closing else "RUNNING"


def title(split: str, metric: str) -> str:
    """Return the name of a result: `accuracy.left` on validation, `test.accuracy.left`, `test.gaussian-5.accuracy`.

    Results have dots and curves slashes, because MLflow's charts make a section of whatever stands before a slash;
    what MLflow does not take in a name becomes an underscore.
    """
    place = {"validation": "", "test/clean": "test."}.get(split, f"{split}.")
    return re.sub(r"[^\w. :-]", "_", (place + metric).replace("/", "."))


def points_of(record: RunRecord, curve: Sequence[Mapping[str, float]]) -> list[Point]:
    """Return a run's metric points: results, of a search run on validation alone, what it used, curves by epoch."""
    start, seconds = record.started, record.seconds
    points: list[Point] = [
        (title(split, metric), value, start + seconds, 0)
        for split, values in sorted(record.metrics.items())
        if split == "validation" or record.stage == "final"
        for metric, value in values.items()
    ]
    used = {"seconds": seconds, "memory_mb": record.memory_mb, "gpu_memory_mb": record.gpu_memory_mb}
    points += [(f"system/{name}", value, start + seconds, 0) for name, value in used.items() if value]
    for step, epoch in enumerate(curve, start=1):
        at = start + seconds * step / len(curve)
        points += [(name, value, at, step) for name, value in epoch.items() if name != "epoch"]
    return points


def configurations(history: History) -> dict[Position, Configuration]:
    """Return the configurations of the study's present arms that were proposed, selected or run."""
    axes = {arm.key: arm.axes for arm in history.plan.arms}
    found: dict[Position, Configuration] = {}
    counted: dict[str, list[tuple[Configuration, str]]] = {}  # and the stage that the run is of here
    noted = [r for r in history.records if isinstance(r, Proposed | RunRecord | Shared) and r.arm in axes]
    for record in (*noted, *history.selected.values()):
        position = record.arm, record.configuration
        if position not in found:
            label, parameters = history.names[record.arm], getattr(record, "parameters", {})
            found[position] = Configuration(*position, label, axes[record.arm], parameters)
        for key, stage in _counting(record):
            counted.setdefault(key, []).append((found[position], stage))
    for record in history.runs.values():
        for one, stage in counted.get(record.key, ()):
            one.runs[record.key] = record if record.stage == stage else replace(record, stage=stage)
    for (arm, number), one in found.items():
        chosen = history.selected.get(arm)
        if chosen:
            mine = chosen.configuration == number
            one.rule = chosen.rule if mine else ""
            one.settled = not mine or one.runs.keys() >= set(chosen.runs.values())
    return found


def describe(plan: Announced, table: str, page: str, summary: str) -> str:
    """Return a study's description; `page` and `summary` are the experiment's address and the study run's id.

    The user interface shows the first line until the description is unfolded.
    """
    metric = plan.select.metric
    links = {
        "configurations, best first": f"{page}/runs?{VIEW}=best",
        "reported on test": f"{page}/runs?{VIEW}=reported",
        "curves over report seeds": f"{page}/runs?{VIEW}=curves&compareRunsMode=CHART",
        "table and ledger": f"{page}/runs/{summary}/artifacts?{VIEW.split('&')[0]}",
    }
    return "\n\n".join(
        [
            f"Study **{plan.study}**: " + ", ".join(f"[{text}]({link})" for text, link in links.items()),
            "A run here is a configuration, its child runs are its seeds."
            f" `{metric}.mean`, `.std` (ddof 1), `.n`: on validation over the tuning seeds;"
            f" `test.{metric}.mean`, …: on test over the report seeds.",
            table or "The table follows when the study ends.",
        ]
    )


def views(plan: Announced, found: Iterable[Configuration]) -> dict[str, str]:
    """Return saved views of the run table, as the tags in which MLflow 3.17 keeps them.

    Without one its table shows no metric at all. Columns are the headline metric on validation and under every test
    condition, then what was searched.
    """
    splits = ["validation", *(f"test/{condition}" for condition in plan.conditions)]
    names = [title(split, plan.select.metric) for split in splits]
    columns_of = [[f"metrics.`{name}.{suffix}`" for suffix in ("mean", "std", "n")] for name in names]
    validation, test = columns_of[0], [column for own in columns_of[1:] for column in own]
    values: dict[str, list[object]] = {}
    for name, value in (item for one in found for item in one.parameters.items()):
        values.setdefault(name, []).append(value)
    searched = [name for name in values if any(value != values[name][0] for value in values[name])]
    searched = [
        f"params.`{name}`" for name in sorted(searched, key=lambda name: -len(values[name]))[:COLUMNS]
    ]
    metric, configuration = plan.select.metric, "tags.`sweeper.kind` = 'configuration'"
    shared = {
        "best": _view("Configurations, best first", configuration, metric, [*validation, *test, *searched]),
        "reported": _view(
            "Reported on test", "tags.`sweeper.selected` = 'true'", metric, [*test, *validation, *searched]
        ),
        "curves": _view(
            "Curves over report seeds", "tags.`sweeper.stage` = 'final'", metric, [], **_charts(metric)
        ),
    }
    return {f"mlflow.sharedViewState.{key}": json.dumps(view) for key, view in shared.items()}


def _view(name: str, query: str, metric: str, columns: Sequence[str], **more: object) -> dict[str, object]:
    """Return a saved view of the runs that a query finds, the best by the first column on top."""
    state = {
        "searchFilter": query,
        "orderByKey": columns[0] if columns else "attributes.start_time",
        "orderByAsc": direction(metric) == "min" if columns else True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: max(90, 8 * len(column) - 40) for column in columns},
        **more,
    }
    return {"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}


def _charts(metric: str) -> dict[str, object]:
    """Return what groups runs by configuration, so that MLflow draws the mean of each and a band to the extremes."""
    name, section = f"validation/{metric}", "headline"
    chart = {
        "uuid": "headline-curve",
        "type": "LINE",
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "runsCountToCompare": 10,
        "metricKey": name,
        "selectedMetricKeys": [name],
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "selectedXAxisMetricKey": "",
        "lineSmoothness": 0,
        "useGlobalLineChartConfig": False,
        "range": {},
    }
    named = {"uuid": section, "name": "Headline metric", "display": True}
    return {
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": GROUP}]},
        "useGroupedValuesInCharts": True,
        "runsHiddenMode": "SHOWALL",
        "hideEmptyCharts": True,
        "compareRunCharts": [chart],
        "compareRunSections": [{**named, "isReordered": False, "deleted": False, "isGenerated": False}],
    }


def _counting(record: Proposed | RunRecord | Shared | Selected) -> list[tuple[str, str]]:
    """Return (key, stage) of the runs that a record says to count for its configuration."""
    if isinstance(record, Selected):
        return [(key, "final") for key in record.runs.values()]
    return [] if isinstance(record, Proposed) else [(record.key, record.stage)]


def _headlines(plan: Announced, done: Sequence[RunRecord], split: str) -> list[str]:
    """Return the metrics worth a column: the search's and the table's, by default its modalities and the gap."""
    metric = plan.select.metric.split("/")[0]
    measured = dict.fromkeys(name for r in done for name in r.metrics[split])
    own = [name for name in measured if name.startswith(f"{metric}/") and ":" not in name]
    usual = [metric, *own, *(["gap"] if "gap" in measured else [])]
    return list(dict.fromkeys([*plan.select.metrics, *(plan.layout.metrics or usual)]))


def _said(value: object) -> str:
    return "true" if value else "false"
