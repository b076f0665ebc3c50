"""A study's runs as tidy rows: where each stands in the study, and what the final ones measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from sweeper.ledger.history import History

OF_RUN = ("dataset", "encoders", "fusion", "method", "configuration", "stage", "seed")
COLUMNS = (*OF_RUN, "condition", "metric", "value", "status", "epochs", "seconds", "key")
Row = dict[str, Any]


def places(history: History) -> Iterator[tuple[Row, str]]:
    """Yield the place OF_RUN of every search run and of every planned final run, and its key, empty if it has none.

    What was carried out for another study, or more than once, counts once, as what came of it in the end.
    """
    axes = {arm.key: {axis: arm.axes[axis] for axis in OF_RUN[:4]} for arm in history.plan.arms}
    searched = {(arm, number, run.seed): run.key for arm, number, run in history.search_runs}
    for (arm, number, seed), key in searched.items():
        yield axes[arm] | {"configuration": number, "stage": "search", "seed": seed}, key
    for arm, own in axes.items():
        chosen = history.selected.get(arm)
        number, keys = (chosen.configuration, chosen.runs) if chosen else (None, {})
        for seed in history.plan.final.seeds:
            yield own | {"configuration": number, "stage": "final", "seed": seed}, keys.get(seed, "")


def rows(history: History) -> Iterator[Row]:
    """Yield {column: value} of the planned final runs: a row for each arm, test condition, metric and report seed.

    What was planned but not measured has one row, of the selection metric without a value. Its status says why:
    pruned, diverged, failed or preempted, or `missing` where there is no run.
    """
    for place, key in places(history):
        if place["stage"] == "final":
            for condition in history.plan.conditions:
                yield from _of(history, place | {"condition": condition}, key)


def _of(history: History, place: Row, key: str) -> Iterator[Row]:
    run, last = history.runs.get(key), history.latest.get(key)
    measured = run.metrics.get(f"test/{place['condition']}") if run else None
    told = run if measured else last
    cost = {"epochs": told.epochs, "seconds": told.seconds, "key": key} if told else {"key": key}
    if not measured:
        status = last.status if last and not last.done else "missing"
        measured = {history.plan.select.metric: ""}
    else:
        status = "done"
    for metric, value in measured.items():
        yield {**place, "metric": metric, "value": value, "status": status, **cost}


def written(history: History) -> str:
    """Return them as CSV, values in raw units and full precision."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(history))
    return out.getvalue()
