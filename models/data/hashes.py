"""Hashes of files' contents, remembered by path, size and time of change so that nothing is read twice."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from sweeper.models.errors import UserError

SETTLED_NS = 2_000_000_000
_known: dict[str, list] = {}


def fingerprint_files(paths: Sequence[Path], cache: Path | None = None) -> str:
    """Return a hash of the names and the contents of `paths`, in their order.

    Contents are hashed once per process, and with `cache` once for all processes that share that folder
    (cache/fingerprints.json). A file changed within the last two seconds is not remembered, since a second
    change might leave its time of change as it is. Raises UserError for a file that cannot be read.
    """
    store = cache / "fingerprints.json" if cache else None
    stored = _read(store) if store else {}
    found = {str(p.resolve()): _stamped(p.resolve(), stored | _known) for p in paths}
    settled = {key: entry for key, entry in found.items() if time.time_ns() - entry[1] > SETTLED_NS}
    _known.update(settled)
    if store and any(stored.get(key) != entry for key, entry in settled.items()):
        _write(store, _read(store) | settled)
    text = json.dumps([[p.name, found[str(p.resolve())][2]] for p in paths])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamped(path: Path, known: dict[str, list]) -> list:
    """Return [size in bytes, time of change in ns, SHA-256] of a file."""
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode):  # of a device, say, there would be no end
            raise OSError(None, "it is no file of data")
        entry = known.get(str(path))
        if entry and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
            return entry
        with path.open("rb") as file:
            return [stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); replace it or take it away") from error


def _read(store: Path) -> dict[str, list]:
    """Return what is stored; a missing or damaged store is an empty one, since it only saves time."""
    try:
        return json.loads(store.read_text())
    except (OSError, ValueError):
        return {}


def _write(store: Path, entries: dict[str, list]) -> None:
    """Replace the store at once, so that a reader never sees half of it."""
    store.parent.mkdir(parents=True, exist_ok=True)
    part = store.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(entries))
    part.replace(store)
