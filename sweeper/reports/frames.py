"""A study's history and table as pandas data frames, for whoever goes on from there in Python."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord
from sweeper.reports.cells import NOTHING, Cell
from sweeper.reports.tables import Labels, Table
from sweeper.reports.tidy import OF_RUN, Row, places

if TYPE_CHECKING:
    from pandas import DataFrame, Index

Curve = list[dict[str, float]]  # by epoch
NUMBERS = (*OF_RUN, "split", "condition", "metric", "value", "status", "epochs", "seconds", "key")
CURVES = (*OF_RUN, "epoch", "quantity", "value", "key")
MARKS = {1: "<b>{}</b>", 2: "<u>{}</u>"}


def numbers(history: History) -> DataFrame:
    """Return a row for every run × condition × metric that the study's search and its table rest on.

    `split` is validation or test, `condition` what test rows were under, empty on validation. A run without metrics has
    one row, whose `status` says why.
    """
    import pandas as pd

    nothing = [("", "", "", float("nan"))]
    rows = [
        (*place.values(), *number, run.status, run.epochs, run.seconds, run.key)
        for place, run in _runs(history)
        for number in list(_metrics(run, history.plan.conditions)) or nothing
    ]
    return pd.DataFrame(rows, columns=list(NUMBERS))


def searched(history: History) -> DataFrame:
    """Return a row for every search run: what it was searched by, on validation, and its parameters."""
    import pandas as pd

    metrics = history.plan.select.metrics
    rows = [
        {
            **place,
            **{"status": run.status, **{metric: run.validation.get(metric) for metric in metrics}},
            **{"epochs": run.epochs, "seconds": run.seconds, "key": run.key},
            **run.parameters,
        }
        for place, run in _runs(history)
        if place["stage"] == "search"
    ]
    return pd.DataFrame(rows, columns=None if rows else list(OF_RUN))


def selected(history: History) -> DataFrame:
    """Return a row for every arm: the configuration that is reported, the rule that chose it, and its parameters."""
    import pandas as pd

    rows = []
    for arm in history.plan.arms:
        chosen = history.selected.get(arm.key)
        rows.append(
            {
                **{axis: arm.axes[axis] for axis in OF_RUN[:4]},
                "configuration": chosen.configuration if chosen else None,
                "rule": chosen.rule if chosen else history.errors(arm.key) or "nothing selected yet",
                "done": len(history.final(arm.key)),
                "planned": len(history.plan.final.seeds),
                **(chosen.parameters if chosen else {}),
            }
        )
    return pd.DataFrame(rows).astype({"configuration": "Int64"})


def curves(history: History, stage: str, curve: Callable[[str], Curve]) -> DataFrame:
    """Return a row for every epoch and quantity of the runs of a stage; `curve` gives what a run logged, by its key.

    Of a run that has nothing there the ledger still tells the selection metric on validation.
    """
    import pandas as pd

    told = f"validation/{history.plan.select.metric}"
    rows = [
        (*place.values(), epoch, quantity, value, run.key)
        for place, run in _runs(history)
        if place["stage"] == stage
        for epoch, logged in enumerate(curve(run.key) or [{told: value} for value in run.curve], 1)
        for quantity, value in logged.items()
        if quantity != "epoch"
    ]
    return pd.DataFrame(rows, columns=list(CURVES))


def table(found: Table) -> DataFrame:
    """Return a table with mean, std and n below each of its columns, in the metrics' own units.

    A cell that may show no mean has none, and its n.
    """
    import pandas as pd

    def summary(cell: Cell | None) -> tuple[float | None, float | None, int]:
        if cell is None or not cell.shown:
            return None, None, len(cell.values) if cell else 0
        return cell.summary

    columns = pd.MultiIndex.from_tuples(
        [(*labels, number) for labels in found.columns for number in ("mean", "std", "n")],
        names=[*found.column_axes, "number"],
    )
    body = [
        [number for column in found.columns for number in summary(found.cells.get((row, column)))]
        for row in found.rows
    ]
    return pd.DataFrame(body, _index(found.rows, found.row_axes), columns)


def markup(found: Table, caption: Sequence[str]) -> str:
    """Return a table as HTML for a notebook: the best bold, the second underlined, † a tie, the caption below."""
    import pandas as pd

    def marked(cell: Cell | None) -> str:
        if cell is None:
            return NOTHING
        return MARKS.get(cell.rank, "{}").format(html.escape(cell.text)) + "<sup>†</sup>" * cell.tied

    body = [[marked(found.cells.get((row, column))) for column in found.columns] for row in found.rows]
    rows = [tuple(map(html.escape, labels)) for labels in found.rows]
    columns = [html.escape(" / ".join(labels)) for labels in found.columns]
    frame = pd.DataFrame(body, _index(rows, found.row_axes), columns)
    return f"{frame.to_html(escape=False)}<p>{'<br>'.join(map(html.escape, caption))}</p>"


def _index(rows: Sequence[Labels], axes: Labels) -> Index:
    import pandas as pd

    found = pd.MultiIndex.from_tuples(rows, names=axes)
    return found if len(axes) > 1 else found.get_level_values(0)


def _metrics(run: RunRecord, conditions: Sequence[str]) -> Iterator[tuple[str, str, str, float]]:
    """Yield (split, condition, metric, value) of what a run found, on test rows under these conditions."""
    for where, scores in run.metrics.items():
        split, _, condition = where.partition("/")
        if split == "validation" or condition in conditions:
            yield from ((split, condition, metric, value) for metric, value in scores.items())


def _runs(history: History) -> Iterator[tuple[Row, RunRecord]]:
    """Yield every search run, and every final run of what is selected, with the place it has in this study."""
    for place, key in places(history):
        if key in history.runs:
            yield place, history.runs[key]
