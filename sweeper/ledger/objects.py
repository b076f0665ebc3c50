"""A storage in a bucket: what a folder holds, as objects; a machine works with copies of those it needs."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sweeper.ledger.bucket import Bucket, endpoint
from sweeper.ledger.loan import Loan
from sweeper.ledger.segmented import SegmentedLedger
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError


@dataclass(frozen=True)
class ObjectStorage(Storage):
    """Objects below `prefix`, empty or ending in a slash, of a bucket; `root` is this machine's folder beside them.

    There are the driver's copy of the ledger, the tables it writes, MLflow's embedded database, and derived data; an
    object's path is what it would be in that folder.
    """

    beat_seconds: ClassVar[float] = 10.0  # each writing is a request

    bucket: Bucket
    prefix: str

    @classmethod
    def of(cls, bucket: str, prefix: str) -> ObjectStorage:
        """Return the storage below `prefix`, keys joined by slashes, there or not."""
        store = hashlib.sha256(endpoint().encode()).hexdigest()[:8]
        root = scratch() / store / bucket / prefix
        return cls(root, Bucket(bucket), f"{prefix}/" if prefix else "")

    def address(self, path: Path) -> str:
        """Return the URI of what `path` stands for; that of the ledger is where its segments are."""
        key = f"{self.prefix}ledger" if path == self.ledger else self._key(path)
        return f"s3://{self.bucket.name}/{key}".rstrip("/")

    def make(self) -> None:
        """Write an object and remove it; raise UserError if that fails."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = f"{self.prefix}.writable"
        self.bucket.put(probe, b"")
        self.bucket.remove([probe])

    def open_ledger(self) -> SegmentedLedger:
        """Return the ledger as the bucket has it."""
        return SegmentedLedger(self.ledger, self.bucket, self.prefix, self.address(self.root))

    def content(self, path: Path) -> bytes | None:
        """Return what an object holds, None if it is not there."""
        found = self.bucket.get(self._key(path))
        return found.content if found else None

    def write(self, path: Path, value: object) -> None:
        """Write JSON to an object."""
        self.bucket.put(self._key(path), json.dumps(value, default=str).encode())

    def files(self, folder: Path) -> dict[Path, int]:
        """Return {path: bytes} of the objects below a folder."""
        listed = self.bucket.list(f"{self._key(folder)}/")
        return {self.root / key.removeprefix(self.prefix): entry.size for key, entry in listed.items()}

    def remove(self, path: Path) -> None:
        """Remove an object, or all below a folder, and what this machine's folder has of them."""
        key = self._key(path)
        self.bucket.remove([key, *self.bucket.list(f"{key}/")])
        super().remove(path)

    @contextmanager
    def lend(self, path: Path) -> Iterator[Path]:
        """Yield a copy of an object, or of a folder of them; what is written to it is brought into the bucket."""
        work = scratch() / "work"
        work.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=work) as folder,
            Loan(self.bucket, self._key(path), Path(folder) / path.name) as loan,
        ):
            yield loan.path

    def keep(self, folder: Path) -> None:
        """Bring all that lies below a folder of this machine into the bucket."""
        for path in super().files(folder):
            self.bucket.upload(path, self._key(path))

    def _key(self, path: Path) -> str:
        if not path.is_relative_to(self.root) or ".." in path.parts:
            raise UserError(f"{str(path)!r} leads out of storage {self.address(self.root)!r}")
        below = path.relative_to(self.root).as_posix()
        return self.prefix.rstrip("/") if below == "." else f"{self.prefix}{below}"


def scratch() -> Path:
    """Return this machine's folder for copies of objects: SWEEPER_SCRATCH, or sweeper in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("SWEEPER_SCRATCH") or f"{cache}/sweeper").expanduser().resolve()
