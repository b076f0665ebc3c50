"""How far a study is, as plain data: what its driver shows, and what another shell reads of it.

The driver writes it beside the studies while it is at work, and takes it away at its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sweeper.ledger.storage import Storage
from sweeper.planning.race import Race
from sweeper.running.heartbeats import curve_so_far
from sweeper.study.runs import Run

LONG_SECONDS = 10.0  # under way, from which on a run is worth a look while it lasts
SILENT_BEATS = 30.0  # beats without a word, after which a driver is held to be gone


@dataclass(frozen=True)
class ArmState:
    """An arm: its best configuration with mean, std (ddof 1) and n over seeds on validation, and its runs by number."""

    name: str
    stage: str
    finished: int
    planned: int
    failed: int = 0
    best: int | None = None
    mean: float = 0.0
    std: float | None = None
    n: int = 0
    larger_is_better: bool = True
    stopped: str = ""

    @property
    def worth(self) -> float:
        """By which arms are ordered, the best first."""
        sign = 1 if self.larger_is_better else -1
        return float("-inf") if self.best is None else sign * self.mean

    @property
    def value(self) -> str:
        """The best mean ± std, empty if there is none."""
        spread = "" if self.std is None else f" ± {self.std:.3f}"
        return "" if self.best is None else f"{self.mean:.3f}{spread}"


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


@dataclass(frozen=True)
class State:
    """A study under way at a moment (Unix time `at`), `left` seconds before its end as far as is known."""

    study: str
    metric: str
    at: float
    left: float | None
    arms: tuple[ArmState, ...]
    running: tuple[RunState, ...] = ()

    @property
    def finished(self) -> int:
        """The runs that have a record."""
        return sum(arm.finished for arm in self.arms)

    @property
    def planned(self) -> int:
        """The runs of the whole study, as far as it can be known now."""
        return sum(arm.planned for arm in self.arms)

    @property
    def failed(self) -> int:
        """The runs that failed since the command was given."""
        return sum(arm.failed for arm in self.arms)


def arm_state(name: str, race: Race, failed: int) -> ArmState:
    """Return the state of an arm, of whose runs `failed` did."""
    finished = len(race.runs) - len(race.open)
    found = ArmState(name, race.stage, finished, max(race.planned(), finished), failed, stopped=race.stopped)
    best = race.best()
    if best is None:
        return found
    return replace(
        found,
        best=best.configuration,
        mean=best.mean,
        std=best.std,
        n=best.n,
        larger_is_better=race.sign > 0,
    )


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


def write(state: State, storage: Storage) -> None:
    """Let others see how far a study is."""
    storage.write(_file(state.study, storage), {**asdict(state), "pid": os.getpid()})


def remove(study: str, storage: Storage) -> None:
    """Say that nobody carries a study out any more."""
    storage.remove(_file(study, storage))


def read(study: str, storage: Storage) -> State | None:
    """Return how far a study under way is, None where nobody carries it out or its driver fell silent."""
    raw = storage.read(_file(study, storage))
    if not isinstance(raw, Mapping):
        return None
    try:
        state = TypeAdapter(State).validate_python(raw, extra="ignore")
    except ValidationError:
        return None
    return state if time.time() - state.at < SILENT_BEATS * storage.beat_seconds else None


def best_first(arms: Sequence[ArmState]) -> list[ArmState]:
    """Return the arms, the best value first, then those that have none yet."""
    return sorted(arms, key=lambda arm: arm.worth, reverse=True)


def _file(study: str, storage: Storage) -> Path:
    return storage.live(study)
