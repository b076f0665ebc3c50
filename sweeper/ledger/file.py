"""The ledger: an append-only file of JSON lines, the truth that tables and MLflow are views of."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from filelock import FileLock, Timeout

from sweeper.ledger import lines
from sweeper.ledger.index import Index, Stale, place
from sweeper.ledger.lines import Row, rows
from sweeper.ledger.recent import Recent
from sweeper.ledger.records import Record, RunRecord
from sweeper.models.errors import UserError

Kind = TypeVar("Kind", bound=Record)
Answer = TypeVar("Answer")


class Told(Protocol):
    """What is told of a run."""

    key: str
    done: bool


Telling = TypeVar("Telling", bound=Told)


def runs_of(records: Iterable[Record]) -> dict[str, RunRecord]:
    """Return {key: record} of the runs: the latest, but what was done stays done where a repetition failed."""
    found: dict[str, RunRecord] = {}
    for record in records:
        if isinstance(record, RunRecord):
            enter(found, record)
    return found


def enter(runs: dict[str, Telling], record: Telling) -> None:
    """Let what is told of a run take the place of an earlier telling, unless that was done and this is not."""
    earlier = runs.get(record.key)
    if record.done or earlier is None or not earlier.done:
        runs[record.key] = record


class Ledger:
    """Records looked up and appended, line by line; a line that cannot be read is kept, reported and skipped.

    A small file is read at once, of a large one what its index does not hold, and the lines that are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_suffix(".lock"))
        self._changing = threading.RLock()
        self._read(Index.of(path))

    def _read(self, index: Index | None) -> None:
        self.corrupt: list[int] = list(index.corrupt) if index else []
        recent = Recent()
        for line in lines.of(self.path, *((index.end, index.count) if index else ())):
            if line.record is None:
                self.corrupt.append(line.number)
            else:
                recent.add(line.record, line.rows)
        self._known = index, recent

    @property
    def runs(self) -> Mapping[str, RunRecord]:
        """Every run by its key: the latest, but what was done stays done."""
        return Runs(self)

    @property
    def records(self) -> list[Record]:
        """All records in their order, however many there are."""
        return self.of(Record)

    def of(self, kind: type[Kind], **wanted: Collection[str]) -> list[Kind]:
        """Return the records of one kind, in order; with e.g. `arm` those that speak of any of these arms.

        What they can be looked up by are the fields of a `Row`.
        """

        def found(index: Index | None, recent: Recent) -> list[Kind]:
            return [*(index.find(kind, wanted) if index else ()), *recent.find(kind, wanted)]

        return self._asked(found)

    def rows(self, kind: type[Record], **wanted: Collection[str]) -> list[Row]:
        """Return what the same records speak of, without reading them."""

        def found(index: Index | None, recent: Recent) -> list[Row]:
            return [*(index.rows(kind, wanted) if index else ()), *recent.rows(kind, wanted)]

        return self._asked(found)

    def tally(self, arms: Collection[str]) -> Counter[tuple[str, str]]:
        """Return how many runs of the arms there are by (stage, status)."""

        def counted(index: Index | None, recent: Recent) -> Counter[tuple[str, str]]:
            new = recent.rows(RunRecord, {})
            if index is None:
                return _outcomes(new, arms)
            old = index.rows(RunRecord, {"key": {row.key for row in new}})
            found = index.tally(arms)
            found.subtract(_outcomes(old, arms))
            found.update(_outcomes([*old, *new], arms))
            return +found

        return self._asked(counted)

    def warn(self) -> None:
        """Say on stderr which lines cannot be read."""
        for line in self.corrupt:
            print(f"ledger line {line} cannot be read; it is kept and skipped", file=sys.stderr)

    def append(self, record: Record) -> None:
        """Add one record, on disk before this returns."""
        line = json.dumps(record.raw(), separators=(",", ":")) + "\n"
        with self._changing:
            size = self.path.stat().st_size if self.path.exists() else 0
            try:
                with self.path.open("ab") as file:
                    if size and not self._ends_with_newline():
                        file.write(b"\n")
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:  # of a full disk, say
                with suppress(OSError):
                    os.truncate(self.path, size)  # a part of a line is no record
                raise
            self._index(record)

    def _index(self, record: Record) -> None:
        self._known[1].add(record, rows(record))

    def note(self, record: Record) -> None:
        """Add a record that is no run, unless the latest on its subject says the same, whatever the code's state."""
        earlier = self.of(type(record), key=[rows(record)[0].key])
        if not earlier or {**earlier[-1].raw(), "git": ""} != {**record.raw(), "git": ""}:
            self.append(record)

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
        self._read(Index.of(self.path))

    def check(self) -> None:
        """Raise UserError if the ledger is not this process's any more; a file's lock cannot be lost."""

    def unlock(self) -> None:
        """Release the ledger."""
        if self._lock.is_locked:
            self.path.with_suffix(".holder").unlink(missing_ok=True)
            self._lock.release()

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _asked(self, ask: Callable[[Index | None, Recent], Answer]) -> Answer:
        """Return what is asked of the index and what it lacks; where that is not of this file, of all lines."""
        try:
            return ask(*self._known)
        except Stale:
            self._do_without_index()
            return ask(*self._known)

    def _do_without_index(self) -> None:
        """Read every line, as the index is of another file or none; the next opening writes another."""
        with self._changing:
            if self._known[0]:
                with suppress(OSError):
                    place(self.path).unlink(missing_ok=True)
                self._read(None)


def _outcomes(rows: Iterable[Row], arms: Collection[str]) -> Counter[tuple[str, str]]:
    """Return how many runs end up in the arms by (stage, status), of all that is told of them."""
    found: dict[str, Row] = {}
    for row in rows:
        enter(found, row)
    return Counter((row.stage, row.status) for row in found.values() if row.arm in arms)


class Runs(Mapping[str, RunRecord]):
    """The ledger's runs, each looked up when it is asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __getitem__(self, key: str) -> RunRecord:
        return runs_of(self.ledger.of(RunRecord, key=[key]))[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(row.key for row in self.ledger.rows(RunRecord)))

    def __len__(self) -> int:
        return len(list(iter(self)))
