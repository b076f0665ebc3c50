"""A cluster of three nodes, by Ray's own test utility: a node that dies in the middle changes no number."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.ledger.records import RunRecord
from tests.sweeper.running.nodes import nodes

pytestmark = pytest.mark.slow
STUDY = {
    "study": "nodes",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48, "signal": 3.0},
    "methods": ["joint", {"name": "nap", "space": {"seconds": 0.2}}],
    "plugins": ["tests.benchmarks.nap"],
    "search": {"configurations": 4, "seeds": [0, 1], "ahead": 2},
    "final": {"seeds": [100, 101, 102]},
    "train": {"epochs": 3},
}


def begin(folder: Path, name: str, **environment: str) -> subprocess.Popen[str]:
    """Start the study in a storage of its own."""
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    command = [sys.executable, "-m", "sweeper.cli", "run", "study.yaml", "--storage", name]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)


def table(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a study and return the rows of its table."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return [line for line in out.splitlines() if line.startswith("|")]


def runs(storage: Path) -> list[RunRecord]:
    path = storage / "ledger.jsonl"
    return [r for r in Ledger(path).records if isinstance(r, RunRecord)] if path.exists() else []


def test_a_study_on_three_nodes_loses_one_and_gives_the_table_of_one_node(tmp_path):
    with nodes(3) as cluster:
        process = begin(tmp_path, "three", RAY_ADDRESS=cluster.address)
        while len(runs(tmp_path / "three")) < 4:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        on_three = table(process)
    assert on_three == table(begin(tmp_path, "one"))
    done = [record.key for record in runs(tmp_path / "three") if record.done]
    assert sorted(done) == sorted(record.key for record in runs(tmp_path / "one"))
