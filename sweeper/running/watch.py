"""Ray's own processes watched from a thread: where they die, Ray's calls wait for minutes, and the command must not."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from sweeper.running.address import listens
from sweeper.running.processes import (
    Processes,
    descendants,
    described,
    forget,
    kill,
    note,
    processes,
    unburied,
)

LOOK_SECONDS, FIRST_SECONDS = 1.0, 0.2  # more often while Ray starts: what dies at once must have been seen
STARTING_SECONDS = 20.0
DEAF_SECONDS = 10.0  # a head that is busy may not answer for a while
CORE = ("gcs_server", "raylet")
_ended = threading.Event()
_watcher: threading.Thread | None = None


def begin(address: str | None) -> None:
    """End this process in a sentence as soon as the cluster at `address`, or the one started here, is dead."""
    global _watcher
    _ended.clear()
    lost = _Deaf(address) if address else _Gone()
    _watcher = threading.Thread(target=_watch, args=(lost,), name="watch", daemon=True)
    _watcher.start()


def end() -> None:
    """Watch no longer; Ray is about to be left."""
    _ended.set()
    if _watcher is not None:
        _watcher.join()
    forget()


def _watch(lost: Callable[[Processes], str]) -> None:
    began, noted = time.monotonic(), ""
    while not _ended.wait(FIRST_SECONDS if time.monotonic() - began < STARTING_SECONDS else LOOK_SECONDS):
        alive = processes()
        if (now := described(alive)) != noted:
            note(now)
            noted = now
        if what := lost(alive):
            print(
                f"sweeper: {what}; what is done is kept, and the same command goes on from here",
                file=sys.stderr,
                flush=True,
            )
            for pid in descendants(os.getpid(), alive):
                kill(pid)
            os._exit(1)


class _Gone:
    """Looks whether one of the core processes that this process started is gone."""

    def __init__(self) -> None:
        self.seen: dict[int, str] = {}

    def __call__(self, alive: Processes) -> str:
        own = {p.pid: p.name for p in alive.values() if p.parent == os.getpid() and p.name in CORE}
        gone = [name for pid, name in self.seen.items() if pid not in own]
        gone += [p.name for p in unburied(os.getpid()) if p.name in CORE]  # dead before it was seen
        self.seen |= own
        return f"Ray's process {gone[0]!r} died" if gone else ""


class _Deaf:
    """Looks whether the head of a cluster still takes connections."""

    def __init__(self, address: str) -> None:
        self.address, self.heard = address, time.monotonic()

    def __call__(self, _: Processes) -> str:
        if listens(self.address):
            self.heard = time.monotonic()
        deaf = time.monotonic() - self.heard > DEAF_SECONDS
        return f"the Ray cluster at {self.address} does not answer any more" if deaf else ""
