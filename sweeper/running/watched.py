"""The runs that are under way, as their heartbeats tell of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from sweeper.ledger.storage import Storage
from sweeper.running.heartbeats import curve_so_far
from sweeper.study.runs import Run

LONG_SECONDS = 10.0  # under way, from which on a run is worth a look while it lasts


@dataclass(frozen=True)
class RunState:
    """A run under way: whose, since when (Unix time), and of its epochs the last that it told of."""

    key: str
    arm: str
    arm_key: str
    configuration: int
    stage: str
    seed: int
    began: float
    epochs: int
    epoch: int = 0
    value: float | None = None

    @property
    def where(self) -> str:
        """The epoch it is at, `12/30`; a method of several phases may need more than are asked for."""
        if not self.epoch:
            return "starting"
        return f"epoch {self.epoch}/{self.epochs}" if self.epoch <= self.epochs else f"epoch {self.epoch}"


class Watched:
    """The runs that are under way, each with the last epoch that it told of."""

    def __init__(self, storage: Storage, metric: str) -> None:
        self.storage, self.metric = storage, metric
        self.runs: dict[str, RunState] = {}
        self.looked = self.told = 0.0

    def begin(self, run: Run, arm: str) -> None:
        """Enter a run that was handed to a worker, the first time or anew."""
        epochs = int(run.payload["train"]["epochs"])
        self.runs[run.key] = RunState(
            run.key, arm, run.arm.key, run.configuration, run.stage, run.seed, time.time(), epochs
        )

    def end(self, key: str) -> None:
        """Forget a run that has a result."""
        self.runs.pop(key, None)

    def look(self) -> tuple[RunState, ...]:
        """Return the runs under way, their heartbeats read once in the storage's `beat_seconds` at most."""
        if time.monotonic() - self.looked >= self.storage.beat_seconds:
            self.looked = time.monotonic()
            for key, run in self.runs.items():
                if time.time() - run.began >= self.storage.beat_seconds:  # before that it has written none
                    self.runs[key] = self._seen(run)
        return tuple(self.runs.values())

    def long_under_way(self) -> tuple[RunState, ...]:
        """Return the runs that are worth a look before they end."""
        return tuple(run for run in tuple(self.runs.values()) if time.time() - run.began >= LONG_SECONDS)

    def has_news(self) -> bool:
        """Whether such runs may have told of more epochs since this was last answered with yes."""
        if time.monotonic() - self.told < LONG_SECONDS or not self.long_under_way():
            return False
        self.told = time.monotonic()
        return True

    def _seen(self, run: RunState) -> RunState:
        curve = curve_so_far(self.storage, run.key)
        if not curve:
            return run
        return replace(run, epoch=int(curve[-1]["epoch"]), value=curve[-1].get(f"validation/{self.metric}"))
