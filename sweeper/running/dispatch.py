"""Which run goes to the cluster next, and what is done about one that ended without a result. Knows no Ray Tune."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sweeper.models.errors import Left, UserError
from sweeper.running import leaving
from sweeper.running.room import Room, draining
from sweeper.study.runs import Run
from sweeper.study.schema import Resources

ATTEMPTS = 3
LOOK_SECONDS = 2.0
NODE_DIED = "its node has died"  # Ray's words: no fault of the run
DISK_FULL = ("[Errno 28]", "[Errno 122]")


class Work(Protocol):
    """The study's side: what is to be done, and what became of it."""

    interrupted: bool

    @property
    def finished(self) -> bool:
        """Whether nothing is left to take, now or later."""

    def take(self) -> Run | None:
        """Return the next run, None if there is none now."""

    def need(self, run: Run) -> Resources:
        """Return what a run reserves."""

    def order(self, run: Run, need: Resources) -> dict[str, Any]:
        """Return what a worker needs for a run, picklable."""

    def settle(self, run: Run, result: Mapping[str, Any]) -> None:
        """Take a run's result."""

    def idle(self) -> None:
        """Be called now and then."""


@dataclass(frozen=True)
class Started:
    """A run under way."""

    run: Run
    need: Resources
    order: Mapping[str, Any]
    began: float


class Dispatch:
    """Hands out no more runs than fit, and asks a cluster that can grow for what the others need.

    A run whose worker died or hung is tried ATTEMPTS times in all. One that ran out of a part of a GPU's memory is
    tried again alone on a GPU; one that left, or whose node died, is tried again whatever happened before.
    """

    def __init__(self, first: Run, work: Work, room: Room) -> None:
        self.work, self.room = work, room
        self.waiting, self.running = deque([first]), dict[str, Started]()
        self.alone: set[str] = set()
        self.attempts: Counter[str] = Counter()
        self.asked_to_leave: set[str] = set()
        self.looked = 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing is to be handed out any more."""
        return self.work.interrupted or (not self.waiting and self.work.finished)

    def next(self, name: str) -> dict[str, Any] | None:
        """Return the order of the next run, under way as `name` from now on; None if none fits or none is to be had."""
        self._fill()
        if not self.waiting or self.finished:
            return None
        need = self._need(self.waiting[0])
        if not self.room.has(need, [started.need for started in self.running.values()]):
            return None
        run = self.waiting.popleft()
        order = self.work.order(run, need)
        self.running[name] = Started(run, need, order, time.time())
        return order

    def ended(self, name: str, result: Mapping[str, Any]) -> None:
        """Take the result of a run."""
        started = self.running.pop(name)
        short = (result.get("error") or {}).get("class") == "OOM"
        if short and 0 < started.need.gpus < 1:
            self.alone.add(started.run.key)
            self.waiting.appendleft(started.run)
        else:
            self.work.settle(started.run, result)

    def died(self, name: str, reason: str) -> None:
        """Take word of a run whose worker ended before it; raise UserError if that is a full disk's doing."""
        started = self.running.pop(name)
        run, order = started.run, started.order
        if order["workers"] > 1:
            from sweeper.running.ranks import release

            release(order)
        if any(mark in reason for mark in DISK_FULL):
            raise UserError(
                f"no space is left for {order['folder']}; free some, and the same command goes on from here"
            )
        hung = leaving.traces(order)
        kind, reason = (
            ("Hung", f"no step for {started.need.silence:g} s, {hung}") if hung else ("WorkerDied", reason)
        )
        blameless = f"{Left.__name__}:" in reason or NODE_DIED in reason
        self.attempts[run.key] += not blameless
        if self.attempts[run.key] < ATTEMPTS:
            self.waiting.appendleft(run)
            return
        error = {"class": kind, "message": f"{ATTEMPTS} times: {reason}"}
        began = started.began
        self.work.settle(
            run, {"status": "preempted", "error": error, "started": began, "seconds": time.time() - began}
        )

    def look_around(self) -> None:
        """Let the study show its progress; ask runs to leave whose node is to be taken away, or all if interrupted."""
        self.work.idle()
        if time.monotonic() - self.looked < LOOK_SECONDS and not self.work.interrupted:
            return
        self.looked = time.monotonic()
        whom = {leaving.ALL} if self.work.interrupted else draining()
        for one in whom - self.asked_to_leave:
            leaving.ask(one)
        self.asked_to_leave |= whom

    def end(self) -> None:
        """Ask for nothing more."""
        if self.room.grows:
            self.room.ask([])

    def _fill(self) -> None:
        """Have a run waiting; where the cluster can grow, as many as it can grow to."""
        while not self.finished:
            beyond = self.room.beyond(self._need(self.waiting[0])) if self.waiting else 1
            if self.waiting and len(self.waiting) + len(self.running) >= beyond:
                break
            run = self.work.take()
            if run is None:
                break
            self.waiting.append(run)
        if self.room.grows:
            self.room.ask([s.need for s in self.running.values()] + [self._need(run) for run in self.waiting])

    def _need(self, run: Run) -> Resources:
        need = self.work.need(run)
        return need.model_copy(update={"gpus": 1.0}) if run.key in self.alone else need
