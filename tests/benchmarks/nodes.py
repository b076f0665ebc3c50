"""Orchestration through a cluster: what a run costs on three nodes beside its training, against one of as many CPUs."""

from __future__ import annotations

import os
from statistics import median

from tests.benchmarks.orchestration import carry_out, study

SLOTS, ROUNDS = 3, 3


def overhead(nodes: int) -> float:
    """Return seconds a warm run costs beside its training on so many nodes, three CPUs in all."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": SLOTS // nodes, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    for _ in range(nodes - 1):
        cluster.add_node(**node)
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        runs, _ = carry_out(study("nodes", 0.5, 40))
    finally:
        del os.environ["RAY_ADDRESS"]
        cluster.shutdown()
    span = max(r["started"] + r["seconds"] for r in runs) - min(r["started"] for r in runs)
    return (SLOTS * span - sum(r["seconds"] for r in runs)) / len(runs)


def main() -> None:
    """Print both and their ratio."""
    rounds = [(overhead(1), overhead(3)) for _ in range(ROUNDS)]
    one, three = (median(column) for column in zip(*rounds, strict=True))
    print(f"overhead a run, warm: one node {one:.3f} s, three nodes {three:.3f} s, {three / one:.2f} ×")
