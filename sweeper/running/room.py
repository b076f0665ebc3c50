"""How many runs fit on the cluster, followed as it grows and shrinks; where it can grow, it is asked to."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ray
import yaml
from ray.autoscaler.sdk import request_resources

from sweeper.models.errors import UserError
from sweeper.study.schema import Resources

LOOK_SECONDS = 1.0
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


def draining() -> set[str]:
    """Return the ids of the nodes that are about to be taken away."""
    from ray._private.state import state  # Ray has no public word for it outside Ray Train

    return set(state.get_draining_nodes())


def present() -> list[Node]:
    """Return the resources of the nodes that are there and stay."""
    leaving = draining()
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def possible() -> list[Node]:
    """Return the nodes that Ray's autoscaler may add, from the file that `ray up` left on the head; none without it."""
    path = Path(os.environ.get("SWEEPER_AUTOSCALING", "~/ray_bootstrap_config.yaml")).expanduser()
    config = yaml.safe_load(path.read_text()) if path.exists() else {}
    most = config.get("max_workers", 0)
    found: list[Node] = []
    for name, kind in config.get("available_node_types", {}).items():
        if name != config.get("head_node_type"):
            found += [kind.get("resources", {})] * min(kind.get("max_workers", most), most)
    return found


def check(need: Resources) -> None:
    """Raise UserError if no run fits on the cluster, as it is or as it may grow."""
    if need.workers > 1 and need.gpus % 1:
        raise UserError(
            f"resources: {need.gpus:g} GPU for each of {need.workers} workers; a run on several workers"
            " needs whole GPUs, or none"
        )
    now, later = present(), possible()
    if fits(need, now) or fits(need, later):
        return
    have = {kind: sum(node.get(kind, 0) for node in now) for kind in ("CPU", "GPU")}
    grown = " and cannot grow so far" if later else ""
    raise UserError(
        f"a run needs {need.workers} × ({need.cpus:g} CPU, {need.gpus:g} GPU), but the cluster has"
        f" {have['CPU']:g} CPU and {have['GPU']:g} GPU{grown}; lower resources in the study"
    )


class Room:
    """What is free of the cluster: a run that fits n times takes an n-th of it."""

    def __init__(self) -> None:
        self.possible = possible()
        self.asked: list[dict[str, float]] = []
        self._look()

    def has(self, need: Resources, running: Iterable[Resources]) -> bool:
        """Say whether a run fits beside those that are running."""
        if time.monotonic() - self.looked > LOOK_SECONDS:
            self._look()
        return sum(map(self._part, running)) + self._part(need) <= 1 + 1e-9

    @property
    def grows(self) -> bool:
        """Whether there is an autoscaler that may add nodes."""
        return bool(self.possible)

    def beyond(self, need: Resources) -> int:
        """Return how many runs would fit if the autoscaler had added all it may."""
        return fits(need, self.possible)

    def ask(self, needs: Sequence[Resources]) -> None:
        """Ask the autoscaler for what these runs need in all."""
        wanted = [bundle(need) for need in needs for _ in range(need.workers)]
        if wanted != self.asked:
            request_resources(bundles=wanted)
            self.asked = wanted

    def _part(self, need: Resources) -> float:
        kind = (need.cpus, need.gpus, need.workers)
        if kind not in self._parts:
            n = fits(need, self._present)
            self._parts[kind] = 1 / n if n else math.inf
        return self._parts[kind]

    def _look(self) -> None:
        self._present, self.looked = present(), time.monotonic()
        self._parts: dict[tuple[float, float, int], float] = {}
