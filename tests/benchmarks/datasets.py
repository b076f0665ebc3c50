"""Datasets: five whose arms take turns on two slots; seconds of the whole, and how often each worker loaded one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from sweeper import ROOT

DATASETS, ROWS, WIDTH = 5, 1200, 6000
# imported by every process before all else: notes who opens a dataset's file, whatever code does it
WITNESS = """
import os, sys


def note(event, given):
    if event == "open" and str(given[0]).endswith(".npz") and "/data" in str(given[0]):
        named = open("/proc/self/cmdline", "rb").read().replace(b"\\0", b" ").decode()
        place = os.open(os.environ["LOADS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(place, f"{os.getpid()} {named[:20].split()[0]} {os.path.basename(str(given[0]))}\\n".encode())
        os.close(place)


sys.addaudithook(note)
"""
SPACE = {"train.optimizer": "sgd", "train.weight_decay": 0.0, "train.batch_size": 64}


def study(folder: Path) -> dict:
    """Write five datasets below a folder and return a study of an arm on each, 90 runs in all."""
    rng = np.random.default_rng(0)
    for number in range(DATASETS):
        target = np.arange(ROWS) % 4
        split = np.where(
            np.arange(ROWS) % 6 == 0, "test", np.where(np.arange(ROWS) % 6 == 1, "validation", "train")
        )
        inputs = {f"x_{m}": rng.normal(target[:, None], 4, (ROWS, WIDTH)).astype(np.float32) for m in "ab"}
        np.savez(folder / f"data{number}.npz", y=target, split=split, **inputs)
    return {
        "study": "datasets",
        "dataset": [{"name": "arrays", "path": f"{folder}/data{number}.npz"} for number in range(DATASETS)],
        "encoders": {m: {"name": "mlp", "hidden": 16} for m in "ab"},
        "methods": [{"name": "joint", "space": SPACE}],
        "search": {"configurations": 8, "seeds": [0, 1], "sampler": "random", "racing": "none"},
        "final": {"seeds": [100, 101]},
        "train": {"epochs": 1},
        "resources": {"cpus": (os.cpu_count() or 1) / 2},  # two slots
    }


def measure(python: str = sys.executable, home: Path = ROOT) -> tuple[float, list[int]]:
    """Carry the study out by the code in `home`; return its seconds and how often each worker loaded a dataset."""
    with tempfile.TemporaryDirectory() as name:
        folder, loads = Path(name), Path(name) / "loads.txt"
        (folder / "study.yaml").write_text(yaml.safe_dump(study(folder)))
        (folder / "witness").mkdir()
        (folder / "witness" / "sitecustomize.py").write_text(WITNESS)
        began = time.perf_counter()
        subprocess.run(
            [python, "-m", "sweeper.cli", "run", name + "/study.yaml", "--storage", name + "/store"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            env={**os.environ, "PYTHONPATH": f"{home}:{folder}/witness", "LOADS": str(loads)},
        )
        seconds = time.perf_counter() - began
        seen = [line.split() for line in loads.read_text().splitlines()]
        return seconds, sorted(Counter(pid for pid, who, _ in seen if who.startswith("ray::")).values())


def tell(seconds: float, loads: list[int]) -> None:
    """Print them."""
    print(f"90 runs on {DATASETS} datasets in turn, two slots: {seconds:.1f} s")
    print(f"datasets loaded by each worker: {', '.join(map(str, loads))}")


def loading() -> float:
    """Return the seconds that loading one of the datasets takes."""
    from sweeper.models.data import load_dataset

    with tempfile.TemporaryDirectory() as name:
        options = study(Path(name))["dataset"][0]
        began = time.perf_counter()
        load_dataset("arrays", {"path": options["path"]})
        return time.perf_counter() - began


def main() -> None:
    """Print what loading one costs, and how often it happens."""
    print(f"loading one dataset: {loading():.2f} s")
    tell(*measure())
