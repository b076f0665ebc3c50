"""Ray's own processes watched from a thread: where they die, Ray's calls wait for minutes, and the command must not."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS, FIRST_SECONDS = 1.0, 0.2  # more often while Ray starts: what dies at once must have been seen
STARTING_SECONDS = 20.0
DEAF_SECONDS = 10.0  # a head that is busy may not answer for a while
CORE = ("gcs_server", "raylet")
NOTES = "processes.json"  # while a driver is at work
_watching = threading.Event()
_notes: Path | None = None


def begin(address: str | None) -> None:
    """End this process in a sentence as soon as the cluster at `address`, or the one started here, is dead."""
    lost = _Deaf(address) if address else _Gone()
    _watching.set()
    threading.Thread(target=_watch, args=(lost,), name="watch", daemon=True).start()


def end() -> None:
    """Watch no longer; Ray is about to be left."""
    _watching.clear()
    if _notes is not None:
        _notes.unlink(missing_ok=True)


def _watch(lost: Callable[[], str]) -> None:
    began = time.monotonic()
    while _watching.is_set():
        time.sleep(FIRST_SECONDS if time.monotonic() - began < STARTING_SECONDS else LOOK_SECONDS)
        if not _watching.is_set():
            return
        _note()
        if what := lost():
            print(
                f"sweeper: {what}; what is done is kept, and the same command goes on from here",
                file=sys.stderr,
                flush=True,
            )
            for pid in descendants(os.getpid(), processes()):
                _kill(pid)
            os._exit(1)


class _Gone:
    """Looks whether one of the core processes that this process started is gone."""

    def __init__(self) -> None:
        self.seen: dict[int, str] = {}

    def __call__(self) -> str:
        own = {p.pid: p.name for p in processes().values() if p.parent == os.getpid() and p.name in CORE}
        gone = [name for pid, name in self.seen.items() if pid not in own]
        self.seen |= own
        return f"Ray's process {gone[0]!r} died" if gone else ""


class _Deaf:
    """Looks whether the head of a cluster still takes connections."""

    def __init__(self, address: str) -> None:
        self.address, self.heard = address, time.monotonic()

    def __call__(self) -> str:
        if listens(self.address):
            self.heard = time.monotonic()
        deaf = time.monotonic() - self.heard > DEAF_SECONDS
        return f"the Ray cluster at {self.address} does not answer any more" if deaf else ""


def listens(address: str) -> bool:
    """Say whether something takes connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def own(folder: Path) -> None:
    """Note from now on in a storage's folder what this process starts, and end what a driver that died left of it.

    Names and environments would not tell: Ray writes over both.
    """
    global _notes
    _notes = folder / NOTES
    alive = processes()
    try:
        host, noted = json.loads(_notes.read_text())
        here = host == os.uname().nodename
        left = [pid for pid, started in noted if here and pid in alive and alive[pid].started == started]
    except (OSError, ValueError, TypeError):  # there are none, or they are none
        return
    for pid in left:
        _kill(pid)


def _note() -> None:
    """Note the processes that this one has started, directly or not."""
    alive = processes()
    noted = [(pid, alive[pid].started) for pid in descendants(os.getpid(), alive)]
    if _notes is not None:
        with suppress(OSError):  # of a full disk, which others tell of
            _notes.write_text(json.dumps([os.uname().nodename, noted]))


@dataclass(frozen=True)
class Process:
    """A process that lives: its number, its parent's, its name, and when it began, in ticks."""

    pid: int
    parent: int
    name: str
    started: int


def processes() -> dict[int, Process]:
    """Return the processes that live, by their numbers."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it ended
            continue
        pid, name = text.rpartition(")")[0].split(" (", 1)
        rest = text.rpartition(")")[2].split()
        if rest[0] != "Z":
            found[int(pid)] = Process(int(pid), int(rest[1]), name, int(rest[19]))
    return found


def descendants(pid: int, among: Mapping[int, Process]) -> Iterator[int]:
    """Yield all that a process started, directly or not, the last first."""
    for child in [process.pid for process in among.values() if process.parent == pid]:
        yield from descendants(child, among)
        yield child


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
