"""Where a study's output lies: one folder shared by all studies, so that finished runs are shared too.

ledger.jsonl            the truth
ledger.index            where in it each line lies, once it is large; made anew when it is gone
runs/<key>/             run.json, result.json, curve.json, predictions*.npz, best.pt of one run
trainings/<hash>.pt     trained weights that runs share which differ only in what is fitted after training
studies/<name>/         study.yaml, tables and figures of one study
live/<name>.json        how far a study is that is carried out now
mlflow.db, mlartifacts/ the embedded tracking store
cache/                  features computed once from raw data
processes.json          what a driver has started, while it is at work
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sweeper import bridge
from sweeper.ledger.file import Ledger
from sweeper.ledger.records import RunRecord
from sweeper.models.errors import UserError


@dataclass(frozen=True)
class Storage:
    """A folder that the driver and every node can write, and the paths in it.

    Who reads or writes more than the ledger and a study's tables does so by the methods below, which `ObjectStorage`
    answers for a bucket.
    """

    beat_seconds: ClassVar[float] = 1.0  # between two writings of what changes all the time

    root: Path

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self._below("ledger.jsonl")

    @property
    def cache(self) -> Path:
        """The folder of derived data."""
        return self.root / "cache"

    def run(self, key: str) -> Path:
        """The folder of one run."""
        return self._below("runs", key)

    def training(self, name: str) -> Path:
        """The checkpoint of a training that several runs share."""
        return self._below("trainings", f"{name}.pt")

    def study(self, name: str) -> Path:
        """The folder of one study's tables and figures."""
        return self._below("studies", name)

    def live(self, name: str) -> Path:
        """The file that says how far one study is while it is carried out."""
        return self._below("live", f"{name}.json")

    def _below(self, *parts: str) -> Path:
        """Return a path in the storage; raise UserError if a name in it, or a link that lies there, leads elsewhere."""
        path = self.root.joinpath(*parts)
        plain = all(part and "\0" not in part and Path(part).name == part for part in parts)
        if not plain or path.resolve() != self.root.resolve().joinpath(*parts):
            raise UserError(
                f"{str(path)!r} leads out of the storage; take it away, or link the storage as a whole"
            )
        return path

    def result(self, key: str) -> dict[str, Any] | None:
        """Return the result a worker left for a run, if it is whole and one that can be recorded."""
        found = self.read(self.run(key) / "result.json")
        try:
            RunRecord.of({**found, "key": key})
        except (TypeError, ValueError):
            return None
        return found

    def order(self, key: str) -> dict[str, Any] | None:
        """Return what was ordered for a run, if it was ever started."""
        return self.read(self.run(key) / "run.json")

    def curve(self, key: str) -> list[dict[str, float]]:
        """Return what a run logged after every epoch; raise ValueError if that is damaged."""
        return json.loads(self.content(self.run(key) / "curve.json") or "[]")

    def address(self, path: Path) -> str:
        """Return what `path` is called on every machine."""
        return str(path)

    def make(self) -> None:
        """Make the storage if it is absent; raise UserError if it cannot be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise UserError(
                f"storage {str(self.root)!r} is not writable ({error.strerror}); give --storage a folder that is"
            ) from None

    def open_ledger(self) -> Ledger:
        """Return the ledger, there or not."""
        return Ledger(self.ledger)

    def read(self, path: Path) -> Any:  # noqa: ANN401
        """Return the JSON of a file, None if it is not there or, after a crash of the machine, not whole."""
        content = self.content(path)
        try:
            return json.loads(content or "null")
        except ValueError:
            return None

    def content(self, path: Path) -> bytes | None:
        """Return what a file holds, None if it is not there."""
        try:
            return path.read_bytes()
        except OSError:
            return None

    def write(self, path: Path, value: object) -> None:
        """Write JSON to a file, whole or not at all."""
        bridge.write_json(path, value)

    def files(self, folder: Path) -> dict[Path, int]:
        """Return {path: bytes} of the files below a folder; a link is one, wherever it leads."""
        walk = os.walk(self._below(*folder.relative_to(self.root).parts))
        paths = [
            Path(here, name)
            for here, folders, names in walk
            for name in names + [name for name in folders if Path(here, name).is_symlink()]
        ]
        return {path: path.lstat().st_size for path in sorted(paths)}

    def remove(self, path: Path) -> None:
        """Remove a file or a folder, there or not."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def lend(self, path: Path) -> Iterator[Path]:
        """Yield a file or folder to read and write on this machine."""
        yield path

    def keep(self, folder: Path) -> None:
        """Let every machine see what was written below a folder on this one."""
