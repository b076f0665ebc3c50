"""Where in a large ledger each line lies and what it speaks of: an SQLite file that can always be thrown away.

It stands beside the ledger, holds its lines up to some place, and never changes: who opens the ledger and finds that
much was appended since writes another and puts it there in one step. So it needs no lock, on NFS neither, and who has
it open goes on with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from sweeper.ledger import lines, records
from sweeper.ledger.lines import FIELDS, Row, Wanted, parsed
from sweeper.ledger.records import KINDS, Record
from sweeper.study import schema

if TYPE_CHECKING:
    import sqlite3
    from io import FileIO

Kind = TypeVar("Kind", bound=Record)

UNINDEXED = 4 * 2**20  # bytes that are read at every opening rather than indexed
LOOKED_AT = 4096  # bytes at both ends of what is indexed, by which it is known again
TABLES = f"""
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -65536;
    CREATE TABLE IF NOT EXISTS lines ({", ".join(Row._fields)}, offset, length);
    CREATE TABLE IF NOT EXISTS corrupt (number);
    CREATE TABLE IF NOT EXISTS whole (digest, end, count);
"""
INDEXES = ";".join(f"CREATE INDEX IF NOT EXISTS by_{field} ON lines ({field})" for field in ("kind", *FIELDS))
# of the lines of a run the last done one counts, or else the last: the row of the maximum
TALLY = """
    SELECT stage, status, count(*) FROM (
        SELECT arm, stage, status, max((status = 'done') * (1 << 60) + offset) FROM lines
        WHERE +kind = 'run' AND key IN (SELECT key FROM lines WHERE +kind = 'run' AND arm = ?) GROUP BY key
    ) WHERE arm = ? GROUP BY stage, status
"""


class Stale(Exception):
    """The index is not of this ledger as it is now, or is no index."""


class Index:
    """The first `count` lines of a ledger, which end at byte `end`: the rows of each, or that it cannot be read."""

    def __init__(self, ledger: Path, base: sqlite3.Connection) -> None:
        self.ledger, self.base = ledger, base
        weakref.finalize(self, base.close)
        self.digest, self.end, self.count = base.execute("SELECT * FROM whole").fetchone()
        self.corrupt = [number for (number,) in base.execute("SELECT number FROM corrupt ORDER BY number")]
        self._held: weakref.WeakValueDictionary[int, Record] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, ledger: Path) -> Self | None:
        """Return an index that lacks no more than UNINDEXED bytes of the ledger, written if need be.

        None where the ledger is small, and where no index is there and none can be written.
        """
        size = ledger.stat().st_size if ledger.exists() else 0
        found = cls._beside(ledger) if size > UNINDEXED else None
        if size - (found.end if found else 0) > UNINDEXED and _written(ledger, found):
            found = cls._beside(ledger)
        return found

    @classmethod
    def _beside(cls, ledger: Path) -> Self | None:
        """Return the index that is there, None if it is none of this ledger."""
        import sqlite3

        where = f"file:{quote(str(place(ledger)))}?mode=ro&immutable=1"
        try:
            found = cls(ledger, sqlite3.connect(where, uri=True, check_same_thread=False))
            return found if found.digest == _digest(ledger, found.end) else None
        except (sqlite3.Error, TypeError, ValueError):
            return None

    def find(self, kind: type[Kind], wanted: Wanted) -> list[Kind]:
        """Return the records of a kind that speak of anything wanted, in order; raise Stale if a line is another."""
        said: dict[tuple[int, int], set[Row]] = {}
        for *row, offset, length in self._found(kind, wanted):
            said.setdefault((offset, length), set()).add(Row(*row))
        try:
            with self.ledger.open("rb", buffering=0) as file:
                return [self._read(file, *place, own) for place, own in sorted(said.items())]
        except OSError as error:
            raise Stale(str(error)) from error

    def _read(self, file: FileIO, offset: int, length: int, said: set[Row]) -> Record:
        """Return the record of a line that speaks of what is said of it."""
        record = self._held.get(offset)
        if record is None:
            record, rows = parsed(os.pread(file.fileno(), length, offset))
            if not said <= set(rows):
                raise Stale(f"the line at byte {offset} is another")
            self._held[offset] = record
        return record

    def rows(self, kind: type[Record], wanted: Wanted) -> list[Row]:
        """Return the rows of a kind that speak of anything wanted, in order, without a look at the lines."""
        found = sorted(self._found(kind, wanted), key=lambda row: row[-2])
        return [Row(*row[:-2]) for row in found]

    def tally(self, arms: Collection[str]) -> Counter[tuple[str, str]]:
        """Return how many runs end up in the arms by (stage, status), as `enter` has it; raise Stale as above."""
        import sqlite3

        found: Counter[tuple[str, str]] = Counter()
        try:
            for arm in arms:
                for stage, status, n in self.base.execute(TALLY, (arm, arm)):
                    found[stage, status] += n
        except sqlite3.Error as error:
            raise Stale(str(error)) from error
        return found

    def _found(self, kind: type[Record], wanted: Wanted) -> Iterator[tuple]:
        import sqlite3

        kinds = [name for name, one in KINDS.items() if issubclass(one, kind)]
        among = f"FROM lines WHERE +kind IN ({', '.join('?' * len(kinds))})"
        try:
            if not wanted:
                yield from self.base.execute(f"SELECT * {among.replace('+', '')}", kinds)
            for field, values in wanted.items():
                for value in values:
                    yield from self.base.execute(f"SELECT * {among} AND {field} = ?", (*kinds, value))
        except sqlite3.Error as error:
            raise Stale(str(error)) from error


def place(ledger: Path) -> Path:
    """Return where a ledger's index is."""
    return ledger.with_suffix(".index")


def _written(ledger: Path, found: Index | None) -> bool:
    """Put an index of all whole lines in place, which begins as an earlier one; return whether that was possible."""
    import sqlite3

    try:
        number, name = tempfile.mkstemp(prefix=f"{place(ledger).name}.", dir=ledger.parent)
    except OSError:
        return False
    os.close(number)
    new = Path(name)
    try:
        shutil.copymode(ledger, new)
        with closing(sqlite3.connect(new)) as base:
            if found:
                found.base.backup(base)
            base.executescript(TABLES)
            _extend(base, ledger, found)
            base.executescript(INDEXES)
        new.replace(place(ledger))
    except (OSError, sqlite3.Error):
        return False
    finally:
        new.unlink(missing_ok=True)
    return True


def _extend(base: sqlite3.Connection, ledger: Path, found: Index | None) -> None:
    """Enter the lines that an earlier index does not have."""
    end, count = (found.end, found.count) if found else (0, 0)
    values = f"VALUES ({', '.join('?' * (len(Row._fields) + 2))})"
    for line in lines.of(ledger, end, count):
        if not line.whole:  # somebody may be at it
            break
        if line.record is None:
            base.execute("INSERT INTO corrupt VALUES (?)", (line.number,))
        else:
            own = [(*row, line.offset, line.length) for row in line.rows]
            base.executemany(f"INSERT INTO lines {values}", own)
        end, count = line.offset + line.length, line.number
    base.execute("DELETE FROM whole")
    base.execute("INSERT INTO whole VALUES (?, ?, ?)", (_digest(ledger, end), end, count))
    base.commit()


def _digest(ledger: Path, end: int) -> str:
    """Return what an index of the file up to `end` is known by: both ends of that, and the code that reads lines."""
    found = hashlib.sha256(f"{end}".encode())
    for module in (lines, records, schema):
        found.update(Path(module.__file__).read_bytes())
    with ledger.open("rb") as file:
        found.update(file.read(min(LOOKED_AT, end)))
        file.seek(max(0, end - LOOKED_AT))
        found.update(file.read(min(LOOKED_AT, end)))
    return found.hexdigest()
