"""The report: a study's history to a table and its caption; pure but for `write`.

The announcement says what was planned, the selections which runs count, the run records the numbers; so the same
table can be built from any copy of the ledger, the one that MLflow keeps included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeper.bridge import direction, is_share
from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan
from sweeper.models.errors import UserError
from sweeper.reports import (
    configurations,
    ranks,
    selection,
    tables,
    tidy,
    writers,
)
from sweeper.reports.caption import caption
from sweeper.reports.cells import Result
from sweeper.reports.differences import pairs, statements
from sweeper.reports.names import in_percent
from sweeper.study.schema import Select

SUFFIXES = {"md": "md", "latex": "tex", "csv": "csv", "html": "html"}
DIAGNOSTICS = ("gap", "modality_distance", "weight", "dependency", "coverage")


@dataclass(frozen=True)
class Report:
    """A study's results, where they stand in the table, and what the caption says of how they came about.

    `baselines` are the axes of arms that others are compared with, the first that is there; `choices` say how
    configurations were selected.
    """

    history: History
    results: list[Result]
    rows: list[str]
    columns: list[str]
    metrics: list[str]
    order: dict[str, list[str]]
    caption: list[str]
    headline: str
    ranking: ranks.Ranking | None
    baselines: list[dict[str, str]]
    choices: list[selection.Choice]

    @property
    def complete(self) -> bool:
        """Whether every cell has all its report seeds."""
        return all(len(result.values) == len(result.planned) for result in self.results)

    def table(self, *, partial: bool = False) -> tables.Table:
        """Return the table."""
        return tables.pivot(
            self.results,
            self.rows,
            self.columns,
            self.metrics,
            self._directions,
            order=self.order,
            partial=partial,
            percent=[m for m in self.metrics if in_percent(m, self.headline)],
        )

    def text(self, format: str = "md", *, partial: bool = False) -> str:
        """Return the table, mean ranks over several datasets and the caption as md, latex, csv or html."""
        table = ranks.beside(self.table(partial=partial), self.ranking)
        caption = [*self.caption, *statements.power(self.compared)]
        return writers.render(table, format, caption, name=self.history.plan.study)

    @cached_property
    def families(self) -> list[pairs.Family]:
        """The results that the table compares with each other, those of the headline metric first."""
        found = pairs.families(self.table(), self._directions, self.baselines)
        return sorted(found, key=lambda family: family.metric != self.headline)

    @cached_property
    def overall(self) -> pairs.Overall | None:
        """The ranked compared over datasets."""
        share = is_share(self.headline)
        return pairs.overall(self.ranking, direction(self.headline), share, self.baselines)

    def comparisons_text(self, format: str = "md") -> str:
        """Return who differs from whom, as md by one metric or as csv by all; UserError if nothing can be compared."""
        if not self.families:
            name = self.history.plan.study
            raise UserError(
                f"study {name!r} has nothing to compare; that needs two complete results in one place"
            )
        if format == "csv":
            return statements.long_form(self.families, self.overall)
        return statements.page(self.history.plan.study, self._shown, self.overall, self.choices)

    @property
    def compared(self) -> list[pairs.Family]:
        """The families of the metric that is shown, under the first condition."""
        return [one for one in self._shown if one.axes["condition"] == self.results[0].axes["condition"]]

    @property
    def _shown(self) -> list[pairs.Family]:
        """The families of one metric, the headline if it stands in the table."""
        return [family for family in self.families if family.metric == self.families[0].metric]

    @property
    def _directions(self) -> dict[str, str | None]:
        return {m: None if m.split("/")[0] in DIAGNOSTICS else direction(m) for m in self.metrics}

    def facts(self, *, partial: bool = False) -> dict[str, Any]:
        """Return the table's cells, rows first, and the caption as plain data; a cell without a mean has none."""
        table = ranks.beside(self.table(partial=partial), self.ranking)
        return {
            "rows": list(table.row_axes),
            "columns": list(table.column_axes),
            "complete": self.complete,
            "cells": [
                {
                    "row": list(row),
                    "column": list(column),
                    "axes": cell.axes,
                    "metric": cell.metric,
                    **dict(zip(("mean", "std"), cell.summary if cell.shown else (None, None), strict=False)),
                    "n": len(cell.values),
                    "planned": len(cell.planned),
                    "status": cell.status,
                    "values": cell.values,
                    "failed": cell.failed,
                    "note": cell.note,
                    "rank": cell.rank or None,
                    "tied_with_best": cell.tied,
                }
                for (row, column), cell in table.cells.items()
            ],
            "caption": [*self.caption, *table.caption],
        }


def build(
    history: History,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Report:
    """Return the report of a study; `rows`, `columns`, `metrics` take the place of the study's own layout.

    An axis named for the one leaves the other; axes without which two results would share a cell are added.
    """
    plan = history.plan
    results = [_result(arm, condition, history) for arm in plan.arms for condition in plan.conditions]
    layout = plan.layout
    across = list(columns) or [axis for axis in layout.columns if axis not in rows]
    down = list(rows) or [axis for axis in layout.rows if axis not in columns]
    down = down or [axis for axis in ("metric", "dataset") if axis not in across][:1]
    placed = _placed(results, down, across)
    metric = plan.select.metric
    ranking = ranks.rank(results, metric, plan.conditions[0], direction(metric))
    order = {axis: list(dict.fromkeys(r.axes[axis] for r in results)) for axis in results[0].axes}
    chosen = selection.choices(history)
    return Report(
        history,
        results,
        *placed,
        list(dict.fromkeys(metrics))
        or _measured(layout.metrics, results)
        or _default_metrics(plan.select, results),
        order,
        [
            *caption(history),
            *selection.ties(chosen, len(plan.arms)),
            *(ranking.sentences() if ranking else []),
        ],
        metric,
        ranking,
        _baselines(plan.arms),
        chosen,
    )


def write(found: Report, folder: Path) -> list[Path]:
    """Write the table in every format, final runs, selected configurations, and comparisons if there are any."""
    texts = {f"table.{suffix}": found.text(name) + "\n" for name, suffix in SUFFIXES.items()}
    texts |= {
        "runs.csv": tidy.written(found.history),
        "configurations.tex": configurations.latex(found.history),
    }
    if found.families:
        texts |= {f"comparisons.{format}": found.comparisons_text(format) for format in ("md", "csv")}
    for name, text in texts.items():
        (folder / name).unlink(missing_ok=True)  # a link that lies there is not followed
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def _result(arm: ArmPlan, condition: str, history: History) -> Result:
    values: dict[int, dict[str, float]] = {}
    failed: dict[int, str] = {}
    chosen = history.selected.get(arm.key)
    for seed, key in (chosen.runs if chosen else {}).items():
        found = history.runs[key].metrics.get(f"test/{condition}") if key in history.runs else None
        record = history.latest.get(key)
        if found:
            values[seed] = found
        elif record and not record.done:  # else it was done before this was asked
            failed[seed] = record.error["class"] if record.error else record.status
    axes, seeds = {**arm.axes, "condition": condition}, tuple(history.plan.final.seeds)
    return Result(axes, seeds, values, failed, "" if chosen else history.errors(arm.key))


def _baselines(arms: Sequence[ArmPlan]) -> list[dict[str, str]]:
    """Return the axes of the arms, in the study's order, that are no floor and use all modalities of their dataset."""
    most: dict[str, int] = {}
    for arm in arms:
        most[arm.axes["dataset"]] = max(len(arm.reads), most.get(arm.axes["dataset"], 0))
    return [arm.axes for arm in arms if not arm.floor and len(arm.reads) == most[arm.axes["dataset"]]]


def _placed(
    results: Sequence[Result], rows: Sequence[str], columns: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return rows and columns with the axes added without which two results would share a cell."""

    def cells(axes: Sequence[str]) -> int:
        return len({tuple(result.axes.get(axis) for axis in axes) for result in results})

    added = {"rows": list(rows), "columns": list(columns)}
    for axis in ("dataset", "condition", "method", "fusion", "encoders"):
        placed = [*added["rows"], *added["columns"]]
        if cells([*placed, axis]) > cells(placed):
            added["columns" if axis in ("dataset", "condition") else "rows"].append(axis)
    return added["rows"], added["columns"]


def _measured(metrics: Sequence[str], results: Iterable[Result]) -> list[str]:
    """Return those of the metrics that some result has."""
    measured = {name for r in results for values in r.values.values() for name in values}
    return [name for name in metrics if name in measured]


def _default_metrics(select: Select, results: Iterable[Result]) -> list[str]:
    """Return the selection metric, the same for each modality, the gap between them, and what was searched beside."""
    metric = select.metric.split("/")[0]
    measured = dict.fromkeys(name for r in results for values in r.values.values() for name in values)
    own = [name for name in measured if name.startswith(f"{metric}/") and ":" not in name]
    return list(dict.fromkeys([metric, *own, *(m for m in ("gap", select.beside) if m in measured)]))
