"""What a storage holds for nobody: runs that no study refers to, checkpoints that no policy keeps, unused caches.

MLflow's artifacts of a run are links to its files; what goes here goes there too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History, announcements
from sweeper.ledger.index import place
from sweeper.ledger.records import Announced, RunRecord
from sweeper.ledger.storage import Storage

SHOWN = 10
UNUSED_DAYS = 30
KEPT = {"none": (), "best": ("best.pt",), "all": ("best.pt", "checkpoint.pt")}


@dataclass(frozen=True)
class Waste:
    """A file or folder that may go, why, and how many bytes that frees."""

    path: Path
    why: str
    bytes: int


def waste(storage: Storage, ledger: Ledger) -> list[Waste]:
    """Return what may go; the ledger's records stay, so no result is lost."""
    policies, arms = _policies(ledger)
    found, used = [], set()
    for folder, files in _folders(storage):
        order, record = storage.order(folder.name) or {}, ledger.runs.get(folder.name)
        under_way = record is None and order.get("arm") in arms  # what a study that was ended goes on with
        if folder.name not in policies and not under_way:
            found.append(Waste(folder, "a run that no study refers to", sum(files.values())))
            continue
        if order.get("training"):
            used.add(Path(order["training"]).name)
        if record and record.done:
            kept = {name for policy in policies[folder.name] for name in KEPT[policy]}
            found += [
                Waste(path, "a checkpoint that no study keeps", size)
                for path, size in files.items()
                if path.suffix == ".pt" and path.parent == folder and path.name not in kept
            ]
    for path, size in storage.files(storage.root / "trainings").items():
        if path.suffix == ".pt" and path.name not in used:
            found.append(Waste(path, "a training that no run shares", size))
    found += _unused(storage.cache)
    for path in sorted(storage.root.glob(f"{place(storage.ledger).name}.*")):
        found.append(Waste(path, "an index that was not finished", path.stat().st_size))
    return found + list(_shown_still(found, storage))


def _shown_still(found: Sequence[Waste], storage: Storage) -> Iterator[Waste]:
    """Yield what MLflow's artifacts have of it as links, without which removing it would free nothing."""
    going: set[tuple[int, int]] = set()
    for one in found:
        for path in [one.path, *one.path.rglob("*")]:
            if path.is_file() and not path.is_symlink() and (told := path.stat()).st_nlink > 1:
                going.add((told.st_dev, told.st_ino))
    for path in sorted((storage.root / "mlartifacts").rglob("*")) if going else ():
        told = path.lstat()
        if (told.st_dev, told.st_ino) in going:
            yield Waste(path, "the same file among MLflow's artifacts", 0)


def describe(found: Sequence[Waste], storage: Storage, *, removed: bool) -> Iterator[str]:
    """Yield what may go, and what that frees, in lines."""
    for why in dict.fromkeys(one.why for one in found):
        own = [one for one in found if one.why == why]
        yield f"{len(own)} × {why}: {_megabytes(own)}"
        yield from (f"  {storage.address(one.path)}" for one in own[:SHOWN])
        if len(own) > SHOWN:
            yield f"  and {len(own) - SHOWN} more"
    if not found:
        yield "there is nothing to remove"
        return
    yield f"in all {_megabytes(found)}"
    yield "removed" if removed else "nothing is removed yet; --remove does it"


def facts(found: Sequence[Waste], storage: Storage, *, removed: bool) -> dict[str, Any]:
    """Return the same as plain data."""
    waste = [{"path": storage.address(one.path), "why": one.why, "bytes": one.bytes} for one in found]
    return {"waste": waste, "bytes": sum(one.bytes for one in found), "removed": removed and bool(found)}


def remove(found: Iterable[Waste], storage: Storage) -> None:
    """Remove it."""
    for one in found:
        storage.remove(one.path)


def _unused(cache: Path) -> Iterator[Waste]:
    """Yield what is derived from data and was not used for long; it would be made again where a run needs it."""
    # an array, what is told of its rows and its lock share all but the suffix
    kept: dict[str, list[Path]] = {}
    for path in sorted(cache.glob("*-*")):
        kept.setdefault(path.stem, []).append(path)
    for paths in kept.values():
        if time.time() - max(path.lstat().st_mtime for path in paths) > UNUSED_DAYS * 86400:
            for path in paths:
                own = [path, *path.rglob("*")] if path.is_dir() else [path]
                size = sum(one.lstat().st_size for one in own if not one.is_dir())
                yield Waste(path, f"samples or features that nothing used for {UNUSED_DAYS} days", size)


def _policies(ledger: Ledger) -> tuple[dict[str, set[str]], set[str]]:
    """Return the policies of checkpoints {run: those of the studies whose latest plan refers to it}, and all arms."""
    found: dict[str, set[str]] = {}
    arms: set[str] = set()
    for study, plan in announcements(ledger.of(Announced)).items():
        arms |= {arm.key for arm in plan.arms}
        for record in History.read(study, ledger).concerning():
            if isinstance(record, RunRecord):
                found.setdefault(record.key, set()).add(plan.checkpoints)
    return found, arms


def _folders(storage: Storage) -> Iterator[tuple[Path, dict[Path, int]]]:
    """Yield the runs' folders, and {file: bytes} of each."""
    root = storage.root / "runs"
    for name, files in groupby(
        storage.files(root).items(), key=lambda one: one[0].relative_to(root).parts[0]
    ):
        yield root / name, dict(files)


def _megabytes(found: Iterable[Waste]) -> str:
    return f"{sum(one.bytes for one in found) / 2**20:.1f} MB"
