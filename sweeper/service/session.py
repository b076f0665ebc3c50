"""A study under way: passes the planner's runs on as orders, and results to ledger, planner and MLflow."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.provenance import provenance
from sweeper.ledger.records import Announced, ArmPlan, Proposed, Record, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.planning.planner import Planner
from sweeper.running.orders import as_order
from sweeper.running.packing import part
from sweeper.service.drawing import Drawing
from sweeper.study import schema
from sweeper.study.arms import Arm
from sweeper.study.runs import Run
from sweeper.study.schema import Resources, Study
from sweeper.study.unfold import Unfit

HURRY_SECONDS = 3.0
LATE = "sweeper: the time is up; runs under way save their state at the end of their epoch"


@dataclass(frozen=True)
class Workspace:
    """Where a study reads and writes."""

    storage: Storage
    data_root: Path | None = None


class Session:
    """What is to be done of a study, and what became of it.

    Nothing is written before `open`: what came up until then waits in `unwritten`.
    """

    def __init__(
        self, study: Study, workspace: Workspace, arms: Sequence[Arm], unfit: Sequence[Unfit], ledger: Ledger
    ) -> None:
        self.study, self.workspace, self.ledger, self.origin = study, workspace, ledger, provenance()
        self.interrupted = self.all_under_way = self.late = False
        self.deadline = math.inf
        self.gpu_memory: dict[tuple[str, int], tuple[float, float]] = {}
        self.folder = workspace.storage.study(study.study)
        self.unwritten: list[Record] | None = [announcement(study, arms, unfit, self.origin["git"])]
        self.drawing = Drawing(study.study, workspace.storage)
        self.planner = Planner(study, list(arms), ledger.runs, proposals(arms, ledger), self._write)

    def open(self) -> None:
        """Begin to write: the study's file, what was decided so far, progress and MLflow."""
        from sweeper.running.watched import Watched
        from sweeper.service.progress import Progress
        from sweeper.tracking.writing import Tracker

        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "study.yaml").unlink(missing_ok=True)  # a link that lies there is not followed
        (self.folder / "study.yaml").write_text(schema.dump(self.study))
        waiting, self.unwritten = self.unwritten or [], None
        for record in waiting:
            self._write(record)
        self.watched = Watched(self.workspace.storage, self.study.select.metric)
        self.progress = Progress(self.planner, sys.stderr, self.watched)
        self.tracker = Tracker(
            self.study.study, self.workspace.storage, self.ledger, under_way=self.watched.long_under_way
        )

    def take(self) -> Run | None:
        """Return the next run that no worker has finished yet; results found on disk are entered on the way."""
        while (run := self.planner.take()) is not None:
            result = left_behind(run, self.workspace.storage)
            if result is None:
                return run
            self._enter(run, result)
        self.all_under_way = True
        return None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to take, now or later."""
        return self.planner.finished

    def need(self, run: Run) -> Resources:
        """Return what a run reserves: of a GPU the part that the first run of its configuration was seen to use."""
        asked = self.study.resources
        measured = self.gpu_memory.get((run.arm.key, run.configuration), (0.0, 0.0))
        return asked.model_copy(update={"gpus": part(asked.gpus, *measured)}) if measured[0] else asked

    def order(self, run: Run, need: Resources) -> dict[str, Any]:
        """Return a run's order, kept in its folder as run.json."""
        storage = self.workspace.storage
        made = as_order(self.study, run, storage, self.workspace.data_root, need)
        storage.write(storage.run(run.key) / "run.json", made)
        self.watched.begin(run, self.progress.names[run.arm.key])
        return made

    def settle(self, run: Run, result: Mapping[str, Any]) -> None:
        """Enter the result of a run that was carried out."""
        if used := result.get("gpu_memory_mb"):
            self.gpu_memory.setdefault((run.arm.key, run.configuration), (used, result["gpu_total_mb"]))
        self._enter(run, result)
        self.watched.end(run.key)
        self.progress.ran(run.arm.key, failed=bool(result.get("error")))
        self.tracker.start()  # not before: importing MLflow and starting Ray would hold each other up
        self.tracker.wake()

    def idle(self) -> None:
        """Show how far the study is; get ready to draw when nothing is left to hand out; end when the time is up."""
        self.progress.show()
        if self.all_under_way:
            self.drawing.prepare()
        if self.watched.has_news():
            self.tracker.start()
            self.tracker.wake()
        if time.monotonic() > self.deadline and not self.interrupted:
            self.interrupted = self.late = True
            print(LATE, file=sys.stderr, flush=True)

    def close(self, *, hurry: bool = False) -> tuple[str, bool]:
        """Write the tables and end; return what is to be printed and whether every cell is complete."""
        if hurry:
            self.drawing.give_up()
        else:
            self.drawing.begin()
        from sweeper.reports import report
        from sweeper.service import state
        from sweeper.tracking.writing import CLOSE_SECONDS

        self.progress.show(last=True)
        storage = self.workspace.storage
        state.remove(self.study.study, storage)
        found = report.build(History.read(self.study.study, self.ledger))
        made = [
            self.folder / "study.yaml",
            *report.write(found, self.folder),
            storage.ledger,
        ]
        self.tracker.start()
        self.tracker.wake()  # it goes on while the figures are drawn, and has them in the end
        figures = self.drawing.finish()
        self.tracker.close(HURRY_SECONDS if hurry else CLOSE_SECONDS)
        lines = [found.text("md"), "written:", *(f"  {storage.address(path)}" for path in made)]
        if figures:
            names = ", ".join(sorted({path.stem for path in figures}))
            lines.append(f"  {storage.address(figures[0].parent)}/ ({names}: png and pdf)")
        if self.drawing.page.exists():
            lines.append(f"  {storage.address(self.drawing.page)} (all of it on one page)")
        self.ledger.check()  # who has lost the ledger writes no more
        storage.keep(self.folder)
        lines.append(self.tracker.how_to_open())
        return "\n".join(lines), found.complete

    def _enter(self, run: Run, result: Mapping[str, Any]) -> None:
        record = as_record(self.study, run, result, self.origin)
        self._write(record)
        self.planner.settle(run.key, record)

    def _write(self, record: Record) -> None:
        if self.unwritten is not None:
            self.unwritten.append(record)
        elif isinstance(record, RunRecord):
            self.ledger.append(record)
        else:
            self.ledger.note(record)


def announcement(study: Study, arms: Sequence[Arm], unfit: Sequence[Unfit], git: str) -> Announced:
    """Return the ledger's record of what a study plans."""
    return Announced(
        study=study.study,
        arms=tuple(
            ArmPlan(
                key=arm.key,
                axes=arm.axes,
                code=arm.code,
                work=arm.work,
                size=arm.size(study.search),
                reads=arm.reads,
                floor=arm.method.facts["floor"],
                beside=arm.beside,
                space={name: own.domains for name, own in arm.space.items()},
                unsearched=tuple(arm.unsearched),
            )
            for arm in arms
        ),
        search=study.search,
        final=study.final,
        select=study.select,
        conditions=tuple(study.conditions),
        layout=study.report,
        checkpoints=study.checkpoints,
        reuse=study.reuse,
        unfit=tuple(asdict(arm) for arm in unfit),
        git=git,
    )


def proposals(arms: Sequence[Arm], ledger: Ledger) -> dict[str, dict[int, dict[str, Any]]]:
    """Return {arm: {configuration: parameters}} as proposed so far for these arms, without any for all.

    An arm whose runs of any code count begins with what was proposed for it under this code, or else the last one.
    """
    works = {arm.work for arm in arms if arm.any_code}
    plans = [plan for study in ledger.of(Announced, work=works) for plan in study.arms if plan.work in works]
    keys = {arm.key for arm in arms} | {plan.key for plan in plans}
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for record in ledger.of(Proposed, **({"arm": keys} if arms else {})):
        found.setdefault(record.arm, {})[record.configuration] = record.parameters
    announced = [plan for plan in plans if plan.key in found]
    for arm in arms:
        earlier = [plan for plan in announced if plan.work == arm.work]
        if arm.any_code and arm.key not in found and earlier:
            found[arm.key] = found[max(earlier, key=lambda plan: plan.code == arm.code).key]
    return found


def as_record(study: Study, run: Run, result: Mapping[str, Any], origin: Mapping[str, str]) -> RunRecord:
    """Return the ledger's record of a run."""
    own = {
        "key": run.key,
        "study": study.study,
        "arm": run.arm.key,
        "axes": run.arm.axes,
        "configuration": run.configuration,
        "parameters": run.parameters,
        "stage": run.stage,
        "seed": run.seed,
        "work": run.work,
        "code": run.arm.code,
    }
    return RunRecord.of({**result, **own, **origin})


def left_behind(run: Run, storage: Storage) -> dict[str, Any] | None:
    """Return the result of a run that a worker finished after its driver had died, if it is one that counts."""
    result = storage.result(run.key)
    if not result or result["status"] not in ("done", "diverged"):
        return None
    metrics = result.get("metrics", {})
    whole = run.arm.metric in metrics.get("validation", {}) and run.covered(metrics)
    return result if whole or result["status"] == "diverged" else None
