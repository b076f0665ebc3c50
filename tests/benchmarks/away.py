"""MLflow's server away for a whole study: what that costs the training, against a server that is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from statistics import median

from tests.benchmarks.orchestration import carry_out
from tests.sweeper.tracking import servers

ROUNDS = 3
NOBODY = "http://127.0.0.1:9"
STUDY = {
    "study": "away",
    "dataset": "digits",
    "methods": ["joint", "ogm"],
    "search": {"configurations": 1},
    "final": {"seeds": list(range(100, 115))},
    "train": {"epochs": 60},
}


def measure(uri: str) -> tuple[float, float]:
    """Return the seconds from the first run's start to the last one's end, and those of the whole command."""
    os.environ["MLFLOW_TRACKING_URI"] = uri
    runs, wall = carry_out(STUDY)
    return max(r["started"] + r["seconds"] for r in runs) - min(r["started"] for r in runs), wall


def main() -> None:
    """Print the ratios away / there, medians of paired rounds."""
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as home:
            port = servers.free_port()
            with servers.mlflow(Path(home), port):
                there = measure(f"http://127.0.0.1:{port}")
        rounds.append((there, measure(NOBODY)))
    spans = median(away[0] / there[0] for there, away in rounds)
    walls = median(away[1] / there[1] for there, away in rounds)
    print(f"MLflow away against there: training {spans:.2f} ×, whole command {walls:.2f} ×")
