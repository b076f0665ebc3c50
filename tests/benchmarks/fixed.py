"""Fixed cost: seconds before the first run of a study trains and after its last, against bare Ray and torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from sweeper import ROOT

ROUNDS = 3
STUDY = {
    "study": "fixed",
    "dataset": "digits",
    "methods": ["joint", "ogm"],
    "search": {"configurations": 1},
    "final": {"seeds": list(range(100, 120))},
    "train": {"epochs": 60},
}
BARE = """
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False)
@ray.remote
def torch_version():
    import torch
    return torch.__version__
ray.get(torch_version.remote())
"""


def bare() -> float:
    """Return the seconds of a program that starts Ray, imports torch in a worker and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True)
    return time.perf_counter() - began


def measure(python: str = sys.executable, home: Path = ROOT) -> tuple[float, float]:
    """Carry the study out by the code in `home`; return seconds from launch to first run and from last to prompt."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "study.yaml").write_text(yaml.safe_dump(STUDY))
        began = time.time()
        subprocess.run(
            [python, "-m", "sweeper.cli", "run", folder + "/study.yaml", "--storage", folder + "/store"],
            check=True,
            capture_output=True,
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(home)},
        )
        ended = time.time()
        found = [json.loads(path.read_text()) for path in Path(folder).glob("store/runs/*/result.json")]
        first = min(result["started"] for result in found)
        last = max(result["started"] + result["seconds"] for result in found)
        return first - began, ended - last


def main() -> None:
    """Print medians, and the whole as a ratio."""
    rounds = [(bare(), *measure()) for _ in range(ROUNDS)]
    floor, before, after = (median(column) for column in zip(*rounds, strict=True))
    ratio = median((before + after) / floor for floor, before, after in rounds)
    print(f"bare Ray, torch imported in a worker: {floor:.1f} s")
    print(
        f"a study: {before:.1f} s before its first run trains, {after:.1f} s from its last run to the prompt"
    )
    print(f"fixed cost: {ratio:.2f} × bare Ray and torch")
