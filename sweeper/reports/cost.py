"""What a study has cost: hours of its own runs, and an estimate of the energy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord

CPU_WATTS, GPU_WATTS = 12.0, 300.0  # of one core and one GPU, at full load
ASSUMED = (
    f"Energy: {CPU_WATTS:.0f} W for each CPU core and {GPU_WATTS:.0f} W for each GPU that a run reserves, at full load"
    " from its start to its end; memory, idle machines and cooling are not counted. It is an estimate."
)


@dataclass(frozen=True)
class Cost:
    """Runs, seconds, and hours of CPU cores and GPUs of one stage; every attempt counts, failed ones too."""

    stage: str
    runs: int
    hours: float
    cpu_hours: float
    gpu_hours: float

    @property
    def kwh(self) -> float:
        """The estimated energy."""
        return (self.cpu_hours * CPU_WATTS + self.gpu_hours * GPU_WATTS) / 1000


def costs(history: History, *, cpus: float, gpus: float) -> list[Cost]:
    """Return what each stage and both have cost, of runs that reserve so many CPU cores and GPUs."""
    own = [r for r in history.records if isinstance(r, RunRecord) and r.study == history.plan.study]
    stages = [
        ("search", [r for r in own if r.stage == "search"]),
        ("final", [r for r in own if r.stage == "final"]),
    ]
    return [_cost(name, runs, cpus, gpus) for name, runs in [*stages, ("both", own)]]


def taken_over(history: History) -> int:
    """Return how many of the runs that count were carried out by other studies."""
    used = {run.key: run for runs in history.searched.values() for run in runs}
    used |= {run.key: run for arm in history.selected for run in history.final(arm).values()}
    return sum(run.study != history.plan.study for run in used.values())


def _cost(stage: str, runs: Iterable[RunRecord], cpus: float, gpus: float) -> Cost:
    runs = list(runs)
    hours = sum(run.seconds for run in runs) / 3600
    return Cost(stage, len(runs), hours, hours * cpus, hours * gpus)
