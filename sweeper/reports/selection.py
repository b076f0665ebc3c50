"""How an arm's configuration was chosen on validation: by how much, or by a tie; what a smaller budget would find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from sweeper.bridge import direction
from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord
from sweeper.reports.statistics import equal, mean_std


@dataclass(frozen=True)
class Choice:
    """An arm's selected configuration beside the others that had as many seeds.

    `mean` is its value on validation over `seeds` tuning seeds; `tied` are configurations with the same mean, `decided`
    says what broke the tie; `behind` is the runner-up's deficit, paired over seeds, with its std.
    """

    name: str
    configuration: int
    mean: float
    seeds: int
    rivals: int
    tied: tuple[int, ...] = ()
    decided: str = ""
    runner_up: int | None = None
    behind: tuple[float, float | None] | None = None


def choices(history: History) -> list[Choice]:
    """Return how each arm's configuration was chosen, of arms that had a choice."""
    metric = history.plan.select.metric
    found = (_choice(history, arm, metric) for arm in history.names if arm in history.selected)
    return [choice for choice in found if choice]


def _choice(history: History, arm: str, metric: str) -> Choice | None:
    chosen = history.selected[arm].configuration
    tried = _scored(history.tried[arm], metric)
    if chosen not in tried:
        return None
    own = tried[chosen]
    rivals = {k: runs for k, runs in tried.items() if k != chosen and runs.keys() == own.keys()}
    if len(tried) < 2:
        return None
    sign = 1 if direction(metric) == "max" else -1
    mean = _mean(own, metric)
    tied = tuple(k for k, runs in rivals.items() if equal(_mean(runs, metric), mean))
    losses = [_mean(rivals[k], "loss") for k in tied]
    decided = _breaking(_mean(own, "loss"), losses)
    order = sorted(rivals, key=lambda k: (-sign * _mean(rivals[k], metric), _mean(rivals[k], "loss"), k))
    runner_up = order[0] if order else None
    behind = None
    if runner_up is not None:
        found = [
            sign * (own[s].validation[metric] - rivals[runner_up][s].validation[metric]) for s in sorted(own)
        ]
        behind = mean_std(found)[:2]
    return Choice(
        *(history.names[arm], chosen, mean, len(own), len(rivals), tied, decided, runner_up, behind)
    )


def _breaking(own: float, losses: Sequence[float]) -> str:
    """Return what broke a tie with configurations of such losses, empty if there were none."""
    if not losses:
        return ""
    if own > min(losses):  # means that differ by the rounding of their sums
        return "last digit of the mean"
    return "lower loss" if own < min(losses) else "lower number"


def ties(found: Sequence[Choice], arms: int) -> list[str]:
    """Return a sentence naming the arms whose selection was decided by a tie."""
    tied = [choice for choice in found if choice.tied]
    if not tied:
        return []
    rules = " and ".join(sorted({f"the {choice.decided}" for choice in tied}))
    if len(tied) > 6:
        return [f"Equal on validation, so taken by {rules}: {len(tied)} of {arms} arms."]
    named = ", ".join(f"{choice.name} ({len(choice.tied) + 1} configurations)" for choice in tied)
    return [f"Equal on validation, so taken by {rules}: {named}."]


def _scored(tried: Mapping[int, Mapping[int, RunRecord]], metric: str) -> dict[int, Mapping[int, RunRecord]]:
    """Return the configurations whose finished runs all have a finite value."""
    return {
        k: runs
        for k, runs in tried.items()
        if runs and all(isfinite(run.validation.get(metric, float("nan"))) for run in runs.values())
    }


def _mean(runs: Mapping[int, RunRecord], metric: str) -> float:
    return fmean(run.validation.get(metric, float("inf")) for _, run in sorted(runs.items()))


def means(history: History, arm: str) -> dict[int, tuple[int, float]]:
    """Return {configuration: (seeds, mean on validation)} of an arm."""
    metric = history.plan.select.metric
    found = _scored(history.tried[arm], metric)
    return {k: (len(runs), _mean(runs, metric)) for k, runs in sorted(found.items())}


def best_so_far(found: Mapping[int, tuple[int, float]]) -> list[tuple[float, float | None]]:
    """Return (configurations proposed, mean or None) for each that was proposed.

    None stands for one that failed, or was dropped before it had as many seeds as the selected: its mean over fewer is
    no rival to theirs.
    """
    most = max((seeds for seeds, _ in found.values()), default=0)
    proposed = range(max(found, default=-1) + 1)
    return [(k + 1, found[k][1] if k in found and found[k][0] == most else None) for k in proposed]


def in_order(found: Mapping[int, tuple[int, float]], direction: str) -> list[float]:
    """Return the means of the configurations in the order in which they would be selected, the last to be taken first.

    Who had more seeds outlived who had fewer.
    """
    sign = 1 if direction == "max" else -1
    return [mean for _, mean in sorted(found.values(), key=lambda one: (one[0], sign * one[1]))]


def expected_best(ordered: Sequence[float]) -> list[float]:
    """Return the expected value of the selected of n = 1, 2, …, N configurations drawn from these N with replacement.

    `ordered` are their values, the best last: Σ_i v_i ((i / N)^n - ((i - 1) / N)^n) (Dodge et al., Show Your Work,
    EMNLP 2019, equation 6).
    """
    total = len(ordered)

    def chance(i: int, n: int) -> float:
        return (i / total) ** n - ((i - 1) / total) ** n

    return [sum(value * chance(i, n) for i, value in enumerate(ordered, 1)) for n in range(1, total + 1)]
