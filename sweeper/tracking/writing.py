"""MLflow as a view of the ledger: an experiment per study, in it a run per configuration, with a child for each run.

All that is shown derives from the ledger and the run folders, and what is there already is found by its tags. So a
crash or a server that is away costs nothing: the missing part is written at the next pass, or at the next start.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import Record, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import masked, one_line
from sweeper.running.watched import RunState
from sweeper.tracking import predictions, view
from sweeper.tracking.connection import SERVED, Artifacts, Shown, connect, embedded, make, runs_of, uri_of
from sweeper.tracking.live import Live
from sweeper.tracking.view import CURVE, NAME, NOTE, PARENT, STATUS, VIEW, Configuration, Point, Position

Values = Mapping[str, Any]

NOTHING: Values = {}
ARTIFACTS = ("run.json", "curve.json", "predictions*.npz", "best.pt")
PREDICTIONS, CONFUSION = "predictions.json", "confusion.html"
OF_STUDY = ("*", "figures/*")
KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # as MLflow calls what is not about language models
CLOSE_SECONDS = 60.0
PAUSE_SECONDS = (0.5, 0.0002)  # between passes, and more per record, so that passes over many cost no more
KEEP_SECONDS = 300.0  # between uploads of the ledger
FAILURES = 3  # in one pass, until the server is held to be away
LONGEST_TEXT = 5000  # what every server admits for a tag


class Tracker:
    """Mirrors a study's ledger into MLflow from its own thread; it never raises and never holds up the study."""

    def __init__(
        self,
        study: str,
        storage: Storage,
        ledger: Ledger,
        uri: str | None = None,
        under_way: Callable[[], Iterable[RunState]] = tuple,
    ) -> None:
        self.study, self.storage, self.ledger, self.under_way = study, storage, ledger, under_way
        self.uri = uri or uri_of(storage)
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
        command = f"sweeper ui --storage {shlex.quote(self.storage.address(self.storage.root))}"
        if self.uri != embedded(self.storage):
            command = f"MLFLOW_TRACKING_URI={shlex.quote(self.where)} {command}"
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
                mirror.update(records, closing, () if closing else self.under_way())
                self.error, failures = None, 0
            except Exception as error:  # whatever MLflow raises, the study goes on
                mirror, self.error, failures = None, error, failures + 1
            if closing:
                return
            pause = PAUSE_SECONDS[0] + PAUSE_SECONDS[1] * len(records)
            self._closing.wait(pause * 2 ** min(failures, 7))  # a dead server is asked ever more rarely
            if not failures:
                self._news.wait()


class Mirror:
    """One study's experiment: what MLflow shows of it, read at first, and what it takes to complete that."""

    def __init__(self, uri: str, study: str, storage: Storage) -> None:
        make(uri)
        self.study, self.storage, self.client = study, storage, connect(uri)
        self.artifacts = Artifacts.of(self.client, uri)
        place = None  # of artifacts: a server knows one, a database does not
        if self.artifacts.folder:
            place = SERVED
        elif "sql" in uri.split(":")[0]:
            place = (storage.root / "mlartifacts").as_uri()
        found = self.client.get_experiment_by_name(study)
        self.experiment = found.experiment_id if found else self.client.create_experiment(study, place, KIND)
        if found and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(self.experiment)
        self.page = f"#/experiments/{self.experiment}"
        self.parents: dict[Position, Shown] = {}
        self.children: dict[tuple[str, str], Shown] = {}  # by (parent's id, key)
        self.summary: Shown | None = None
        self.seen: dict[Position, object] = {}
        self.kept = float("-inf")
        self.live = Live(storage, self._create, self._log, self.client.delete_run)
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

    def update(self, records: Sequence[Record], closing: bool, under_way: Iterable[RunState] = ()) -> None:
        """Write what the ledger has and MLflow has not, and how far the runs under way are.

        Raises whatever went wrong, after trying the rest.
        """
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
        self.live.update(under_way, self.parents)
        if closing or time.monotonic() > self.kept + KEEP_SECONDS:
            self._keep(history, found, closing)
            self.kept = time.monotonic()
        if failures:
            raise failures[0]

    def _show(self, position: Position, one: Configuration, history: History, closing: bool) -> None:
        """Bring a configuration and its runs up to date."""
        parent, curve = self.parents.get(position), one.curve(history.plan) if one.settled else view.NO_CURVE
        if parent and parent.tags.get(CURVE, curve.seeds) != curve.seeds:
            self._forget(parent)  # as points stay, its curve over other seeds would be drawn over the first
            del self.parents[position]
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
        if curve.seeds and CURVE not in parent.tags:
            self._log(parent, NOTHING, curve.points, {CURVE: curve.seeds})
            parent.tags[CURVE] = curve.seeds
        if one.rule and one.settled:
            self._confuse(parent, one)
        ends = [r.started + r.seconds for r in one.runs.values()]
        self._end(parent, one.status(closing), max(ends, default=time.time()))

    def _write(self, record: RunRecord, tags: Values) -> Shown:
        """Write a run, its results, curves and files; it counts as running until all is there."""
        curve = self.storage.curve(record.key)
        child = self._create(record.started, tags)
        self._log(child, record.parameters, view.points_of(record, curve))
        with self.storage.lend(self.storage.run(record.key)) as folder:
            for path in sorted(path for name in ARTIFACTS for path in folder.glob(name)):
                self.artifacts.add(child, path, link=True)
            if record.stage == "final" and record.done:
                self._preview(child, predictions.read(folder))
        if record.trace:
            self.artifacts.add_text(child, record.trace, "traceback.txt")
        self._end(child, STATUS[record.status], record.started + record.seconds)
        return child

    def _preview(self, run: Shown, found: Mapping[str, predictions.Arrays]) -> None:
        """Write a final run's predictions as MLflow's pages show them."""
        if text := predictions.table(found):
            self.artifacts.add_text(run, text, PREDICTIONS)
            listed = json.dumps([{"path": PREDICTIONS, "type": "table"}])
            self._change(run, {"mlflow.loggedArtifacts": listed})
        squares = {f"test, {name}": predictions.confusion(arrays) for name, arrays in found.items()}
        if text := predictions.page(squares):
            self.artifacts.add_text(run, text, CONFUSION)

    def _confuse(self, parent: Shown, one: Configuration) -> None:
        """Write the confusion matrices of the selected configuration, summed over seeds, once for these runs."""
        done = {key: record for key, record in sorted(one.runs.items()) if record.done}
        over = hashlib.sha256(" ".join(f"{key} {r.started}" for key, r in done.items()).encode()).hexdigest()
        if parent.tags.get("sweeper.confusion") == over:
            return
        squares: dict[str, Any] = {}
        for key, record in done.items():
            with self.storage.lend(self.storage.run(key)) as folder:
                found = predictions.read(folder)
            for name, arrays in found.items():
                title = (
                    f"test, {name}, report seeds" if record.stage == "final" else "validation, tuning seeds"
                )
                square = predictions.confusion(arrays)
                if square is not None:
                    squares[title] = squares.get(title, 0) + square
        if text := predictions.page(dict(sorted(squares.items(), reverse=True))):  # validation first
            self.artifacts.add_text(parent, text, CONFUSION)
        self._change(parent, {"sweeper.confusion": over})

    def _forget(self, parent: Shown) -> None:
        """Delete a configuration's run and those below it."""
        for place in [place for place in self.children if place[0] == parent.id]:
            self.client.delete_run(self.children.pop(place).id)
        self.client.delete_run(parent.id)

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
        files = sorted(path for name in OF_STUDY for path in folder.glob(name) if path.is_file())
        content = b"".join([ledger.encode(), *(path.read_bytes() for path in files)])
        digest = hashlib.sha256(content).hexdigest()
        if self.summary is None:
            self.summary = self._create(time.time(), {NAME: "study", "sweeper.kind": "study"})
        if self.summary.tags.get("sweeper.content") != digest:
            self.artifacts.add_text(self.summary, ledger, "ledger.jsonl")
            for path in files:
                self.artifacts.add(self.summary, path, path.relative_to(folder).parent.as_posix().strip("."))
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
        return Shown(made.info.run_id, _ms(start), made.info.artifact_uri, tags=tags)

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
            # a configuration may be noted as begun after its first run, as that is when it is first shown
            self.client.set_terminated(run.id, status, max(_ms(end), run.start))
        run.status = status


def _name(text: str) -> str:
    return re.sub(r"[^/\w.\- :]", "_", text)[:250]  # as MLflow wants metrics and parameters to be called


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
