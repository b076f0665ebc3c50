"""A study carried out: checks, then planner, executor, ledger and tracker side by side, then the table."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper import ROOT, bridge
from sweeper.ledger import records
from sweeper.ledger.file import Ledger
from sweeper.ledger.storage import Storage
from sweeper.models.memory import uncollected
from sweeper.planning.planner import Planner
from sweeper.study import arms
from sweeper.study import schema as studies
from sweeper.study.arms import Arm, Run
from sweeper.study.schema import Study

if TYPE_CHECKING:
    from sweeper.reports.report import Report

REPEATABLE = ("done", "pruned", "diverged")
HURRY_SECONDS = 3.0


@dataclass(frozen=True)
class Place:
    """Where a study reads and writes."""

    storage: Storage
    data_root: Path | None = None


def data_root(given: str | None) -> Path | None:
    """Return the folder of the datasets: --data-root, or SWEEPER_DATA, or none."""
    text = given or os.environ.get("SWEEPER_DATA")
    return Path(text).expanduser().resolve() if text else None


def run(study: Study, place: Place) -> bool:
    """Carry out a study to its end and write its tables; return whether every cell is complete.

    Whatever the user can have got wrong is checked before anything is written. Interrupted, it writes and prints
    the tables so far and raises KeyboardInterrupt.
    """
    unfolded = arms.unfold(study, place.data_root, place.storage.cache)
    ledger = Ledger(place.storage.ledger)
    fresh = not ledger.path.exists()
    try:
        if not fresh:
            ledger.lock()
        session = Session(study, place, unfolded, ledger)
        first = session.take()
        known = {record["arm"] for record in ledger.runs.values()}
        new = [arm for arm in unfolded if arm.key not in known]
        make_ready(study, unfolded, new, place, workers=first is not None)
        if fresh:  # not before: a study that cannot run leaves nothing behind
            ledger.lock()
            if ledger.records:  # another process was here in the meantime
                session = Session(study, place, unfolded, ledger)
                first = session.take()
        ledger.warn()
        session.open()
        try:
            with remembering_interrupts(session):
                if first is not None:
                    from sweeper.running import cluster
                    from sweeper.running import tune as executor

                    executor.carry_out(first, session, study.resources)
        except KeyboardInterrupt:
            session.interrupted = True
        finally:
            if first is not None:
                cluster.stop()
            text, complete = session.close(hurry=session.interrupted)
    finally:
        ledger.unlock()
    print(text)
    if session.interrupted:
        raise KeyboardInterrupt
    return complete


@contextmanager
def remembering_interrupts(session: Session) -> Iterator[None]:
    """Note a Ctrl-C in the session before it is raised: where a library swallows it, the session's loop ends by it."""

    def interrupt(*_: object) -> None:
        session.interrupted = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before != signal.default_int_handler:  # ignored, in another thread's hands, or a caller's own
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Session:
    """A study under way: passes the planner's runs on as orders, and results to ledger, planner and MLflow.

    Nothing is written before `open`: what came up until then waits in `unwritten`.
    """

    def __init__(self, study: Study, place: Place, unfolded: list[Arm], ledger: Ledger) -> None:
        self.study, self.place, self.ledger, self.origin = study, place, ledger, records.provenance()
        self.interrupted = False
        self.folder = place.storage.study(study.study)
        self.unwritten: list[dict[str, Any]] | None = [records.announcement(study, unfolded, self.origin)]
        # runs that failed are not among what the planner knows, and done again
        usable = {key: record for key, record in ledger.runs.items() if record["status"] in REPEATABLE}
        self.planner = Planner(study, unfolded, usable, records.proposals(ledger), self._write)

    def open(self) -> None:
        """Begin to write: the study's file, what was decided so far, progress and MLflow."""
        from sweeper.service.progress import Progress
        from sweeper.tracking.writing import Tracker

        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "study.yaml").write_text(studies.dump(self.study))
        waiting, self.unwritten = self.unwritten or [], None
        for record in waiting:
            self._write(record)
        self.progress = Progress(self.planner, sys.stderr)
        self.tracker = Tracker(self.study.study, self.place.storage, self.ledger)
        # with the first result, not before: importing MLflow and starting Ray would hold each other up
        self.start_tracker = cache(self.tracker.start)

    def take(self) -> Run | None:
        """Return the next run that no worker has finished yet; results found on disk are entered on the way."""
        while (run := self.planner.take()) is not None:
            result = left_behind(run, self.place.storage)
            if result is None:
                return run
            self._enter(run, result)
        return None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to take, now or later."""
        return self.planner.finished

    def order(self, run: Run) -> dict[str, Any]:
        """Return a run's order, kept in its folder as run.json."""
        made = records.as_order(self.study, run, self.place.storage, self.place.data_root)
        bridge.write_json(self.place.storage.run(run.key) / "run.json", made)
        return made

    def settle(self, run: Run, result: Mapping[str, Any]) -> None:
        """Enter the result of a run that was carried out."""
        self._enter(run, result)
        self.progress.ran()
        self.start_tracker()
        self.tracker.wake()

    def idle(self) -> None:
        """Show how far the study is."""
        self.progress.show()

    def close(self, *, hurry: bool = False) -> tuple[str, bool]:
        """Write the tables and end; return what is to be printed and whether every cell is complete."""
        from sweeper.reports import report
        from sweeper.tracking.writing import CLOSE_SECONDS

        self.progress.show(last=True)
        found = report.build(self.study.study, self.ledger.records)
        made = [self.folder / "study.yaml", *report.write(found, self.folder), self.place.storage.ledger]
        figures = self._figures(found, hurry)
        self.start_tracker()
        self.tracker.close(HURRY_SECONDS if hurry else CLOSE_SECONDS)
        lines = [found.text("md"), "written:", *(f"  {path}" for path in made)]
        if figures:
            names = ", ".join(sorted({path.stem for path in figures}))
            lines.append(f"  {figures[0].parent}/ ({names}: png and pdf)")
        lines.append(self.tracker.how_to_open())
        return "\n".join(lines), found.complete

    def _figures(self, found: Report, hurry: bool) -> list[Path]:
        """Draw what the records show now, unless that is drawn already; a hurried end leaves figures as they are."""
        folder = self.folder / "figures"
        drawn = sorted(folder.glob("*.p*")) if folder.exists() else []
        newest = max((path.stat().st_mtime for path in drawn), default=0.0)
        if hurry or newest > self.place.storage.ledger.stat().st_mtime:
            return drawn
        from sweeper.reports import figures as gallery

        return gallery.draw(self.study.study, found, self.ledger.records, self.place.storage.run, folder)

    def _enter(self, run: Run, result: Mapping[str, Any]) -> None:
        record = records.as_record(self.study, run, result, self.origin)
        self._write(record)
        self.planner.settle(run.key, record)

    def _write(self, record: dict[str, Any]) -> None:
        if self.unwritten is not None:
            self.unwritten.append(record)
        elif record["kind"] == "run":
            self.ledger.append(record)
        else:
            self.ledger.note(record)


def left_behind(run: Run, storage: Storage) -> dict[str, Any] | None:
    """Return the result of a run that a worker finished after its driver had died, if it is one that counts."""
    result = storage.result(run.key)
    return result if result and result["status"] in ("done", "diverged") and run.covered(result) else None


def make_ready(study: Study, unfolded: list[Arm], new: list[Arm], place: Place, *, workers: bool) -> None:
    """Check data and new arms while Ray starts, if workers have work; raise UserError for what cannot be used."""
    with uncollected(), ThreadPoolExecutor(1) as beside:
        checks = beside.submit(check, study, unfolded, new, place)
        if not workers:
            checks.result()
            return
        tools = beside.submit(import_module, "sweeper.running.tune")
        from sweeper.running import cluster

        try:
            cluster.start(ROOT)
            cluster.slots(study.resources)
            checks.result()
            tools.result()
        except BaseException:
            cluster.stop()
            raise


def check(study: Study, unfolded: list[Arm], new: list[Arm], place: Place) -> None:
    """Load every dataset and build every new arm once, so that what is unfit ends the command before it writes."""
    for named in {repr(arm.dataset): arm.dataset for arm in unfolded}.values():
        options = {k: v for k, v in named.items() if k not in ("name", "fingerprint")}
        found = bridge.load_dataset(named["name"], options, root=place.data_root, cache=place.storage.cache)
        for condition in study.conditions:
            bridge.check_condition(bridge.parse_condition(condition), found.spec)
        for arm in new:
            if arm.dataset == named:
                bridge.check_builds(
                    found.spec, arm.payload(arm.defaults(), "search", 0), tuple(study.plugins)
                )
