"""The processes of this machine: those of a driver are noted in its storage, so that the next ends what is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NOTES = "processes.json"  # in the storage, while a driver is at work
_notes: Path | None = None


@dataclass(frozen=True)
class Process:
    """A process that lives: its number, its parent's, its name, and when it began, in ticks."""

    pid: int
    parent: int
    name: str
    started: int


Processes = Mapping[int, Process]


def processes() -> dict[int, Process]:
    """Return the processes that live, by their numbers."""
    return {process.pid: process for process, lives in _listed() if lives}


def unburied(parent: int) -> list[Process]:
    """Return the children of a process that have died and that it has not asked after yet."""
    return [process for process, lives in _listed() if not lives and process.parent == parent]


def _listed() -> Iterator[tuple[Process, bool]]:
    """Yield every process that the system lists, and whether it lives."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it ended
            continue
        pid, name = text.rpartition(")")[0].split(" (", 1)
        rest = text.rpartition(")")[2].split()
        yield Process(int(pid), int(rest[1]), name, int(rest[19])), rest[0] != "Z"


def descendants(pid: int, among: Processes) -> Iterator[int]:
    """Yield all that a process started, directly or not, the last first."""
    for child in [process.pid for process in among.values() if process.parent == pid]:
        yield from descendants(child, among)
        yield child


def kill(pid: int) -> None:
    """End a process at once, there or not."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def own(folder: Path) -> None:
    """Note from now on in a storage's folder what this process starts, and end what a driver that died left of it.

    Names and environments would not tell: Ray writes over both. Where that driver lives, all is left as it is.
    """
    global _notes
    alive, path = processes(), folder / NOTES

    def lives(pid: int, started: int) -> bool:
        return pid in alive and alive[pid].started == started

    try:
        noted = json.loads(path.read_text())
        here = noted["host"] == os.uname().nodename
        if here and lives(*noted["driver"]):
            return
        left = [pid for pid, started in noted["started"] if here and lives(pid, started)]
    except (OSError, ValueError, TypeError, KeyError):  # there are none, or they are none
        left = []
    _notes = path
    for pid in left:
        kill(pid)


def described(alive: Processes) -> str:
    """Return what is noted of this process and all that it has started."""
    me = os.getpid()
    started = [(pid, alive[pid].started) for pid in descendants(me, alive)]
    return json.dumps({"host": os.uname().nodename, "driver": (me, alive[me].started), "started": started})


def note(text: str) -> None:
    """Write it where `own` said, if it has."""
    if _notes is not None:
        with suppress(OSError):  # of a full disk, which others tell of
            _notes.write_text(text)


def forget() -> None:
    """Note nothing more: all that was started has ended."""
    if _notes is not None:
        _notes.unlink(missing_ok=True)
