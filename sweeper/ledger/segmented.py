"""The ledger of a storage in a bucket: a file here as everywhere, its lines brought into the bucket behind it."""

from __future__ import annotations

import threading
from pathlib import Path

from filelock import FileLock, Timeout

from sweeper.ledger.bucket import Bucket
from sweeper.ledger.file import Ledger
from sweeper.ledger.lease import Lease, Lost
from sweeper.ledger.records import Record
from sweeper.ledger.segments import Segments
from sweeper.models.errors import UserError

EVERY_SECONDS = 1.0


class SegmentedLedger(Ledger):
    """Records as the bucket has them now; while it is locked by a lease, what is appended follows every second."""

    def __init__(self, path: Path, bucket: Bucket, prefix: str, name: str) -> None:
        self.segments = Segments(bucket, f"{prefix}ledger/", path)
        self.lease = Lease(bucket, f"{prefix}ledger.lease", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._alone = FileLock(path.with_suffix(".pulled"))
        self._lost: Lost | None = None
        self._ended = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="segments", daemon=True)
        try:
            with self._alone.acquire(timeout=0):
                self.segments.pull()
        except Timeout:  # a driver of this machine is at work: its file is ahead of the bucket
            pass
        super().__init__(path)

    def lock(self) -> None:
        """Hold the ledger by its lease; raise UserError if another driver does."""
        self.lease.acquire()
        try:
            self._alone.acquire()  # who reads lets go soon
            self.segments.pull()
            self.segments.merge()
            super().lock()
        except BaseException:
            self._let_go()
            raise
        self._follower.start()

    def check(self) -> None:
        """Raise UserError if another driver has taken the ledger over."""
        if self._lost:
            raise self._lost
        self.lease.check()

    def append(self, record: Record) -> None:
        """Add one record, on this machine's disk before this returns; raise UserError where `check` does."""
        self.check()
        super().append(record)

    def unlock(self) -> None:
        """Bring what was appended into the bucket and release the ledger; raise UserError if that cannot be done."""
        if not self._lock.is_locked:
            return
        self._ended.set()
        self._follower.join()
        try:
            self.check()
            self.segments.push()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        super().unlock()
        self._alone.release()
        self.lease.release()

    def _follow(self) -> None:
        """Keep the lease and bring what is appended into the bucket; a store that is away is asked again."""
        while not self._ended.wait(EVERY_SECONDS):
            try:
                self.lease.keep()
                self.segments.push()
            except Lost as error:
                self._lost = error
                return
            except UserError:
                continue
