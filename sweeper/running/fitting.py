"""How many runs fit on nodes, and what this machine has: told without Ray."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sweeper.running.address import address
from sweeper.study.schema import Resources

Node = Mapping[str, float]  # what a node has of each kind of resource


def bundle(need: Resources) -> dict[str, float]:
    """Return what one worker of a run reserves."""
    return {kind: n for kind, n in (("CPU", need.cpus), ("GPU", need.gpus)) if n}


def fits(need: Resources, nodes: Iterable[Node]) -> int:
    """Return how many runs fit on the nodes at once; a part of a GPU is a part of one."""
    parts = bundle(need).items()
    return sum(min(_times(node.get(kind, 0), n) for kind, n in parts) for node in nodes) // need.workers


def _times(have: float, n: float) -> int:
    if n < 1:
        return int(have) * math.floor(1 / n + 1e-9) + math.floor((have - int(have)) / n + 1e-9)
    return math.floor(have / n + 1e-9)


def too_much(need: Resources, where: str, nodes: Iterable[Node]) -> str:
    """Return what a run needs and what there is in its place, as the beginning of a sentence."""
    there = list(nodes)
    cpus, gpus = (sum(node.get(kind, 0) for node in there) for kind in ("CPU", "GPU"))
    return (
        f"a run needs {need.workers} × ({need.cpus:g} CPU, {need.gpus:g} GPU), but {where} has"
        f" {cpus:g} CPU and {gpus:g} GPU"
    )


def here() -> Node:
    """Return what this machine has; of its GPUs those that CUDA_VISIBLE_DEVICES leaves."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = [name for name in (visible or "").split(",") if name.strip()]
    gpus = sum(1 for _ in Path("/proc/driver/nvidia/gpus").glob("*"))
    return {
        "CPU": float(os.cpu_count() or 1),
        "GPU": float(gpus if visible is None else min(gpus, len(listed))),
    }


def warnings(need: Resources) -> list[str]:
    """Return a sentence if no run fits on this machine, and no cluster is named that might have the room."""
    if address() is not None or fits(need, [here()]):
        return []
    return [f"{too_much(need, 'this machine', [here()])}; a cluster that has it is needed to run this"]
