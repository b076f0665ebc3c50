"""The ledger: an append-only file of JSON lines, the truth that tables and MLflow are views of."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic_core import from_json

from sweeper.ledger.records import Record, RunRecord, typed
from sweeper.models.errors import UserError

Kind = TypeVar("Kind", bound=Record)


def runs_of(records: Iterable[Record]) -> dict[str, RunRecord]:
    """Return {key: record} of the runs: the latest, but what was done stays done where a repetition failed."""
    found: dict[str, RunRecord] = {}
    for record in records:
        if isinstance(record, RunRecord):
            enter(found, record)
    return found


def enter(runs: dict[str, RunRecord], record: RunRecord) -> None:
    """Let a run's record take the place of an earlier one, unless that was done and this is not."""
    earlier = runs.get(record.key)
    if record.done or earlier is None or not earlier.done:
        runs[record.key] = record


class Ledger:
    """Records read once and appended to, line by line; a line that cannot be read is kept, reported and skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_suffix(".lock"))
        self._read()

    def _read(self) -> None:
        self.records: list[Record] = []
        self.corrupt: list[int] = []
        self.runs: dict[str, RunRecord] = {}
        self._latest: dict[tuple[Any, ...], Record] = {}
        content = self.path.read_bytes() if self.path.is_file() else b""
        for number, line in enumerate(content.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                self._index(typed(from_json(line)))
            except (ValueError, KeyError, TypeError):
                self.corrupt.append(number)

    def _index(self, record: Record) -> None:
        if isinstance(record, RunRecord):
            enter(self.runs, record)
        else:
            self._latest[record.subject] = record
        self.records.append(record)

    def warn(self) -> None:
        """Say on stderr which lines cannot be read."""
        for line in self.corrupt:
            print(f"ledger line {line} cannot be read; it is kept and skipped", file=sys.stderr)

    def append(self, record: Record) -> None:
        """Add one record, on disk before this returns."""
        line = json.dumps(record.raw(), separators=(",", ":")) + "\n"
        with self.path.open("ab") as file:
            if file.tell() and not self._ends_with_newline():
                file.write(b"\n")
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._index(record)

    def note(self, record: Record) -> None:
        """Add a record that is no run, unless the latest on its subject says the same, whatever the code's state."""
        latest = self._latest.get(record.subject)
        if latest is None or {**latest.raw(), "git": ""} != {**record.raw(), "git": ""}:
            self.append(record)

    def of(self, kind: type[Kind]) -> Iterable[Kind]:
        """Yield the records of one kind, in order."""
        return (record for record in self.records if isinstance(record, kind))

    def lock(self) -> None:
        """Hold the ledger for this process; raise UserError if another one does. The system releases it at exit.

        What another process appended before it let go is read.
        """
        holder = self.path.with_suffix(".holder")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            number = holder.read_text() if holder.exists() else "?"
            raise UserError(
                f"storage {str(self.path.parent)!r} is in use by process {number};"
                " wait for it or use another --storage"
            ) from None
        holder.write_text(str(os.getpid()))
        self._read()

    def unlock(self) -> None:
        """Release the ledger."""
        if self._lock.is_locked:
            self.path.with_suffix(".holder").unlink(missing_ok=True)
            self._lock.release()

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
