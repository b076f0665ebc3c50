"""What a storage holds for nobody: folders of runs that no study refers to, and checkpoints that no policy keeps."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History, announcements
from sweeper.ledger.records import RunRecord
from sweeper.ledger.storage import Storage

SHOWN = 10
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
    for folder in _folders(storage.root / "runs"):
        order, record = storage.order(folder.name) or {}, ledger.runs.get(folder.name)
        under_way = record is None and order.get("arm") in arms  # what a study that was ended goes on with
        if folder.name not in policies and not under_way:
            found.append(Waste(folder, "a run that no study refers to", _size(folder)))
            continue
        if order.get("training"):
            used.add(Path(order["training"]).name)
        if record and record.done:
            kept = {name for policy in policies[folder.name] for name in KEPT[policy]}
            found += [
                Waste(path, "a checkpoint that no study keeps", _size(path))
                for path in sorted(folder.glob("*.pt"))
                if path.name not in kept
            ]
    for path in sorted((storage.root / "trainings").glob("*.pt")):
        if path.name not in used:
            found.append(Waste(storage.training(path.stem), "a training that no run shares", _size(path)))
    return found


def describe(found: Sequence[Waste]) -> Iterator[str]:
    """Yield what would be freed, in lines."""
    for why in dict.fromkeys(one.why for one in found):
        own = [one for one in found if one.why == why]
        yield f"{len(own)} × {why}: {_megabytes(own)}"
        yield from (f"  {one.path}" for one in own[:SHOWN])
        if len(own) > SHOWN:
            yield f"  and {len(own) - SHOWN} more"
    yield f"in all {_megabytes(found)}"


def remove(found: Iterable[Waste]) -> None:
    """Remove it."""
    for one in found:
        if one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)


def _policies(ledger: Ledger) -> tuple[dict[str, set[str]], set[str]]:
    """Return the policies of checkpoints {run: those of the studies whose latest plan refers to it}, and all arms."""
    found: dict[str, set[str]] = {}
    arms: set[str] = set()
    for study, plan in announcements(ledger.records).items():
        arms |= {arm.key for arm in plan.arms}
        for record in History.of(study, ledger.records).concerning():
            if isinstance(record, RunRecord):
                found.setdefault(record.key, set()).add(plan.checkpoints)
    return found, arms


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _megabytes(found: Iterable[Waste]) -> str:
    return f"{sum(one.bytes for one in found) / 2**20:.1f} MB"
