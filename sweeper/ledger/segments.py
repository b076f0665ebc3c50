"""A ledger in a bucket, which cannot append: its lines in segments that are written once, copied to a file here.

A segment is called by the numbers it covers, `00000007-00000007.jsonl`. Many are merged into one of a wider range,
`00000001-00000120.jsonl`, before those are removed: whoever lists both reads the wider one alone, and whoever finds
one gone that it has listed lists again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from sweeper import bridge
from sweeper.ledger.bucket import Bucket, Conflict, Entry
from sweeper.ledger.lease import Lost
from sweeper.models.errors import UserError

MANY = 100  # segments, from which on they are merged
LISTED = 20  # times at most, while others merge
AT_ONCE = 16  # segments read side by side


class Segment(NamedTuple):
    """A segment's first and last number, version and size in bytes."""

    first: int
    last: int
    etag: str
    size: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.first:08d}-{self.last:08d}.jsonl"


class Segments:
    """The file `path` and its segments below `prefix`; which of them the file holds stands in a file beside it.

    What the file holds beyond them has not been brought into the bucket yet.
    """

    def __init__(self, bucket: Bucket, prefix: str, path: Path) -> None:
        self.bucket, self.prefix, self.path = bucket, prefix, path
        self.beside = path.with_suffix(".segments")
        self._guard = threading.Lock()
        self.held: list[Segment] = []

    def pull(self) -> None:
        """Bring the file up to the bucket: what is missing is added, what the bucket contradicts is replaced."""
        self.held = self._read()
        for _ in range(LISTED):
            there = current(self.bucket.list(self.prefix))
            size = self.path.stat().st_size if self.path.exists() else 0
            agrees = there[: len(self.held)] == self.held and size >= _bytes(self.held)
            if agrees and len(there) == len(self.held):
                return
            missing = there[len(self.held) :] if agrees else there
            with ThreadPoolExecutor(AT_ONCE) as readers:
                found = list(readers.map(lambda one: self.bucket.get(self.prefix + one.name), missing))
            if None not in found:
                kept = self.path.read_bytes()[: _bytes(self.held)] if agrees and self.held else b""
                if there:
                    _replace(self.path, kept + b"".join(one.content for one in found))
                else:
                    self.path.unlink(missing_ok=True)
                self._hold(there)
                return
        raise UserError(f"the segments below {self.prefix!r} come and go; try again")

    def push(self) -> None:
        """Bring the whole lines that the bucket has not yet there, as one segment; raise Lost if it has others."""
        with self._guard:
            content = self._pending()
            if not content:
                return
            number = self.held[-1].last + 1 if self.held else 1
            made = Segment(number, number, "", len(content))
            key = self.prefix + made.name
            try:
                etag = self.bucket.put(key, content, new=True)
            except Conflict:
                there = self.bucket.get(key)
                if there is None or there.content != content:
                    raise Lost(f"another process writes to the ledger below {self.prefix!r}") from None
                etag = there.etag  # written, but the answer was lost
            self._hold([*self.held, made._replace(etag=etag)])

    def merge(self) -> None:
        """Make one segment of many, and remove those that a wider one covers."""
        with self._guard:
            if len(self.held) > MANY:
                content = self.path.read_bytes()[: _bytes(self.held)]
                one = Segment(1, self.held[-1].last, "", len(content))
                self._hold([one._replace(etag=self.bucket.put(self.prefix + one.name, content))])
            kept = {self.prefix + one.name for one in self.held}
            self.bucket.remove(key for key in self.bucket.list(self.prefix) if key not in kept)

    def _pending(self) -> bytes:
        if not self.path.exists():
            return b""
        with self.path.open("rb") as file:
            file.seek(_bytes(self.held))
            content = file.read()
        return content[: content.rfind(b"\n") + 1]

    def _read(self) -> list[Segment]:
        try:
            return [Segment(*one) for one in json.loads(self.beside.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def _hold(self, segments: list[Segment]) -> None:
        self.held = segments
        _replace(self.beside, json.dumps(segments).encode())


def current(listed: Mapping[str, Entry]) -> list[Segment]:
    """Return the segments of a listing {key: entry} that no wider one covers, in order."""
    found = []
    for key, entry in listed.items():
        first, _, last = key.rpartition("/")[2].removesuffix(".jsonl").partition("-")
        if first.isdecimal() and last.isdecimal():
            found.append(Segment(int(first), int(last), *entry))
    widest: list[Segment] = []
    for one in sorted(found, key=lambda one: (one.first, -one.last)):
        if not widest or one.last > widest[-1].last:
            widest.append(one)
    return widest


def _bytes(segments: list[Segment]) -> int:
    return sum(one.size for one in segments)


def _replace(path: Path, content: bytes) -> None:
    with bridge.written(path) as new:
        new.write_bytes(content)
