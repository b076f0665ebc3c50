"""Memory, seen from outside: worker and driver after 300 runs of mixed methods, the driver after 5,000 tiny ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import yaml

from sweeper import ROOT
from tests.benchmarks.orchestration import study

MOMENTS, DURING = (10, 100, 300), 10  # runs done, and for how many more it is looked
TRIALS = (b"ray::_Worker", b"ray::ResourceTrainable")  # what Ray calls a process that carries out a trial
METHODS = ("joint", "lfm", "udml", "rw", "ogm", "cl_dmdf")
STUDY = {
    "study": "memory",
    "dataset": {"name": "synthetic", "train": 96, "validation": 48, "test": 48},
    "methods": list(METHODS),
    "search": {"configurations": 25, "seeds": [0, 1], "sampler": "random", "racing": "none"},
    "final": {"seeds": [100, 101, 102]},
    "train": {"epochs": 1},
    "resources": {"cpus": os.cpu_count() or 1},  # one run at once, so that a single worker does them all
}
TINY = study("tiny", 0.0, 2500)
MANY = (100, 1000, 2000, 3000, 4000, 4990)


def resident(process: int) -> float:
    """Return the memory of a process in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def workers(mark: str) -> list[int]:
    """Return the processes in whose environment the mark stands and that Ray carries trials out in."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            named = (place / "cmdline").read_bytes().startswith(TRIALS)
            if named and mark.encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:  # it has ended
            continue
    return found


def measure(
    python: str = sys.executable, home: Path = ROOT, study: dict = STUDY, moments: Sequence[int] = MOMENTS
) -> dict[str, dict[int, float]]:
    """Carry a study out by the code in `home`; return {who: {runs done: MB}}, medians over the next runs."""
    seen: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "study.yaml").write_text(yaml.safe_dump(study))
        driver = subprocess.Popen(
            [python, "-m", "sweeper.cli", "run", folder + "/study.yaml", "--storage", folder + "/store"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(home), "MARK": folder},
        )
        ledger = Path(folder) / "store" / "ledger.jsonl"
        while driver.poll() is None:
            time.sleep(0.1)
            done = ledger.read_bytes().count(b'"kind":"run"') if ledger.exists() else 0
            for moment in (m for m in moments if m <= done < m + DURING):
                for who, process in [("driver", driver.pid), *(("worker", pid) for pid in workers(folder))]:
                    try:
                        seen.setdefault((who, moment), []).append(resident(process))
                    except (OSError, StopIteration):  # it has ended
                        continue
    return {who: {m: median(seen[who, m]) for m in moments} for who in ("worker", "driver")}


def tell(found: dict[str, dict[int, float]]) -> None:
    """Print megabytes and ratios."""
    for who, held in found.items():
        told = ", ".join(f"{megabytes:.0f} MB after {moment:,} runs" for moment, megabytes in held.items())
        first, *_, last = held.values()
        print(f"{who}: {told}; {last / first:.2f} × from first to last")


def main() -> None:
    """Print what worker and driver hold, and how that grows."""
    tell(measure())
    tell({"driver": measure(study=TINY, moments=MANY)["driver"]})
