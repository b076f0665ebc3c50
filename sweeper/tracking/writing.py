"""MLflow as a view of the ledger: an experiment per study, in it a run per configuration, with a child for each run.

All that is shown derives from the ledger and the run folders, and what is there already is found by its tags. So a
crash or a server that is away costs nothing: the missing part is written at the next pass, or at the next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
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

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import Record, RunRecord, typed
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError, choose, masked, one_line
from sweeper.tracking import view
from sweeper.tracking.view import NAME, NOTE, PARENT, STATUS, VIEW, Configuration, Point, Position

if TYPE_CHECKING:
    from mlflow import MlflowClient

Values = Mapping[str, Any]

NOTHING: Values = {}
ARTIFACTS = ("run.json", "curve.json", "predictions*.npz", "best.pt")
CLOSE_SECONDS = 60.0
PAUSE_SECONDS = (0.5, 0.0002)  # between passes, and more per record, so that passes over many cost no more
KEEP_SECONDS = 300.0  # between uploads of the ledger
FAILURES = 3  # in one pass, until the server is held to be away
LONGEST_TEXT = 5000  # what every server admits for a tag
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # else a call to a dead server lasts minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Tracker:
    """Mirrors a study's ledger into MLflow from its own thread; it never raises and never holds up the study."""

    def __init__(self, study: str, storage: Storage, ledger: Ledger, uri: str | None = None) -> None:
        self.study, self.storage, self.ledger = study, storage, ledger
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{storage.root}/mlflow.db"
        self.page = ""
        self.where = masked(self.uri)  # a password is not for the terminal
        self.error: Exception | None = None
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)

    def start(self) -> None:
        """Begin to mirror, unless that has begun; what earlier sessions left out is replayed."""
        if not self._thread.ident:
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
            reason = one_line(self.error or f"not done after {seconds:.0f} s")[:200]
            lack = f"MLflow at {self.where} lacks a part of study {self.study!r}"
            print(f"{lack} ({reason}); the next start of the study adds it", file=sys.stderr)

    def how_to_open(self) -> str:
        """Return the line that opens the user interface, and where in it the study is."""
        if self.uri.startswith("http"):
            return f"{self.where.rstrip('/')}/{self.page}"
        command = f"mlflow ui --backend-store-uri {shlex.quote(self.where)} --port 5000"
        return f"{command}  # then open http://localhost:5000/{self.page}"

    def _work(self) -> None:
        mirror, records, failures = None, [], 0
        while True:
            self._news.clear()
            closing = self._closing.is_set()
            try:
                mirror = mirror or Mirror(self.uri, self.study, self.storage)
                self.page = f"{mirror.page}/runs?{VIEW}=best"
                records = History.read(self.study, self.ledger).records
                mirror.update(records, closing)
                self.error, failures = None, 0
            except Exception as error:  # whatever MLflow raises, the study goes on
                mirror, self.error, failures = None, error, failures + 1
            if closing:
                return
            pause = PAUSE_SECONDS[0] + PAUSE_SECONDS[1] * len(records)
            self._closing.wait(pause * 2 ** min(failures, 7))  # a dead server is asked ever more rarely
            if not failures:
                self._news.wait()


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
    """One study's experiment: what MLflow shows of it, read at first, and what it takes to complete that."""

    def __init__(self, uri: str, study: str, storage: Storage) -> None:
        make(uri)
        self.study, self.storage, self.client = study, storage, connect(uri)
        own = "sql" in uri.split(":")[0]  # a database, unlike a server, has no place for artifacts
        place = (storage.root / "mlartifacts").as_uri() if own else None
        found = self.client.get_experiment_by_name(study)
        self.experiment = found.experiment_id if found else self.client.create_experiment(study, place)
        if found and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(self.experiment)
        self.page = f"#/experiments/{self.experiment}"
        self.parents: dict[Position, Shown] = {}
        self.children: dict[tuple[str, str], Shown] = {}  # by (parent's id, key)
        self.summary: Shown | None = None
        self.seen: dict[Position, object] = {}
        self.kept = float("-inf")
        for run in runs_of(self.client, self.experiment, "tags.`sweeper.kind` != 'run'"):
            if run.tags["sweeper.kind"] == "study":
                self.summary = run
            else:
                self.parents[run.tags["sweeper.arm"], int(run.tags["sweeper.configuration"])] = run
        parents = {parent.id for parent in self.parents.values()}
        for run in list(runs_of(self.client, self.experiment, "tags.`sweeper.kind` = 'run'")):
            place = run.tags[PARENT], run.tags["sweeper.key"]
            if run.status == "RUNNING" or place in self.children or place[0] not in parents:
                self.client.delete_run(run.id)  # half written, a duplicate, or without its parent
            else:
                self.children[place] = run

    def update(self, records: Sequence[Record], closing: bool) -> None:
        """Write what the ledger has and MLflow has not; raises whatever went wrong, after trying the rest."""
        history = History.of(self.study, records)
        found = view.configurations(history)
        failures: list[Exception] = []
        for position, one in found.items():
            state = one.rule, one.status(closing), [(key, r.started) for key, r in one.runs.items()]
            try:
                if self.seen.get(position) != state and len(failures) < FAILURES:
                    self._show(position, one, history, closing)
                    self.seen[position] = state
            except Exception as error:
                failures.append(error)
        self._retire(history, found)
        if closing or time.monotonic() > self.kept + KEEP_SECONDS:
            self._keep(history, found, closing)
            self.kept = time.monotonic()
        if failures:
            raise failures[0]

    def _show(self, position: Position, one: Configuration, history: History, closing: bool) -> None:
        """Bring a configuration and its runs up to date."""
        if position not in self.parents:
            start = min((r.started for r in one.runs.values()), default=time.time())
            self.parents[position] = self._create(start, one.tags())
        parent = self.parents[position]
        for key, record in one.runs.items():
            child = self.children.get((parent.id, key))
            if child and child.start == _ms(record.started):
                self._change(child, one.run_tags(record))
                continue
            if child:  # it was carried out again since
                self.client.delete_run(child.id)
            self.children[parent.id, key] = self._write(record, {**one.run_tags(record), PARENT: parent.id})
        self._change(parent, one.tags(), one.parameters, one.metrics(history.plan))
        ends = [r.started + r.seconds for r in one.runs.values()]
        self._end(parent, one.status(closing), max(ends, default=time.time()))

    def _write(self, record: RunRecord, tags: Values) -> Shown:
        """Write a run, its results, curves and files; it counts as running until all is there."""
        curve = self.storage.curve(record.key)
        child = self._create(record.started, tags)
        self._log(child, record.parameters, view.points_of(record, curve))
        with self.storage.lend(self.storage.run(record.key)) as folder:
            for path in sorted(path for name in ARTIFACTS for path in folder.glob(name)):
                self.client.log_artifact(child.id, str(path))
        if record.trace:
            self.client.log_text(child.id, record.trace, "traceback.txt")
        self._end(child, STATUS[record.status], record.started + record.seconds)
        return child

    def _retire(self, history: History, found: Mapping[Position, Configuration]) -> None:
        """Mark what an earlier version of this study file showed."""
        for position, parent in self.parents.items():
            if (
                position not in found
                and position[0] in history.announced
                and parent.tags["sweeper.kind"] != "superseded"
            ):
                name = f"{parent.tags[NAME]} (superseded)"
                self._change(parent, {NAME: name, "sweeper.kind": "superseded", "sweeper.selected": "false"})
                self._end(parent, parent.status.replace("RUNNING", "KILLED"), time.time())

    def _keep(self, history: History, found: Mapping[Position, Configuration], closing: bool) -> None:
        """Keep the study's files, its table above all, and the records they derive from, in a run of its own."""
        folder = self.storage.study(self.study)
        ledger = "".join(json.dumps(record.raw()) + "\n" for record in history.concerning())
        files = sorted(path for path in folder.glob("*") if path.is_file())
        content = b"".join([ledger.encode(), *(path.read_bytes() for path in files)])
        digest = hashlib.sha256(content).hexdigest()
        if self.summary is None:
            self.summary = self._create(time.time(), {NAME: "study", "sweeper.kind": "study"})
        if self.summary.tags.get("sweeper.content") != digest:
            self.client.log_text(self.summary.id, ledger, "ledger.jsonl")
            for path in files:
                self.client.log_artifact(self.summary.id, str(path))
            table = path.read_text() if (path := folder / "table.md").exists() else ""
            note = view.describe(history.plan, table, self.page, self.summary.id)[:LONGEST_TEXT]
            for name, text in {NOTE: note, **view.views(history.plan, found.values())}.items():
                self.client.set_experiment_tag(self.experiment, name, text)
            self._change(self.summary, {NOTE: note, "sweeper.content": digest})
        settled = all(one.settled for one in found.values())
        self._end(self.summary, "FINISHED" if settled else "KILLED" if closing else "RUNNING", time.time())

    def _create(self, start: float, tags: Values) -> Shown:
        tags = {name: value[:LONGEST_TEXT] for name, value in tags.items() if value}
        made = self.client.create_run(self.experiment, _ms(start), tags)
        return Shown(made.info.run_id, _ms(start), tags=tags)

    def _change(self, run: Shown, tags: Values, params: Values = NOTHING, metrics: Values = NOTHING) -> None:
        """Write what differs from what is shown; a parameter never changes."""
        tags = {k: text for k, v in tags.items() if run.tags.get(k, "") != (text := v[:LONGEST_TEXT])}
        params = {k: v for k, v in params.items() if _name(k) not in run.params}
        metrics = {k: v for k, v in metrics.items() if run.metrics.get(_name(k)) != v}
        self._log(run, params, [(k, v, time.time(), 0) for k, v in metrics.items()], tags)
        run.tags |= tags
        run.params |= {_name(k): str(v) for k, v in params.items()}
        run.metrics |= {_name(k): v for k, v in metrics.items()}

    def _log(self, run: Shown, params: Values, points: Iterable[Point], tags: Values = NOTHING) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(_name(name), float(value), _ms(at), step) for name, value, at, step in points]
        params = [Param(_name(name), str(value)[:LONGEST_TEXT]) for name, value in params.items()]
        self.client.log_batch(run.id, metrics, params, [RunTag(name, value) for name, value in tags.items()])

    def _end(self, run: Shown, status: str, end: float) -> None:
        if status == "RUNNING" != run.status:
            self.client.update_run(run.id, status)
        elif status != run.status:
            self.client.set_terminated(run.id, status, _ms(end))
        run.status = status


def connect(uri: str) -> MlflowClient:
    """Return a client that keeps off the terminal and gives up soon."""
    os.environ.update({**ENVIRONMENT, **os.environ})
    warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)\b")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def make(uri: str) -> None:
    """Make the database of a URI if it is not there; in place once it is whole, as half of one would be for ever."""
    file = Path(uri.partition("sqlite:///")[2])
    if file.suffix != ".db" or file.exists():
        return
    whole = file.with_name(f"{file.name}.new")
    whole.unlink(missing_ok=True)
    connect(f"sqlite:///{whole}")
    whole.replace(file)


def runs_of(client: MlflowClient, experiment: str, query: str) -> Iterator[Shown]:
    """Yield what MLflow shows of the runs of an experiment that a query finds."""
    token: str | None = ""
    while token is not None:
        page = client.search_runs([experiment], query, max_results=1000, page_token=token or None)
        for info, data in ((run.info, run.data) for run in page):
            yield Shown(info.run_id, info.start_time, info.status, data.params, data.tags, data.metrics)
        token = page.token or None


def fetch_records(uri: str, study: str) -> list[Record]:
    """Return a study's records as MLflow keeps them, enough for its table; raise UserError if it has none."""
    file = uri.partition("sqlite:///")[2]
    if file and not Path(file).exists():
        raise UserError(f"there is no MLflow database {file!r}; give the URI of one that a study has written")
    told = masked(uri)
    try:
        client = connect(uri)
        experiments = {e.name: e.experiment_id for e in client.search_experiments()}
    except Exception as error:  # whatever MLflow raises
        raise UserError(f"MLflow at {told} cannot be read ({one_line(error)[:200]})") from error
    choose("study", study, experiments, f"MLflow at {told}")
    for run in runs_of(client, experiments[study], "tags.`sweeper.kind` = 'study'"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(client.download_artifacts(run.id, "ledger.jsonl", folder))
            return [typed(json.loads(line)) for line in path.read_text().splitlines()]
    raise UserError(f"experiment {study!r} of MLflow at {told} holds no ledger; no study has written it")


def _name(text: str) -> str:
    return re.sub(r"[^/\w.\- :]", "_", text)[:250]  # as MLflow wants metrics and parameters to be called


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
