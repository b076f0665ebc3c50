"""How many runs fit on the cluster, followed as it grows and shrinks; where it can grow, it is asked to."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import ray
import yaml
from ray.autoscaler.sdk import request_resources

from sweeper.models.errors import UserError
from sweeper.running.fitting import Node, bundle, fits, too_much
from sweeper.study.schema import Resources

LOOK_SECONDS = 1.0


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
    now, later = present(), possible()
    if fits(need, now) or fits(need, later):
        return
    grown = " and cannot grow so far" if later else ""
    raise UserError(f"{too_much(need, 'the cluster', now)}{grown}; lower resources in the study")


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
