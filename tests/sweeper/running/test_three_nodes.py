"""A cluster of three nodes, by Ray's own test utility: a node that dies in the middle changes no number."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.ledger.records import RunRecord

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


@pytest.fixture
def nodes() -> Iterator:
    """A head and two more nodes of one CPU each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own imports
        from ray.cluster_utils import Cluster
    node = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(2):
        cluster.add_node(**node)
    yield cluster
    cluster.shutdown()


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


def test_a_study_on_three_nodes_loses_one_and_gives_the_table_of_one_node(nodes, tmp_path):
    process = begin(tmp_path, "three", RAY_ADDRESS=nodes.address)
    while len(runs(tmp_path / "three")) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)
    on_three = table(process)
    assert on_three == table(begin(tmp_path, "one"))
    done = [record.key for record in runs(tmp_path / "three") if record.done]
    assert sorted(done) == sorted(record.key for record in runs(tmp_path / "one"))
