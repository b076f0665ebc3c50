"""How far a study is, as plain data: what its driver shows, and what another shell reads of it.

The driver writes it beside the studies while it is at work, and takes it away at its end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter, ValidationError

from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.planning.race import Race
from sweeper.running.watched import RunState

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


def write(state: State, storage: Storage) -> None:
    """Let others see how far a study is; a disk that is full or a bucket that is away is not this file's to tell."""
    with suppress(OSError, UserError):
        storage.write(storage.live(state.study), asdict(state))


def remove(study: str, storage: Storage) -> None:
    """Say that nobody carries a study out any more."""
    storage.remove(storage.live(study))


def read(study: str, storage: Storage) -> State | None:
    """Return how far a study under way is, None where nobody carries it out or its driver fell silent."""
    raw = storage.read(storage.live(study))
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
