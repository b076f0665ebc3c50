"""A study as MLflow shows it: configurations with their runs, names and aggregates, as pure functions of records."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.bridge import direction
from sweeper.ledger.file import runs_of
from sweeper.reports.statistics import mean_std
from sweeper.study.arms import short_names

Record = Mapping[str, Any]
Place = tuple[str, int]  # (arm, configuration)
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
VIEW = "workflowType=machine_learning&viewStateShareKey"
COLUMNS = 12  # of parameters in a view, which has to fit into a tag


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
    runs: dict[str, Record] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The configuration's name, unique in its study."""
        return f"{self.label} #{self.number}"

    def tags(self) -> dict[str, str]:
        """Return what a reader filters and groups configurations by."""
        return {
            NAME: self.name,
            **self.axes,
            "sweeper.kind": "configuration",
            "sweeper.selected": _said(self.rule),
            "sweeper.default": _said(self.number == 0),
            "sweeper.configuration": str(self.number),
            "sweeper.arm": self.arm,
            NOTE: f"Selected: {self.rule}." if self.rule else "",
        }

    def run_tags(self, record: Record) -> dict[str, str]:
        """Return what a reader filters and groups runs by."""
        final, error = "final " * (record["stage"] == "final"), record.get("error")
        said = f"{error['class']}: {error['message']}" if error else ""
        return {
            NAME: f"{self.name}, {final}seed {record['seed']}",
            **self.axes,
            "sweeper.kind": "run",
            **{f"sweeper.{name}": str(record.get(name, "")) for name in FACTS},
            "sweeper.configuration": str(self.number),
            "sweeper.arm": self.arm,
            "sweeper.error": said,
            NOTE: f"{record['status']}: {said}" if error else "",
        }

    def metrics(self, plan: Record) -> dict[str, float]:
        """Return mean, std (ddof 1) and n of the headline metrics over the finished seeds.

        On validation over the tuning seeds and, once it is selected, on test over the report seeds.
        """
        found: dict[str, float] = {}
        tests = [("final", f"test/{condition}") for condition in plan["conditions"]]
        for stage, split in [("search", "validation"), *tests]:
            done = [r for r in self.runs.values() if r["stage"] == stage and r["status"] == "done"]
            done = [r for r in done if r["seed"] in plan[stage]["seeds"] and split in r["metrics"]]
            for metric in _headlines(plan, done, split):
                values = [r["metrics"][split].get(metric, math.nan) for r in done]
                values = [value for value in values if math.isfinite(value)]
                if values:
                    mean, std, n = mean_std(values)
                    of = {"mean": mean, "std": std, "n": float(n)}
                    found |= {f"{title(split, metric)}.{k}": v for k, v in of.items() if v is not None}
        return found

    def status(self, closing: bool) -> str:
        """Return FAILED if there are only failures, FINISHED once its fate is known, else if it goes on now."""
        if self.runs and all(STATUS[r["status"]] == "FAILED" for r in self.runs.values()):
            return "FAILED"
        return "FINISHED" if self.settled else "KILLED" if closing else "RUNNING"


def title(split: str, metric: str) -> str:
    """Return the name of a result: `accuracy.left` on validation, `test.accuracy.left`, `test.gaussian-5.accuracy`.

    Results have dots and curves slashes, because MLflow's charts make a section of whatever stands before a slash;
    what MLflow does not take in a name becomes an underscore.
    """
    place = {"validation": "", "test/clean": "test."}.get(split, f"{split}.")
    return re.sub(r"[^\w. :-]", "_", (place + metric).replace("/", "."))


def points_of(record: Record, curve: Sequence[Mapping[str, float]]) -> list[Point]:
    """Return a run's metric points: its results, of a search run on validation alone, then its curves by epoch."""
    start, seconds = record["started"], record["seconds"]
    points: list[Point] = [
        (title(split, metric), value, start + seconds, 0)
        for split, values in sorted(record.get("metrics", {}).items())
        if split == "validation" or record["stage"] == "final"
        for metric, value in values.items()
    ]
    for step, epoch in enumerate(curve, start=1):
        at = start + seconds * step / len(curve)
        points += [(name, value, at, step) for name, value in epoch.items() if name != "epoch"]
    return points


def plan_of(study: str, records: Iterable[Record]) -> Record:
    """Return the latest record of what the study plans."""
    return {r["study"]: r for r in records if r["kind"] == "study"}[study]


def configurations(study: str, records: Sequence[Record]) -> dict[Place, Configuration]:
    """Return the configurations of the study's present arms that were proposed, selected or run."""
    arms = {arm["key"]: arm for arm in plan_of(study, records)["arms"]}
    labels = dict(zip(arms, short_names([arm["axes"] for arm in arms.values()]), strict=True))
    ours = [r for r in records if r.get("arm") in arms]
    selected = {r["arm"]: r for r in ours if r["kind"] == "selected" and r["study"] == study}
    found: dict[Place, Configuration] = {}
    counted: dict[str, list[tuple[Configuration, str]]] = {}  # and the stage that the run is of here
    for record in (*(r for r in ours if r["kind"] in ("proposed", "run", "shared")), *selected.values()):
        arm, number = place = record["arm"], record["configuration"]
        if place not in found:
            found[place] = Configuration(arm, number, labels[arm], arms[arm]["axes"], record["parameters"])
        keys = [record["key"]] if "key" in record else record.get("runs", {}).values()
        for key in keys:
            counted.setdefault(key, []).append((found[place], record.get("stage", "final")))
    for record in runs_of(records).values():
        for one, stage in counted.get(record["key"], ()):
            one.runs[record["key"]] = {**record, "stage": stage}
    for (arm, number), one in found.items():
        if arm in selected:
            chosen = selected[arm]["configuration"] == number
            one.rule = selected[arm]["rule"] if chosen else ""
            one.settled = not chosen or one.runs.keys() >= set(selected[arm]["runs"].values())
    return found


def concerning(study: str, records: Sequence[Record]) -> list[Record]:
    """Return the records that the study's table and its outline are built from, in their order."""
    arms = {arm["key"] for arm in plan_of(study, records)["arms"]}
    noted = [r for r in records if r["kind"] in ("shared", "selected") and r["arm"] in arms]
    keys = {key for r in noted for key in r.get("runs", {"": r.get("key")}).values()}

    def concerns(record: Record) -> bool:
        if record["kind"] in ("study", "selected"):
            return record["study"] == study
        return record.get("arm") in arms or record.get("key") in keys

    return [r for r in records if concerns(r)]


def describe(plan: Record, table: str, page: str, summary: str) -> str:
    """Return a study's description; `page` and `summary` are the experiment's address and the study run's id.

    The user interface shows the first line until the description is unfolded.
    """
    metric = plan["select"]["metric"]
    links = {
        "configurations, best first": f"{page}/runs?{VIEW}=best",
        "reported on test": f"{page}/runs?{VIEW}=reported",
        "table and ledger": f"{page}/runs/{summary}/artifacts?{VIEW.split('&')[0]}",
    }
    return "\n\n".join(
        [
            f"Study **{plan['study']}**: " + ", ".join(f"[{text}]({link})" for text, link in links.items()),
            "A run here is a configuration, its child runs are its seeds."
            f" `{metric}.mean`, `.std` (ddof 1), `.n`: on validation over the tuning seeds;"
            f" `test.{metric}.mean`, …: on test over the report seeds.",
            table or "The table follows when the study ends.",
        ]
    )


def views(plan: Record, found: Iterable[Configuration]) -> dict[str, str]:
    """Return saved views of the run table, as the tags in which MLflow 3.17 keeps them.

    Without one its table shows no metric at all. Columns are the headline metric on validation and under every test
    condition, then what was searched.
    """
    splits = ["validation", *(f"test/{condition}" for condition in plan["conditions"])]
    names = [title(split, plan["select"]["metric"]) for split in splits]
    columns_of = [[f"metrics.`{name}.{suffix}`" for suffix in ("mean", "std", "n")] for name in names]
    validation, test = columns_of[0], [column for own in columns_of[1:] for column in own]
    values: dict[str, list[object]] = {}
    for name, value in (item for one in found for item in one.parameters.items()):
        values.setdefault(name, []).append(value)
    searched = [name for name in values if any(value != values[name][0] for value in values[name])]
    searched = [
        f"params.`{name}`" for name in sorted(searched, key=lambda name: -len(values[name]))[:COLUMNS]
    ]
    tags = {}
    for key, name, query, metrics in (
        ("best", "Configurations, best first", "tags.`sweeper.kind` = 'configuration'", validation + test),
        ("reported", "Reported on test", "tags.`sweeper.selected` = 'true'", test + validation),
    ):
        columns = [*metrics, *searched]
        state = {
            "searchFilter": query,
            "orderByKey": metrics[0],
            "orderByAsc": direction(plan["select"]["metric"]) == "min",
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": columns,
            "columnOrder": columns,
            "columnWidths": {column: max(90, 8 * len(column) - 40) for column in columns},
        }
        view = {"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
        tags[f"mlflow.sharedViewState.{key}"] = json.dumps(view)
    return tags


def _headlines(plan: Record, done: Sequence[Record], split: str) -> list[str]:
    """Return the metrics worth a column: the table's, by default the selection metric, its modalities, the gap."""
    metric = plan["select"]["metric"].split("/")[0]
    measured = dict.fromkeys(name for r in done for name in r["metrics"][split])
    own = [name for name in measured if name.startswith(f"{metric}/") and ":" not in name]
    usual = [metric, *own, *(["gap"] if "gap" in measured else [])]
    return list(dict.fromkeys([plan["select"]["metric"], *(plan["layout"]["metrics"] or usual)]))


def _said(value: object) -> str:
    return "true" if value else "false"
