"""The ledger: an append-only file of JSON lines, the truth that tables and MLflow are views of.

Kinds of line: `study` (what one plans), `run` (a finished, pruned, diverged or failed run), `proposed` (a configuration
of an arm), `shared` (a run that counts for a configuration, carried out as another's), `selected` (an arm's
configuration, frozen on validation, with the keys of its final runs).
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from sweeper.models.errors import UserError

Record = Mapping[str, Any]
FIELDS = {"study": ("study", "arms"), "run": ("key", "status")}  # without which a record says nothing


def runs_of(records: Iterable[Record]) -> dict[str, Record]:
    """Return {key: record} of the runs: the latest, but what was done stays done where a repetition failed."""
    found: dict[str, Record] = {}
    for record in records:
        if record["kind"] == "run":
            enter(found, record)
    return found


def enter(runs: dict[str, Record], record: Record) -> None:
    """Let a run's record take the place of an earlier one, unless that was done and this is not."""
    earlier = runs.get(record["key"])
    if record["status"] == "done" or earlier is None or earlier["status"] != "done":
        runs[record["key"]] = record


class Ledger:
    """Records read once and appended to, line by line; a line that cannot be read is kept, reported and skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._read()

    def _read(self) -> None:
        self.records: list[Record] = []
        self.corrupt: list[int] = []
        self.runs: dict[str, Record] = {}
        self._latest: dict[tuple[Any, ...], Record] = {}
        content = self.path.read_bytes() if self.path.exists() else b""
        for number, line in enumerate(content.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                for name in FIELDS.get(record["kind"], ()):
                    record[name]
                self._index(record)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.corrupt.append(number)

    def _index(self, record: Record) -> None:
        if record["kind"] == "run":
            enter(self.runs, record)
        else:
            self._latest[_subject(record)] = record
        self.records.append(record)

    def warn(self) -> None:
        """Say on stderr which lines cannot be read."""
        for line in self.corrupt:
            print(f"ledger line {line} cannot be read; it is kept and skipped", file=sys.stderr)

    def append(self, record: Record) -> None:
        """Add one record, on disk before this returns."""
        line = json.dumps(record, separators=(",", ":")) + "\n"
        with self.path.open("ab") as file:
            if file.tell() and not self._ends_with_newline():
                file.write(b"\n")
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._index(record)

    def note(self, record: Record) -> None:
        """Add a record that is no run, unless the latest on its subject says the same, whatever the code's state."""
        latest = self._latest.get(_subject(record))
        if latest is None or {**latest, "git": ""} != {**record, "git": ""}:
            self.append(record)

    def of(self, kind: str) -> Iterable[Record]:
        """Yield the records of one kind, in order."""
        return (r for r in self.records if r["kind"] == kind)

    def lock(self) -> None:
        """Hold the ledger for this process; raise UserError if another one does. The system releases it at exit.

        What another process appended before it let go is read.
        """
        lock = self.path.with_suffix(".lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with lock:
                lock.seek(0)
                holder = lock.read().strip() or "?"
            raise UserError(
                f"storage {str(self.path.parent)!r} is in use by process {holder};"
                " wait for it or use another --storage"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        self._read()

    def unlock(self) -> None:
        """Release the ledger."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _subject(record: Record) -> tuple[Any, ...]:
    """Return what a record that is no run is about."""
    of_arm = record["kind"] in ("proposed", "shared")
    return record["kind"], *map(record.get, ("arm", "configuration", "seed") if of_arm else ("study", "arm"))
