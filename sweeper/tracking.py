"""MLflow as a view of the ledger: an experiment per study, in it a run per configuration, in that one per run.

Everything shown derives from the ledger and the run folders, and what is there already is found by its tags. So a
crash or a server that is away costs nothing: the missing part is written at the next pass, or at the next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import posixpath
import re
import shlex
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.bridge import UserError, choose
from sweeper.ledger import Ledger
from sweeper.statistics import mean_std
from sweeper.storage import Storage

if TYPE_CHECKING:
    from mlflow import MlflowClient

Record = Mapping[str, Any]
Place = tuple[str, int]  # (arm, configuration)
Point = tuple[str, float, float, int]  # (name, value, unix time, step)

STATUS = {
    "done": "FINISHED",
    "pruned": "KILLED",
    "preempted": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}
ARTIFACTS = ("run.json", "curve.json", "predictions.npz", "best.pt")
TABLES = ("table.html", "table.md", "table.tex", "table.csv", "study.yaml")
NOTE, NAME, PARENT = "mlflow.note.content", "mlflow.runName", "mlflow.parentRunId"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the page opens on traces of language models
CLOSE_SECONDS = 60.0
LONGEST_PAUSE = 60.0
KEEP_SECONDS = 300.0
LONGEST_TEXT = 5000  # of a tag, parameter or note, as the strictest server admits it
FACTS = (
    "key",
    "arm",
    "configuration",
    "stage",
    "seed",
    "status",
    "epochs",
    "best_epoch",
    "host",
    "git",
    "versions",
)
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # else a call to a dead server lasts minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Tracker:
    """Mirrors a study's ledger into MLflow from a thread of its own; it never raises and never holds up the study."""

    def __init__(self, study: str, storage: Storage, ledger: Ledger, uri: str | None = None) -> None:
        self.study, self.storage, self.ledger = study, storage, ledger
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage.root}/mlflow.db"
        self.error: Exception | None = None
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)

    def start(self) -> None:
        """Begin to mirror; what earlier sessions left out is replayed."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the ledger has grown."""
        self._news.set()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Wait until everything is mirrored, but no longer than `seconds`; say so if something is missing."""
        self._closing.set()
        self.wake()
        self._thread.join(seconds)
        if self._thread.is_alive() or self.error:
            reason = " ".join(str(self.error or f"not done after {seconds:.0f} s").split())[:200]
            print(
                f"MLflow at {self.uri} does not show all of study {self.study!r} yet ({reason});"
                " nothing is lost, the next start of the study adds it",
                file=sys.stderr,
            )

    def how_to_open(self) -> str:
        """Return the line that opens the user interface."""
        if self.uri.startswith("http"):
            return f"open {self.uri}"
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)} --port 5000"

    def _work(self) -> None:
        mirror, failures = None, 0
        while True:
            self._news.clear()
            closing = self._closing.is_set()
            try:
                mirror = mirror or Mirror(self.uri, self.study, self.storage)
                mirror.update(list(self.ledger.records), closing)
                self.error, failures = None, 0
            except Exception as error:  # whatever MLflow raises, the study goes on
                mirror, self.error, failures = None, error, failures + 1
            if closing:
                return
            # one pass serves all records of half a second; a server that is away is asked ever more rarely
            self._closing.wait(min(0.5 * 2**failures, LONGEST_PAUSE))
            if not failures:
                self._news.wait()


@dataclass
class Configuration:
    """A configuration of an arm as the ledger tells it; `runs` are those of its runs that have a record."""

    arm: str
    number: int
    axes: Mapping[str, str]
    parameters: Mapping[str, Any]
    rule: str = ""
    settled: bool = False
    runs: dict[str, Record] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """The tags that a reader filters and groups by."""
        return {
            **self.axes,
            "sweeper.kind": "configuration",
            "sweeper.arm": self.arm,
            "sweeper.configuration": str(self.number),
            "sweeper.default": str(self.number == 0).lower(),
            "sweeper.selected": str(bool(self.rule)).lower(),
            "sweeper.superseded": "",
            NOTE: f"Selected: {self.rule}." if self.rule else "",
        }

    def metrics(self, plan: Record) -> dict[str, float]:
        """Return mean, std (ddof 1) and n over the finished seeds, on validation and, once reported, on test."""
        found: dict[str, float] = {}
        tests = [("final", f"test/{condition}") for condition in plan["conditions"]]
        for stage, split in [("search", "validation"), *tests]:
            done = [r for r in self.runs.values() if r["stage"] == stage and r["status"] == "done"]
            done = [r for r in done if r["seed"] in plan[stage]["seeds"]]
            for metric in headlines(plan, done, split):
                values = [r["metrics"][split].get(metric, math.nan) for r in done]
                values = [value for value in values if math.isfinite(value)]
                if values:
                    name = title(split, metric)
                    mean, std, n = mean_std(values)
                    found |= {f"{name}.mean": mean, f"{name}.n": float(n)}
                    found |= {} if std is None else {f"{name}.std": std}
        return found

    def status(self, closing: bool) -> str:
        """Return FAILED if nothing but failures, FINISHED once its fate is known, else whether it goes on now."""
        if self.runs and all(STATUS[r["status"]] == "FAILED" for r in self.runs.values()):
            return "FAILED"
        return "FINISHED" if self.settled else "KILLED" if closing else "RUNNING"


def title(split: str, metric: str) -> str:
    """Return how a final metric is called: plain for validation, `test.` and a condition other than clean before it."""
    return {"validation": metric, "test/clean": f"test.{metric}"}.get(
        split, f"{split.replace('/', '.')}.{metric}"
    )


def headlines(plan: Record, done: Sequence[Record], split: str) -> list[str]:
    """Return the few metrics worth a column: the table's own, else the selection metric, per modality too, and the gap."""
    metric = plan["select"]["metric"].split("/")[0]
    measured = dict.fromkeys(name for r in done for name in r["metrics"][split])
    usual = [name for name in measured if name.startswith(f"{metric}/") or name == "gap"]
    return list(dict.fromkeys([plan["select"]["metric"], *(plan["layout"]["metrics"] or [metric, *usual])]))


def plan_of(study: str, records: Iterable[Record]) -> Record:
    """Return the latest record of what the study plans."""
    return {r["study"]: r for r in records if r["kind"] == "study"}[study]


def labels(plan: Record) -> dict[str, str]:
    """Return {arm: its method, and as many of its other axes as tell the study's arms apart}."""
    arms, shown = plan["arms"], ["method"]
    for axis in dict.fromkeys(("dataset", "fusion", *arms[0]["axes"])):
        if len({tuple(arm["axes"][a] for a in shown) for arm in arms}) == len(arms):
            break
        if len({arm["axes"][axis] for arm in arms}) > 1 and axis != "method":
            shown.append(axis)
    return {arm["key"]: ", ".join(arm["axes"][axis] for axis in shown) for arm in arms}


def configurations(study: str, records: Sequence[Record]) -> dict[Place, Configuration]:
    """Return the configurations of a study's arms, each with every run that counts for it, whoever carried it out."""
    axes = {arm["key"]: arm["axes"] for arm in plan_of(study, records)["arms"]}
    selected = {r["arm"]: r for r in records if r["kind"] == "selected" and r["study"] == study}
    found: dict[Place, Configuration] = {}
    counted: dict[str, list[Place]] = {}
    for record in (*(r for r in records if r["kind"] == "proposed"), *selected.values()):
        if record["arm"] in axes:
            place = record["arm"], record["configuration"]
            found[place] = Configuration(*place, axes[place[0]], record["parameters"], record.get("rule", ""))
            for key in record.get("runs", {}).values():
                counted.setdefault(key, []).append(place)
    for record in (r for r in records if r["kind"] == "run"):
        places = counted.get(record["key"], [])
        own = record["arm"], record["configuration"]
        if own[0] in axes:
            found.setdefault(own, Configuration(*own, axes[own[0]], record["parameters"]))
            places = [*places, own]
        for place in places:
            found[place].runs[record["key"]] = record
    for (arm, _), one in found.items():
        one.settled = arm in selected and not (one.rule and selected[arm]["runs"].values() - one.runs.keys())
    return found


def concerning(study: str, records: Sequence[Record]) -> list[Record]:
    """Return the records that the study's table and MLflow's view of it are built from, in their order."""
    arms = {arm["key"] for arm in plan_of(study, records)["arms"]}
    noted = [r for r in records if r["kind"] in ("proposed", "selected") and r["arm"] in arms]
    keys = {key for r in noted for key in r.get("runs", {}).values()}

    def concerns(record: Record) -> bool:
        if record["kind"] in ("study", "selected"):
            return record["study"] == study
        return record["arm"] in arms or record.get("key") in keys

    return [r for r in records if concerns(r)]


@dataclass
class Shown:
    """What MLflow shows of one of its runs."""

    id: str
    start: int
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Mirror:
    """One study's experiment: what MLflow shows of it, read when made, and the means to complete that."""

    def __init__(self, uri: str, study: str, storage: Storage) -> None:
        self.study, self.storage, self.client = study, storage, connect(uri)
        self.experiment = self._experiment(
            (storage.root / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
        )
        self.parents: dict[Place, Shown] = {}
        self.children: dict[tuple[str, str], Shown] = {}
        self.summary: Shown | None = None
        self.seen: dict[Place, object] = {}
        self.kept = -math.inf
        for run in runs_of(self.client, self.experiment):
            kind = run.tags.get("sweeper.kind")
            if kind == "configuration":
                self.parents[run.tags["sweeper.arm"], int(run.tags["sweeper.configuration"])] = run
            elif kind == "run" and run.status == "RUNNING":  # its writer was interrupted
                self.client.delete_run(run.id)
            elif kind == "run":
                self.children[run.tags[PARENT], run.tags["sweeper.key"]] = run
            elif kind == "study":
                self.summary = run

    def _experiment(self, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(self.study)
        if found is None:
            return self.client.create_experiment(self.study, artifacts, KIND)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def update(self, records: Sequence[Record], closing: bool) -> None:
        """Write what the ledger has and MLflow has not. Raises what MLflow raises; the mirror is then to be made anew."""
        plan, found = plan_of(self.study, records), configurations(self.study, records)
        names = labels(plan)
        for place, one in found.items():
            state = one.rule, one.status(closing), [(key, r["started"]) for key, r in one.runs.items()]
            if self.seen.get(place) != state:
                self._show(one, f"{names[one.arm]} #{one.number}", plan, closing)
                self.seen[place] = state
        announced = {
            arm["key"]
            for r in records
            if r["kind"] == "study" and r["study"] == self.study
            for arm in r["arms"]
        }
        for place, parent in self.parents.items():
            if place not in found and place[0] in announced and not parent.tags.get("sweeper.superseded"):
                name = f"{parent.tags[NAME]} (superseded)"
                tags = {NAME: name, "sweeper.superseded": "true", "sweeper.selected": "false"}
                self._change(parent, tags)
                self._end(parent, "FINISHED", time.time())
        if closing or time.monotonic() - self.kept > KEEP_SECONDS:
            self._keep(plan, records, closing, all(one.settled for one in found.values()))
            self.kept = time.monotonic()

    def _show(self, one: Configuration, name: str, plan: Record, closing: bool) -> None:
        """Bring a configuration and its runs up to date."""
        place = one.arm, one.number
        tags = one.tags | {NAME: name}
        if place not in self.parents:
            start = min((r["started"] for r in one.runs.values()), default=time.time())
            self.parents[place] = self._create(start, tags)
        parent = self.parents[place]
        for key, record in one.runs.items():
            child = self.children.get((parent.id, key))
            if child and child.start != _ms(record["started"]):  # carried out again since
                self.client.delete_run(child.id)
                child = None
            if child is None:
                self.children[parent.id, key] = self._write(record, one, parent)
        end = max((r["started"] + r["seconds"] for r in one.runs.values()), default=time.time())
        self._change(parent, tags, one.parameters, one.metrics(plan))
        self._end(parent, one.status(closing), end)

    def _write(self, record: Record, one: Configuration, parent: Shown) -> Shown:
        """Write a run; its status says so last of all."""
        start, end, folder = (
            record["started"],
            record["started"] + record["seconds"],
            self.storage.run(record["key"]),
        )
        stage, seed, error = record["stage"], record["seed"], record.get("error")
        tags = {f"sweeper.{name}": str(record[name]) for name in FACTS if name in record}
        tags |= {"sweeper.error": f"{error['class']}: {error['message']}"} if error else {}
        tags |= {
            **one.axes,
            "sweeper.kind": "run",
            PARENT: parent.id,
            NAME: f"{'final ' * (stage == 'final')}seed {seed}",
        }
        child = self._create(start, tags)
        curve = json.loads(path.read_text()) if (path := folder / "curve.json").exists() else []
        points = [
            (name, value, start + (end - start) * (i + 1) / len(curve), int(epoch.get("epoch", i + 1)))
            for i, epoch in enumerate(curve)
            for name, value in epoch.items()
            if name != "epoch" and isinstance(value, int | float)
        ]
        final = {
            title(split, name): v
            for split, values in record.get("metrics", {}).items()
            for name, v in values.items()
        }
        points += [(name, value, end, 0) for name, value in final.items()]
        self._log(child, points, record["parameters"])
        for name in ARTIFACTS:
            if (folder / name).exists():
                self.client.log_artifact(child.id, str(folder / name))
        if "trace" in record:
            self.client.log_text(child.id, record["trace"], "traceback.txt")
        self._end(child, STATUS[record["status"]], end)
        return child

    def _keep(self, plan: Record, records: Sequence[Record], closing: bool, settled: bool) -> None:
        """Keep what the table is built from, and the table, as artifacts of a run of their own."""
        folder = self.storage.study(self.study)
        files = {name: (folder / name).read_text() for name in TABLES if (folder / name).exists()}
        files["ledger.jsonl"] = "".join(json.dumps(r) + "\n" for r in concerning(self.study, records))
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
        if self.summary is None:
            self.summary = self._create(time.time(), {NAME: "study", "sweeper.kind": "study"})
        if self.summary.tags.get("sweeper.content") != digest:
            for name, text in files.items():
                self.client.log_text(self.summary.id, text, name)
            note = describe(plan, files.get("table.md"))
            self.client.set_experiment_tag(self.experiment, NOTE, note)
            self._change(self.summary, {NOTE: note, "sweeper.content": digest})
        self._end(self.summary, "FINISHED" if settled else "KILLED" if closing else "RUNNING", time.time())

    def _create(self, start: float, tags: Mapping[str, str]) -> Shown:
        tags = {name: value[:LONGEST_TEXT] for name, value in tags.items()}
        made = self.client.create_run(self.experiment, start_time=_ms(start), tags=tags)
        return Shown(made.info.run_id, _ms(start), tags=tags)

    def _change(
        self,
        run: Shown,
        tags: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Write what differs from what is shown; a parameter is written once."""
        tags = {
            name: text
            for name, value in tags.items()
            if run.tags.get(name, "") != (text := value[:LONGEST_TEXT])
        }
        params = {name: value for name, value in (params or {}).items() if _name(name) not in run.params}
        metrics = {
            name: value for name, value in (metrics or {}).items() if run.metrics.get(_name(name)) != value
        }
        self._log(run, [(name, value, time.time(), 0) for name, value in metrics.items()], params, tags)
        run.tags |= tags
        run.params |= {_name(name): str(value) for name, value in params.items()}
        run.metrics |= {_name(name): value for name, value in metrics.items()}

    def _log(
        self,
        run: Shown,
        points: Iterable[Point],
        params: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write metric points (name, value, unix time, step), parameters and tags; the client cuts them into batches."""
        from mlflow.entities import Metric, Param, RunTag

        self.client.log_batch(
            run.id,
            [Metric(_name(name), float(value), _ms(at), step) for name, value, at, step in points],
            [Param(_name(name), str(value)[:LONGEST_TEXT]) for name, value in params.items()],
            [RunTag(name, value) for name, value in (tags or {}).items()],
        )

    def _end(self, run: Shown, status: str, end: float) -> None:
        if status == run.status:
            return
        if status == "RUNNING":
            self.client.update_run(run.id, status)
        else:
            self.client.set_terminated(run.id, status, _ms(end))
        run.status = status


def describe(plan: Record, table: str | None) -> str:
    """Return the experiment's description: what it shows, and the study's table."""
    text = f"Study **{plan['study']}**: {len(plan['arms'])} arms.\n\n{table or 'The table follows at the end of the study.'}"
    return text[:LONGEST_TEXT]


def connect(uri: str) -> MlflowClient:
    """Return a client that keeps off the terminal and gives up soon."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)\b")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def runs_of(client: MlflowClient, experiment: str, query: str = "") -> Iterator[Shown]:
    """Yield what MLflow shows of an experiment's runs, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment], query, max_results=1000, page_token=token)
        for run in page:
            info, data = run.info, run.data
            yield Shown(info.run_id, info.start_time, info.status, data.params, data.tags, data.metrics)
        token = page.token
        if not token:
            return


def fetch_records(uri: str, study: str) -> list[Record]:
    """Return a study's records as MLflow keeps them, from which its table can be built anew.

    Raises UserError if the server has no such study.
    """
    client = connect(uri)
    names = {e.name: e.experiment_id for e in client.search_experiments()}
    choose("study", study, names, f"MLflow at {uri}")
    for run in runs_of(client, names[study], "tags.`sweeper.kind` = 'study'"):
        with tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(run.id, "ledger.jsonl", folder)
            return [json.loads(line) for line in Path(path).read_text().splitlines()]
    raise UserError(
        f"MLflow at {uri} has an experiment {study!r}, but no ledger in it; run the study with this server first"
    )


def _name(text: str) -> str:
    """Return a name that MLflow admits for a metric or parameter."""
    return posixpath.normpath(re.sub(r"[^/\w.\- :]", "_", text)).strip("/")[:250]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
