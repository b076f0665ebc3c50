"""A ledger of a million runs of 40 studies: what each command takes for one study of 1,000 of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.ledger.records import RunRecord
from sweeper.ledger.storage import Storage
from sweeper.study import schema
from tests.benchmarks.scale import fabricate, first_run

RUNS, STUDIES = 1_000_000, 40
MINE = {
    "study": "mine",
    "dataset": "digits",
    "methods": ["joint", "lfm", "ogm", "uniform", "label_smoothing"],
    "search": {"configurations": 45, "seeds": [0, 1, 2, 3], "sampler": "random", "racing": "none"},
    "final": {"seeds": list(range(100, 120))},
    "train": {"epochs": 1},
}


def multiply(storage: Storage, runs: int) -> None:
    """Add the same study under other names, with other keys, until the ledger has so many runs."""
    plan, *lines = storage.ledger.read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    own = [record for record in records if record["kind"] == "run"]
    names = {record[name] for record in own for name in ("arm", "key", "work")}
    parts = "".join(lines).replace('"mine"', '"\0"').split('"')  # every other one is a string
    plans = [{**json.loads(plan), "study": f"other{i}", "arms": []} for i in range(STUDIES - 1)]
    with storage.ledger.open("a") as file:
        for copy in range(1, runs // len(own)):
            announced = plans[copy % len(plans)]
            other = {name: hashlib.sha256(f"{copy}{name}".encode()).hexdigest()[:16] for name in names}
            other["\0"] = announced["study"]
            file.write('"'.join(other.get(part, part) for part in parts))
            announced["arms"] += [
                {**arm, "key": other[arm["key"]], "axes": {**arm["axes"], "dataset": str(copy)}}
                for arm in json.loads(plan)["arms"]
            ]
        file.writelines(json.dumps(announced) + "\n" for announced in plans)


def measured(*arguments: str) -> str:
    """Run `sweeper …`; return the seconds and the megabytes it took."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", *arguments],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    failed = f" (exit code {process.returncode})" * (process.returncode != 0)
    return f"{time.perf_counter() - began:6.2f} s {usage.ru_maxrss / 1024:6.0f} MB{failed}"


def resumed(path: Path, storage: Storage) -> float:
    """Return the seconds from `sweeper run` until its first run is handed out."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", "run", str(path), "--storage", str(storage.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    seconds = first_run(storage, began)
    process.terminate()
    process.wait()
    return seconds


def main(runs: int = RUNS) -> None:
    """Print seconds and peak memory of each command."""
    with tempfile.TemporaryDirectory() as folder:
        path, storage = Path(folder) / "mine.yaml", Storage(Path(folder) / "store")
        path.write_text(yaml.safe_dump(MINE))
        storage.root.mkdir()
        fabricate(storage, schema.load(str(path)), 0.999)
        alone, where = measured("report", "mine", "--storage", str(storage.root)), str(storage.root)
        print(f"report, 1,000 runs in all: {alone}")
        multiply(storage, runs)
        print(f"{runs:,} runs of {STUDIES} studies, {storage.ledger.stat().st_size / 2**30:.2f} GiB")
        for name, arguments in {
            "status, the first to see it": ("status",),
            "status": ("status",),
            "status mine": ("status", "mine"),
            "report mine": ("report", "mine"),
            "plan mine": ("plan", str(path)),
        }.items():
            print(f"{name}: {measured(*arguments, '--storage', where)}", flush=True)
        began = time.perf_counter()
        ledger = Ledger(storage.ledger)
        opened = time.perf_counter()
        for i in range(100):
            ledger.append(RunRecord(key=f"new{i}", status="done"))
        ended = time.perf_counter()
        print(f"open: {opened - began:.2f} s; append: {(ended - opened) * 10:.2f} ms a record")
        print(f"resume mine: {resumed(path, storage):.2f} s to the first new run")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
