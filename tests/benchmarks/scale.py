"""Large ledgers: plan of a 10,000-run study, report from 10,000 records, resume of them; first step after launch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from sweeper import ROOT
from sweeper.ledger.provenance import provenance
from sweeper.ledger.records import Record, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.planning.planner import Planner
from sweeper.service.session import announcement, as_record
from sweeper.study import schema as study
from sweeper.study.unfold import unfold

LARGE = {
    "study": "large",
    "dataset": "digits",
    "fusion": ["concat", "sum", "mean"],
    "methods": ["joint", "lfm", "ogm", "uniform", "label_smoothing"],
    "search": {
        "configurations": 80,
        "seeds": [0, 1, 2, 3, 4, 5, 6, 7],
        "sampler": "random",
        "racing": "none",
    },
    "final": {"seeds": list(range(100, 127))},
    "train": {"epochs": 1},
}


def command(*arguments: str) -> tuple[float, str]:
    """Run `sweeper …`; return its seconds and what it printed."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return time.perf_counter() - began, done.stdout + done.stderr


def fabricate(storage: Storage, loaded: study.Study, keep: float) -> int:
    """Write the ledger that the study would have, with made-up results; return the number of runs."""
    unfolded, origin = unfold(loaded), provenance()
    records: list[Record] = [announcement(loaded, unfolded, [], origin["git"])]
    planner = Planner(loaded, unfolded, {}, {}, records.append)
    curve = [0.5 + 0.01 * e for e in range(20)]
    while (run := planner.take()) is not None:
        scores = {
            "accuracy": 0.5 + int(run.key[:4], 16) / 2**18,
            "accuracy/left": 0.4,
            "accuracy/right": 0.4,
            "gap": 0.0,
        }
        metrics = {"validation": scores} | ({"test/clean": scores} if run.stage == "final" else {})
        result = {
            "status": "done",
            "metrics": metrics,
            "curve": curve,
            "epochs": 20,
            "best_epoch": 20,
            "seconds": 1.0,
        }
        record = as_record(loaded, run, {**result, "started": 0.0, "host": "x", "bytes": 1000}, origin)
        records.append(record)
        planner.settle(run.key, record)
    runs = [record for record in records if isinstance(record, RunRecord)]
    drop = {record.key for record in runs[int(keep * len(runs)) :]}
    with storage.ledger.open("w") as file:
        for record in records:
            if getattr(record, "key", None) not in drop:
                file.write(json.dumps(record.raw()) + "\n")
    return len(runs)


def main() -> None:
    """Print the seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        path.write_text(yaml.safe_dump(LARGE))
        loaded = study.load(str(path))
        storage = Storage(Path(folder) / "store")
        storage.root.mkdir()
        began = time.perf_counter()
        n = fabricate(storage, loaded, 1.0)
        print(f"planner alone: {n} runs decided and settled in {time.perf_counter() - began:.1f} s")
        where = ("--storage", str(storage.root))
        print(
            f"sweeper plan of {n} runs, none done: {command('plan', str(path), '--storage', folder + '/none')[0]:.2f} s"
        )
        print(f"sweeper plan of {n} runs, all done: {command('plan', str(path), *where)[0]:.2f} s")
        print(f"sweeper report from {n} records: {command('report', 'large', *where)[0]:.2f} s")
        fabricate(storage, loaded, 0.999)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", "run", str(path), *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        print(f"resume of {n} records: {first_run(storage, began):.2f} s to the first new run")
        process.terminate()
        process.wait()
    with tempfile.TemporaryDirectory() as folder:
        launched, began = time.time(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", "run", "quickstart", "--storage", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        handed = first_run(Storage(Path(folder)), began)
        while not (found := list(Path(folder).glob("runs/*/result.json"))):
            time.sleep(0.02)
        started = min(json.loads(path.read_text())["started"] for path in found) - launched
        print(
            f"launch of quickstart: first run handed out after {handed:.2f} s, it trains after {started:.2f} s"
        )
        process.terminate()
        process.wait()


def first_run(storage: Storage, began: float) -> float:
    """Return the seconds until a run's order appears."""
    while not list(storage.root.glob("runs/*/run.json")):
        time.sleep(0.02)
    return time.perf_counter() - began
