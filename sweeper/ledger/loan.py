"""Copies of objects to work with: what is changed in them is brought back, a run's result last."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from sweeper.ledger.bucket import Bucket
from sweeper.models.errors import UserError

EVERY_SECONDS = 1.0  # a look for new checkpoints, which their writer spaces out
LAST = "result.json"  # says that all else is there
Stamp = tuple[int, int]


class Loan:
    """The object `key`, or all below it, as the file or folder `path`, between entering and leaving.

    Checkpoints (*.pt) are brought back as soon as they are written, the rest when it is left in good order.
    """

    def __init__(self, bucket: Bucket, key: str, path: Path) -> None:
        self.bucket, self.key, self.path = bucket, key, path
        self.known: dict[Path, Stamp] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="loan", daemon=True)

    def __enter__(self) -> Self:
        for key in self.bucket.list(self.key):
            if key == self.key or key.startswith(f"{self.key}/"):
                path = self._path(key)
                self.bucket.download(key, path)
                self.known[path] = _stamp(path)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()
        if kind is None:
            self._bring(sorted(self._files(), key=lambda path: path.name == LAST))
            self.bucket.remove(self._key(path) for path in self.known if not path.exists())

    def _bring(self, paths: Iterable[Path]) -> None:
        """Bring what has changed since it was last brought or fetched."""
        for path in paths:
            stamp = _stamp(path)
            if self.known.get(path) != stamp:
                self.bucket.upload(path, self._key(path))
                self.known[path] = stamp

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            try:
                self._bring(path for path in self._files() if path.suffix == ".pt")
            except (
                OSError,
                UserError,
            ):  # replaced meanwhile, or the store is away: the next round is another try
                continue

    def _files(self) -> list[Path]:
        """Return the files there are, but for those that are being written."""
        paths = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return [path for path in paths if path.is_file() and not path.name.startswith(".")]

    def _key(self, path: Path) -> str:
        return self.key + path.as_posix().removeprefix(self.path.as_posix())

    def _path(self, key: str) -> Path:
        return Path(f"{self.path}{key.removeprefix(self.key)}")


def _stamp(path: Path) -> Stamp:
    return path.stat().st_mtime_ns, path.stat().st_size
