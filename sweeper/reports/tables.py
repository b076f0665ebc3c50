"""Results to tables: `pivot` decides what every cell says, `render` only writes it down.

A cell is honest before it is pretty. It shows mean ± std (ddof 1) only when every planned report seed
finished; otherwise it says what is there, `n=3/5` or `failed 2/5 (OOM)`, or — where nothing was planned, run
or measured. Only complete cells are ranked, and only within one dataset, condition and metric.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from sweeper.models.errors import UserError, choose
from sweeper.reports.cells import NOTHING, Cell, Result, varying
from sweeper.reports.differences.verdicts import BETTER, EQUAL, UNCLEAR, UNTESTED, WORSE, verdict
from sweeper.reports.legend import about, how_ranked, how_to_read
from sweeper.reports.statistics import equal

PROBLEM = ("dataset", "condition", "metric")  # cells that differ in one of these are never compared

Labels = tuple[str, ...]
Key = tuple[Labels, Labels]  # (row, column)


@dataclass(frozen=True)
class Table:
    """Cells by (row, column), nothing where a key is absent; `groups` are the keys that were compared."""

    row_axes: Labels
    column_axes: Labels
    rows: tuple[Labels, ...]
    columns: tuple[Labels, ...]
    cells: dict[Key, Cell]
    groups: tuple[tuple[Key, ...], ...]
    caption: tuple[str, ...]
    percent: frozenset[str]


def pivot(
    results: Sequence[Result],
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str],
    directions: Mapping[str, str | None],
    *,
    order: Mapping[str, Sequence[str]] | None = None,
    partial: bool = False,
    percent: Collection[str] = (),
) -> Table:
    """Arrange results by the axes in `rows` and `columns`, one of which may be "metric".

    `directions` says "max", "min" or None (not ranked) per metric. `order` lists labels of an axis in order;
    those that it leaves out follow in natural order, so the order of `results` never matters. `partial` shows
    the mean of incomplete cells beside their n, unranked. `percent` names the metrics shown times 100.
    Methods are compared within a column, or within a row if "method" stands in `columns`. Raises UserError for
    no results, an unknown or repeated axis, an unknown metric or direction, and two results in one cell.
    """
    if not results:
        raise UserError("there is no result to tabulate; a table needs at least one planned arm")
    if "metric" not in (*rows, *columns) and (len(metrics) > 1 or not columns):
        columns = (*columns, "metric")
    _check(results, (*rows, *columns), metrics, directions)

    measured = _measured(results)
    found = [
        cell_of(result, metric, partial)
        for result in results
        for metric in metrics
        if metric in measured.get(result.axes.get("dataset"), metrics)
    ]
    placed = _placed(found, rows, columns)
    orders = {**(order or {}), "metric": metrics}
    down = _ordered({row for row, _ in placed}, rows, orders)
    across = _ordered({column for _, column in placed}, columns, orders)
    cells = {key: placed[key] for key in product(down, across) if key in placed}

    along = 0 if "method" in columns or set(rows) <= set(PROBLEM) else 1
    groups = _compared(cells, along)
    for keys in groups:
        metric = cells[keys[0]].metric
        cells |= _ranked({key: cells[key] for key in keys}, directions.get(metric), metric in percent)
    sizes = {len(cell.planned) for cell in cells.values() if cell.status == "complete"}
    cells |= _written(cells, metrics, percent, len(sizes) > 1)

    caption = [
        *about(results, (*rows, *columns), metrics),
        *how_to_read(cells.values(), sizes, [metric for metric in metrics if metric in percent], partial),
        *how_ranked(cells.values(), ("row", "column")[along], metrics, directions, percent),
    ]
    if len(cells) < len(down) * len(across) or any(cell.status == "missing" for cell in cells.values()):
        caption.append(f"{NOTHING}: nothing planned, run or measured.")
    return Table(
        row_axes=tuple(rows),
        column_axes=tuple(columns),
        rows=down,
        columns=across,
        cells=cells,
        groups=groups,
        caption=tuple(caption),
        percent=frozenset(percent),
    )


def _check(results: Sequence[Result], axes: Labels, metrics: Sequence[str], directions: Mapping) -> None:
    """Raise UserError for an unknown or repeated axis and for an unknown metric or direction."""
    known = {axis for result in results for axis in result.axes} | {"metric"}
    for axis in axes:
        choose("axis", axis, known, "the table")
        if axes.count(axis) > 1:
            raise UserError(f"axis {axis!r} stands {axes.count(axis)} times in the table; once is admissible")
    measured = {name for result in results for values in result.values.values() for name in values}
    for metric in metrics:
        if measured:
            choose("metric", metric, measured, "the table")
        if directions.get(metric) is not None:
            choose("direction", directions[metric], ("max", "min"), f"metric {metric!r}")


def cell_of(result: Result, metric: str, partial: bool = False) -> Cell:
    """Return a metric's planned seeds; a finished run whose value is not finite counts as failed."""
    measured = {s: result.values[s][metric] for s in result.planned if metric in result.values.get(s, ())}
    values = {seed: value for seed, value in measured.items() if math.isfinite(value)}
    failed = {s: result.failed[s] for s in result.planned if s in result.failed and s not in measured}
    failed |= {seed: "not finite" for seed in measured if seed not in values}
    shown = bool(values) and (partial or len(values) == len(result.planned))
    axes = {**result.axes, "metric": metric}
    return Cell(metric, axes, tuple(result.planned), values, failed, result.note, shown)


def _placed(cells: list[Cell], rows: Sequence[str], columns: Sequence[str]) -> dict[Key, Cell]:
    """Return cells by (row, column); raise UserError naming the axes that cells of one place differ in."""
    places: dict[Key, list[Cell]] = {}
    for cell in cells:
        row, column = (tuple(cell.axes.get(axis, "") for axis in axes) for axes in (rows, columns))
        places.setdefault((row, column), []).append(cell)
    crowded = {key: found for key, found in places.items() if len(found) > 1}
    if crowded:
        (row, column), found = next(iter(crowded.items()))
        place = ", ".join(map(" ".join, zip((*rows, *columns), row + column, strict=True)))
        apart = sorted({axis for many in crowded.values() for axis in varying(many)})
        advice = f"add {' and '.join(map(repr, apart))} to rows or columns" if apart else "one is admissible"
        raise UserError(f"{len(found)} results share the cell {place}; {advice}")
    return {key: found[0] for key, found in places.items()}


def _measured(results: Sequence[Result]) -> dict[str | None, set[str]]:
    """Return the metrics {dataset: names} that any result has, of datasets that have one: modalities differ."""
    found: dict[str | None, set[str]] = {}
    for result in results:
        for values in result.values.values():
            found.setdefault(result.axes.get("dataset"), set()).update(values)
    return found


def _compared(cells: Mapping[Key, Cell], along: int) -> tuple[tuple[Key, ...], ...]:
    """Return the keys that are compared: of one row (`along` 0) or column (1), dataset, condition and metric."""
    groups: dict[tuple, list[Key]] = {}
    for key, cell in cells.items():
        groups.setdefault((key[along], *map(cell.axes.get, PROBLEM)), []).append(key)
    return tuple(map(tuple, groups.values()))


def _written(
    cells: Mapping[Key, Cell], metrics: Sequence[str], percent: Collection[str], with_n: bool
) -> dict[Key, Cell]:
    """Return the cells with their texts, those of a metric with the same number of decimals."""
    found = {}
    for metric in metrics:
        own = {key: cell for key, cell in cells.items() if cell.metric == metric}
        scale = 100 if metric in percent else 1
        digits = _digits([cell.summary for cell in own.values() if cell.shown], scale)
        found |= {key: replace(c, text=_text(c, scale, digits, with_n)) for key, c in own.items()}
    return found


def _ordered(
    labels: set[Labels], axes: Sequence[str], orders: Mapping[str, Sequence[str]]
) -> tuple[Labels, ...]:
    """Sort labels axis by axis: first as `orders` says, then naturally (gaussian-5 before gaussian-10)."""

    def place(axis: str, label: str) -> tuple:
        listed = list(orders.get(axis, ()))
        parts = re.split(r"(\d+)", label)  # text, digits, text, …
        natural = [int(part) if i % 2 else part for i, part in enumerate(parts)]
        return listed.index(label) if label in listed else len(listed), natural

    return tuple(sorted(labels, key=lambda row: [place(*pair) for pair in zip(axes, row, strict=True)]))


def _ranked(cells: dict[Key, Cell], direction: str | None, share: bool) -> dict[Key, Cell]:
    """Return the complete cells of one compared group, ranked, with the kindest verdict against a best."""
    complete = {key: cell for key, cell in cells.items() if cell.status == "complete"}
    if direction is None or len(complete) < 2:
        return {}
    order = sorted(complete.values(), key=lambda cell: cell.summary[0], reverse=direction == "max")
    best = [cell for cell in order if equal(cell.summary[0], order[0].summary[0])]
    rest = order[len(best) :]

    def marked(cell: Cell) -> Cell:
        if any(cell is one for one in best):
            return replace(cell, rank=1)
        verdicts = [verdict(cell.values, one.values, direction, share=share) for one in best]
        standing = min(verdicts, key=(BETTER, EQUAL, UNCLEAR, WORSE, UNTESTED).index)
        return replace(cell, rank=2 if equal(cell.summary[0], rest[0].summary[0]) else 0, standing=standing)

    return {key: marked(cell) for key, cell in complete.items()}


def _digits(summaries: list[tuple[float, float | None, int]], scale: float) -> int:
    """Return one metric's decimals: the first digit of its median std (percent: 1 or 2) or two (0 to 6)."""
    percent = scale == 100
    stds = sorted(std * scale for _, std, _ in summaries if std)
    if stds:
        wanted = (0 if percent else 1) - math.floor(math.log10(stds[len(stds) // 2]))
    else:
        largest = max((abs(mean) * scale for mean, _, _ in summaries), default=0.0)
        wanted = 1 if percent or not largest else 2 - math.floor(math.log10(largest))
    return min(max(wanted, 1), 2) if percent else min(max(wanted, 0), 6)


def _text(cell: Cell, scale: float, digits: int, with_n: bool) -> str:
    """Return what the cell says, without marks."""
    if cell.status == "missing":
        return NOTHING
    counted = f"n={len(cell.values)}/{len(cell.planned)}"
    broken = f"failed {len(cell.failed)}/{len(cell.planned)}"
    reasons = ", ".join(reason for reason, _ in Counter(cell.failed.values()).most_common())
    if not cell.shown:
        return f"{broken} ({reasons})" if cell.failed else counted
    mean, std, n = cell.summary
    value = f"{mean * scale:z.{digits}f}" + ("" if std is None else f" ± {std * scale:.{digits}f}")
    value = value.replace("-", "−")
    if cell.status == "complete":
        return f"{value} (n={n})" if with_n else value
    return f"{value} ({counted}, {broken}: {reasons})" if cell.failed else f"{value} ({counted})"
