"""A study's final runs as a tidy table: a row for each arm, test condition, metric and report seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan

COLUMNS = (
    *("dataset", "encoders", "fusion", "method", "configuration", "stage", "seed"),
    *("condition", "metric", "value", "status", "epochs", "seconds", "key"),
)
Row = dict[str, Any]


def rows(history: History) -> Iterator[Row]:
    """Yield {column: value}; what was planned but not measured has one row, of the selection metric without a value.

    Its status says why: pruned, diverged, failed or preempted, or `missing` where there is no run.
    """
    for arm in history.plan.arms:
        for seed in history.plan.final.seeds:
            for condition in history.plan.conditions:
                yield from _of(history, arm, seed, condition)


def _of(history: History, arm: ArmPlan, seed: int, condition: str) -> Iterator[Row]:
    chosen = history.selected.get(arm.key)
    key = chosen.runs.get(seed, "") if chosen else ""
    run, last = history.runs.get(key), history.latest.get(key)
    measured = run.metrics.get(f"test/{condition}") if run else None
    told = run if measured else last
    common = {
        **arm.axes,
        "configuration": chosen.configuration if chosen else "",
        "stage": "final",
        "seed": seed,
        "condition": condition,
    }
    cost = {"epochs": told.epochs, "seconds": told.seconds, "key": key} if told else {"key": key}
    if not measured:
        status = last.status if last and not last.done else "missing"
        measured = {history.plan.select.metric: ""}
    else:
        status = "done"
    for metric, value in measured.items():
        yield {**common, "metric": metric, "value": value, "status": status, **cost}


def written(history: History) -> str:
    """Return them as CSV, values in raw units and full precision."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(history))
    return out.getvalue()
