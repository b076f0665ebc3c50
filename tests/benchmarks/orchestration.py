"""Orchestration: how busy 200 runs of about a second keep two slots, and what a run costs beside its training."""

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

SLOTS = 2


def study(name: str, seconds: float, configurations: int) -> dict:
    """Return a study of 2 × configurations + 4 runs that sleep."""
    return {
        "study": name,
        "dataset": {"name": "synthetic", "train": 32, "validation": 16, "test": 16},
        "methods": [{"name": "nap", "space": {"seconds": seconds}}],
        "plugins": ["tests.benchmarks.nap"],
        "search": {"configurations": configurations, "seeds": [0, 1], "sampler": "random", "racing": "none"},
        "final": {"seeds": [100, 101, 102, 103]},
        "train": {"epochs": 1},
    }


def carry_out(raw: dict) -> tuple[list[dict], float]:
    """Run a study; return its run records and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(raw))
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "sweeper.cli", "run", str(path), "--storage", folder + "/store"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        wall = time.perf_counter() - began
        lines = (Path(folder) / "store" / "ledger.jsonl").read_text().splitlines()
        return [r for line in lines if (r := json.loads(line))["kind"] == "run"], wall


def main() -> None:
    """Print busy shares and the overhead of a run."""
    runs, wall = carry_out(study("naps", 1.0, 98))
    ends = [r["started"] + r["seconds"] for r in runs]
    span = max(ends) - min(r["started"] for r in runs)
    training = sum(r["seconds"] for r in runs)
    print(f"{len(runs)} runs of {training / len(runs):.3f} s on {SLOTS} slots: {wall:.1f} s in all")
    busy, warm = training / (SLOTS * wall), training / (SLOTS * span)
    print(f"busy over the whole command: {busy:.1%}; from first to last run: {warm:.1%}")
    print(f"overhead a run, warm: {(SLOTS * span - training) / len(runs):.3f} s")
    print(f"memory of a warm worker, peak: {max(r['memory_mb'] for r in runs):.0f} MB")
    short, _ = carry_out(study("short", 0.01, 98))
    span = max(r["started"] + r["seconds"] for r in short) - min(r["started"] for r in short)
    mean = sum(r["seconds"] for r in short) / len(short)
    print(f"{len(short)} runs of {mean:.3f} s: {len(short) / span:.1f} runs a second")
