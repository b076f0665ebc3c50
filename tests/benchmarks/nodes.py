"""Orchestration through a cluster: what a run costs on three nodes beside its training, against one of as many CPUs."""

from __future__ import annotations

import os
from statistics import median

from tests.benchmarks.orchestration import carry_out, study
from tests.sweeper.running.nodes import nodes

SLOTS, ROUNDS = 3, 3


def overhead(count: int) -> float:
    """Return seconds a warm run costs beside its training on so many nodes, three CPUs in all."""
    with nodes(count, SLOTS // count) as cluster:
        os.environ["RAY_ADDRESS"] = cluster.address
        try:
            runs, _ = carry_out(study("nodes", 0.5, 20))
        finally:
            del os.environ["RAY_ADDRESS"]
    span = max(r["started"] + r["seconds"] for r in runs) - min(r["started"] for r in runs)
    return (SLOTS * span - sum(r["seconds"] for r in runs)) / len(runs)


def main() -> None:
    """Print both and their ratio."""
    rounds = [(overhead(1), overhead(3)) for _ in range(ROUNDS)]
    one, three = (median(column) for column in zip(*rounds, strict=True))
    print(f"overhead a run, warm: one node {one:.3f} s, three nodes {three:.3f} s, {three / one:.2f} ×")
