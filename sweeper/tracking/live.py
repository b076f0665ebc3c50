"""Runs under way as MLflow shows them: each below its configuration, RUNNING, with its curves so far.

Nothing of it stays: when a run has its record, it is written anew from that, with its results and files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.ledger.storage import Storage
from sweeper.running.heartbeats import curve_so_far
from sweeper.running.watched import RunState
from sweeper.tracking.connection import Shown
from sweeper.tracking.view import NAME, PARENT, Point, Position


@dataclass
class Live:
    """The runs under way that MLflow shows; `create`, `log` and `delete` write there."""

    storage: Storage
    create: Callable[[float, Mapping[str, Any]], Shown]
    log: Callable[[Shown, Mapping[str, Any], Iterable[Point]], None]
    delete: Callable[[str], None]

    def __post_init__(self) -> None:
        self.shown: dict[str, tuple[Shown, int]] = {}  # with the last epoch that is there

    def update(self, runs: Iterable[RunState], parents: Mapping[Position, Shown]) -> None:
        """Show what these runs have logged since the last time, and take away the others."""
        running = {run.key: run for run in runs}
        for key in self.shown.keys() - running.keys():
            self.delete(self.shown.pop(key)[0].id)
        for key, run in running.items():
            parent = parents.get((run.arm_key, run.configuration))
            curve = curve_so_far(self.storage, key)
            if parent is None or not curve:
                continue
            if key not in self.shown:
                self.shown[key] = self.create(run.began, _tags(run, parent)), 0
            child, last = self.shown[key]
            self.log(child, {}, points(curve, last, run.began))
            self.shown[key] = child, int(curve[-1]["epoch"])


def points(curve: Iterable[Mapping[str, float]], after: int, began: float) -> list[Point]:
    """Return the points of the epochs of a curve that come after one."""
    return [
        (name, value, began, int(epoch["epoch"]))
        for epoch in curve
        if epoch["epoch"] > after
        for name, value in epoch.items()
        if name != "epoch"
    ]


def _tags(run: RunState, parent: Shown) -> dict[str, str]:
    final = "final " * (run.stage == "final")
    return {
        NAME: f"{run.arm} #{run.configuration}, {final}seed {run.seed}",
        PARENT: parent.id,
        "sweeper.kind": "run",
        "sweeper.key": run.key,
        "sweeper.arm": run.arm_key,
        "sweeper.configuration": str(run.configuration),
        "sweeper.stage": run.stage,
        "sweeper.seed": str(run.seed),
        "sweeper.status": "running",
    }
