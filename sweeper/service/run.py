"""A study carried out: checks, then planner, workers, ledger and MLflow side by side, then the table."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

from sweeper import bridge
from sweeper.ledger.file import Ledger
from sweeper.ledger.records import Announced, RunRecord
from sweeper.models.errors import UserError
from sweeper.models.memory import uncollected
from sweeper.service.ending import Ending, telling
from sweeper.service.session import Session, Workspace
from sweeper.study.arms import Arm
from sweeper.study.payloads import modules
from sweeper.study.runs import Run
from sweeper.study.schema import Study
from sweeper.study.unfold import Unfit, unfold

STOPPING = (
    "sweeper: stopping; runs under way save their state at the end of their epoch; Ctrl-C again ends at once"
)


def run(
    study: Study, workspace: Workspace, *, skip_unfit: bool = False, stop_after: float | None = None
) -> bool:
    """Carry out a study to its end and write its tables; return whether every cell is complete.

    Whatever the user can have got wrong is checked before anything is written; with `skip_unfit` arms that cannot be
    built are left out. Interrupted, it writes and prints the tables so far and raises KeyboardInterrupt; after
    `stop_after` seconds it does the same without raising.
    """
    deadline = time.monotonic() + stop_after if stop_after else math.inf
    with telling(study.on_end, study.study, workspace.storage.study(study.study)) as ending:
        session = _ended(study, workspace, ending, deadline, skip_unfit=skip_unfit)
    if session.interrupted and not session.late:
        raise KeyboardInterrupt
    return ending.status == "complete"


def _ended(
    study: Study, workspace: Workspace, ending: Ending, deadline: float, *, skip_unfit: bool
) -> Session:
    """Carry out a study until its end or the deadline and say how it ended; the ledger is free again then."""
    unfit: list[Unfit] | None = [] if skip_unfit else None
    arms = unfold(study, workspace.data_root, workspace.storage.cache, unfit)
    ledger = workspace.storage.open_ledger()
    fresh = not ledger.path.exists()
    try:
        if not fresh:
            ledger.lock()
        session = Session(study, workspace, reusing(study, arms, ledger), unfit or [], ledger)
        first = session.take()
        new = unchecked(arms, ledger)
        refused = make_ready(study, arms, new, workspace, unfit, workers=first is not None)
        if fresh:  # not before: a study that cannot run leaves nothing behind
            ledger.lock()
        if refused or (fresh and ledger.of(Announced)):  # or another process was here in the meantime
            arms = [arm for arm in arms if arm.key not in refused]
            session = Session(study, workspace, reusing(study, arms, ledger), unfit or [], ledger)
            first = session.take()
        ledger.warn()
        session.deadline, ending.status = deadline, "failed"
        ending.text, complete = _carried_out(session, study, first)
        stopped = "stopped" if session.late else "interrupted" if session.interrupted else "incomplete"
        ending.status = "complete" if complete else stopped
    finally:
        ledger.unlock()
    print(ending.text)
    return session


def _carried_out(session: Session, study: Study, first: Run | None) -> tuple[str, bool]:
    """Carry out what is left to do; return what is to be printed and whether every cell is complete."""
    session.open()
    try:
        with remembering_interrupts(session):
            if first is not None:
                from sweeper.running import tune

                tune.carry_out(first, session)
    except KeyboardInterrupt:
        session.interrupted = True
    finally:
        with ThreadPoolExecutor(1) as beside:
            ended = beside.submit(_end_ray, first)
            said = session.close(hurry=session.interrupted)
        ended.result()
    return said


def _end_ray(first: Run | None) -> None:
    """Leave the cluster, if there was work for it."""
    if first is not None:
        from sweeper.running import cluster

        cluster.stop()


@contextmanager
def remembering_interrupts(session: Session) -> Iterator[None]:
    """Let a first Ctrl-C end the loop once the runs under way have saved their states, and a second end it now."""

    def interrupt(*_: object) -> None:
        if session.interrupted:
            raise KeyboardInterrupt
        session.interrupted = True
        print(STOPPING, file=sys.stderr, flush=True)

    before = signal.getsignal(signal.SIGINT)
    if before != signal.default_int_handler:  # ignored, in another thread's hands, or a caller's own
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def reusing(study: Study, arms: Sequence[Arm], ledger: Ledger) -> list[Arm]:
    """Return the arms; where the study reuses what any code did, finished runs stand in for those of this code.

    A run that lacks a test condition does not: what other code trained is not evaluated by this.
    """
    if study.reuse == "code":
        return list(arms)
    wanted, runs = {f"test/{condition}" for condition in study.conditions}, ledger.runs

    def counts(record: RunRecord) -> bool:
        return record.done and (record.stage != "final" or wanted <= record.metrics.keys())

    def stand_in(work: str, key: str) -> str:
        own = runs.get(key)
        if own and own.done:
            return key
        others = dict.fromkeys(record.key for record in ledger.of(RunRecord, work=[work]))
        return next((other for other in reversed(others) if counts(runs[other])), key)

    return [replace(arm, stand_in=stand_in) for arm in arms]


def unchecked(arms: Sequence[Arm], ledger: Ledger) -> list[Arm]:
    """Return the arms that no study has announced as they are now, tested under these conditions."""
    plans = ledger.of(Announced, arm=[arm.key for arm in arms])
    known = {(arm.key, arm.code, plan.conditions) for plan in plans for arm in plan.arms}
    return [arm for arm in arms if (arm.key, arm.code, arm.conditions) not in known]


def make_ready(
    study: Study,
    arms: Sequence[Arm],
    new: Sequence[Arm],
    workspace: Workspace,
    unfit: list[Unfit] | None,
    *,
    workers: bool,
) -> set[str]:
    """Check data and new arms while Ray starts, if workers have work; return the keys of the arms left out as unfit.

    Raises UserError for what cannot be used.
    """
    with uncollected(), ThreadPoolExecutor(1) as beside:
        checks = beside.submit(check, study, arms, new, workspace, unfit)
        if not workers:
            return checks.result()
        tools = beside.submit(import_module, "sweeper.running.tune")
        from sweeper.running import cluster, processes, room

        processes.own(workspace.storage.root)
        try:
            used = {name for arm in arms for name in modules(arm.payload({}, "final", 0))}
            cluster.start(sorted(used))
            room.check(study.resources)
            refused = checks.result()
            tools.result()
        except BaseException:
            cluster.stop()
            raise
        return refused


def check(
    study: Study, arms: Sequence[Arm], new: Sequence[Arm], workspace: Workspace, unfit: list[Unfit] | None
) -> set[str]:
    """Load every dataset and build every new arm once, so that what is unfit ends the command before it writes.

    With a list `unfit`, arms that cannot be built are noted there, and their keys returned.
    """
    refused: set[str] = set()
    for named in {repr(arm.dataset): arm.dataset for arm in arms}.values():
        found = bridge.load_dataset(
            named["name"],
            bridge.options_of(named),
            root=workspace.data_root,
            cache=workspace.storage.cache,
        )
        for arm in new:
            if arm.dataset != named:
                continue
            try:
                bridge.check_builds(found.spec, arm.payload(arm.defaults(), "final", 0))
            except UserError as error:
                if unfit is None:
                    raise UserError(f"arm {arm.name}: {error}") from None
                unfit.append(Unfit(arm.axes, str(error)))
                refused.add(arm.key)
    if arms and len(refused) == len(arms):
        raise UserError(f"no arm can be run; {'/'.join(unfit[0].axes.values())}: {unfit[0].reason}")
    return refused
