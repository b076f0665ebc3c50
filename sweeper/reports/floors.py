"""Which arms do not reach the linear models of the same modalities."""

from __future__ import annotations

from statistics import fmean

from sweeper.bridge import direction, is_share
from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan


def floors(history: History) -> list[str]:
    """Return a sentence naming the arms whose mean lies below that of the floor on the same data and modalities.

    Compared is the metric that configurations are selected by, on test data, under the first condition (clean, mostly),
    over the report seeds of arms that have all of them. Nothing is said where no arm has a floor.
    """
    plan = history.plan
    metric, condition = plan.select.metric, plan.conditions[0]
    better = 1 if direction(metric) == "max" else -1
    values = {
        arm.key: value for arm in plan.arms if (value := _mean(history, arm, metric, condition)) is not None
    }
    below, reached = [], 0
    for arm in plan.arms:
        floor = _floor(plan.arms, arm)
        if floor is None or not {arm.key, floor.key} <= values.keys():
            continue
        reached += 1
        if better * values[arm.key] < better * values[floor.key]:
            own, least = (_shown(values[one.key], metric) for one in (arm, floor))
            below.append(f"{history.names[arm.key]} ({own}, {history.names[floor.key]} {least})")
    if below:
        return [f"Below the floor in {metric}: {', '.join(below)}."]
    return ["Every arm reaches its floor, the linear model of the same modalities."] if reached else []


def _floor(arms: tuple[ArmPlan, ...], arm: ArmPlan) -> ArmPlan | None:
    """Return the arm that another is to reach, None for one that is a floor itself or has none."""
    same = (
        one
        for one in arms
        if one.floor and one.axes["dataset"] == arm.axes["dataset"] and set(one.reads) == set(arm.reads)
    )
    return None if arm.floor else next(same, None)


def _mean(history: History, arm: ArmPlan, metric: str, condition: str) -> float | None:
    runs = history.final(arm.key)
    found = [run.metrics.get(f"test/{condition}", {}).get(metric) for run in runs.values()]
    if not found or None in found or len(found) < len(history.plan.final.seeds):
        return None
    return fmean(found)


def _shown(value: float, metric: str) -> str:
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"
