"""Where a study's output lies: one folder shared by all studies, so that finished runs are shared too.

ledger.jsonl            the truth
runs/<key>/             run.json, result.json, curve.json, predictions*.npz, best.pt of one run
trainings/<hash>.pt     trained weights that runs share which differ only in what is fitted after training
studies/<name>/         study.yaml, tables and figures of one study
mlflow.db, mlartifacts/ the embedded tracking store
cache/                  features computed once from raw data
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sweeper.ledger.records import RunRecord
from sweeper.models.errors import UserError
from sweeper.study.places import place


@dataclass(frozen=True)
class Storage:
    """Paths below one root that the driver and every node can write."""

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
        found = _read(self.run(key) / "result.json")
        try:
            RunRecord.of({**(found or {}), "key": key})
        except ValueError:
            return None
        return found

    def order(self, key: str) -> dict[str, Any] | None:
        """Return what was ordered for a run, if it was ever started."""
        return _read(self.run(key) / "run.json")


def _read(path: Path) -> dict[str, Any] | None:
    """Return the JSON of a file, None if it is not there or, after a crash of the machine, not whole."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def locate(where: str) -> Storage:
    """Return the storage at a folder or a file:// URI, there or not; raise UserError for another scheme."""
    if not where.strip():
        raise UserError("storage is empty; give a folder, or file:///such/a/folder")
    try:
        uri = urlparse(where)
    except ValueError as error:  # of an address in brackets that is none
        raise UserError(f"storage {where!r} is no folder and no URI ({error})") from None
    if uri.scheme not in ("", "file"):
        raise UserError(
            f"storage {where!r} has scheme {uri.scheme!r}; give a folder that every node can write, or file:///such/a/folder"
        )
    return Storage(place("storage", unquote(uri.path) if uri.scheme else where).resolve())


def open_storage(where: str) -> Storage:
    """Return the storage at a folder or a file:// URI, made if absent; raise UserError if it cannot be written."""
    storage = locate(where)
    root = storage.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise UserError(
            f"storage {str(root)!r} is not writable ({error.strerror}); give --storage a folder that is"
        ) from None
    return storage
