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
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

from sweeper.models.errors import UserError, choose
from sweeper.reports.statistics import mean_std, paired_p

NOTHING = "—"
PROBLEM = ("dataset", "condition", "metric")  # cells that differ in one of these are never compared
ALPHA = 0.05

Labels = tuple[str, ...]
Key = tuple[Labels, Labels]  # (row, column)


@dataclass(frozen=True)
class Result:
    """One arm under one condition, told apart by `axes` {axis: label}; its `note` goes to the caption.

    Of the report seeds `planned`, `values` {seed: {metric: value}} are finished and `failed` {seed: reason}.
    """

    axes: dict[str, str]
    planned: tuple[int, ...]
    values: dict[int, dict[str, float]]
    failed: dict[int, str]
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One metric of one result: `shown` says whether it may show a mean, `text` what it says without marks.

    `rank` is 1 (best), 2 (second) or 0 (others); `tied` means not significantly different from the best.
    """

    metric: str
    axes: dict[str, str]
    planned: tuple[int, ...] = ()
    values: dict[int, float] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    note: str = ""
    shown: bool = False
    text: str = NOTHING
    rank: int = 0
    tied: bool = False

    @property
    def status(self) -> str:
        """One of complete, failed, incomplete, missing; only complete cells are ranked."""
        if self.planned and len(self.values) == len(self.planned):
            return "complete"
        return "failed" if self.failed else "incomplete" if self.values else "missing"

    @cached_property
    def summary(self) -> tuple[float, float | None, int]:
        """Mean, std (ddof 1, None for one seed) and n of the finished seeds, in the metric's own unit."""
        return mean_std(self.values.values())


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
        _cell(result, metric, partial)
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
    groups: dict[tuple, list[Key]] = {}
    for key, cell in cells.items():
        groups.setdefault((key[along], *map(cell.axes.get, PROBLEM)), []).append(key)
    for keys in groups.values():
        cells |= _ranked({key: cells[key] for key in keys}, directions.get(cells[keys[0]].metric))

    sizes = {len(cell.planned) for cell in cells.values() if cell.status == "complete"}
    for metric in metrics:
        own = {key: cell for key, cell in cells.items() if cell.metric == metric}
        scale = 100 if metric in percent else 1
        digits = _digits([cell.summary for cell in own.values() if cell.shown], scale)
        cells |= {key: replace(c, text=_text(c, scale, digits, len(sizes) > 1)) for key, c in own.items()}

    caption = [
        *_about(results, (*rows, *columns), metrics),
        *_legend(cells.values(), sizes, [metric for metric in metrics if metric in percent], partial),
        *_ranking(cells.values(), ("row", "column")[along], metrics, directions),
    ]
    if len(cells) < len(down) * len(across) or any(cell.status == "missing" for cell in cells.values()):
        caption.append(f"{NOTHING}: nothing planned, run or measured.")
    return Table(
        row_axes=tuple(rows),
        column_axes=tuple(columns),
        rows=down,
        columns=across,
        cells=cells,
        groups=tuple(map(tuple, groups.values())),
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


def _cell(result: Result, metric: str, partial: bool) -> Cell:
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
        apart = sorted({axis for many in crowded.values() for axis in _varying(many)})
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


def _varying(found: Sequence[Result | Cell]) -> dict[str, list[str]]:
    """Return the sorted labels of every axis that is not the same over all."""
    axes = dict.fromkeys(axis for one in found for axis in one.axes)
    labels = {axis: sorted({one.axes.get(axis, "") for one in found}) for axis in axes}
    return {axis: names for axis, names in labels.items() if len(names) > 1}


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


def _ranked(cells: dict[Key, Cell], direction: str | None) -> dict[Key, Cell]:
    """Return the complete cells of one compared group, ranked, and tied where p ≥ ALPHA against a best."""
    complete = {key: cell for key, cell in cells.items() if cell.status == "complete"}
    if direction is None or len(complete) < 2:
        return {}
    order = sorted(complete.values(), key=lambda cell: cell.summary[0], reverse=direction == "max")
    best = [cell for cell in order if _equal(cell, order[0])]
    rest = order[len(best) :]

    def marked(cell: Cell) -> Cell:
        if any(cell is one for one in best):
            return replace(cell, rank=1)
        tests = [paired_p(cell.values, one.values) for one in best]
        tied = any(p is not None and p >= ALPHA for p in tests)
        return replace(cell, rank=2 if _equal(cell, rest[0]) else 0, tied=tied)

    return {key: marked(cell) for key, cell in complete.items()}


def _equal(a: Cell, b: Cell) -> bool:
    """Say whether two means are the same number up to rounding errors of the sum."""
    return math.isclose(a.summary[0], b.summary[0], rel_tol=1e-9, abs_tol=1e-12)


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


def _about(results: Sequence[Result], axes: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return sentences about the axes that the table does not show and the notes of the results."""
    varying = _varying(results)
    fixed = [f"{axis} {label}" for axis, label in results[0].axes.items() if axis not in {*axes, *varying}]
    if "metric" not in axes:
        fixed.append(f"metric {metrics[0]}")
    lines = [f"Fixed: {', '.join(fixed)}."] if fixed else []
    for axis in sorted(varying.keys() - set(axes)):
        lines.append(f"Differs between cells: {axis} ({', '.join(varying[axis])}).")
    notes: dict[str, set[str]] = {}
    for result in results:
        arm = " / ".join(result.axes.get(axis, "") for axis in sorted(varying) if axis != "condition")
        notes.setdefault(result.note, set()).add(arm)
    return lines + [
        ": ".join(filter(None, [", ".join(sorted(notes[note])), note])) for note in sorted(notes) if note
    ]


def _legend(cells: Collection[Cell], sizes: set[int], percent: list[str], partial: bool) -> list[str]:
    """Return sentences that say how to read the cells."""
    lines = []
    if sizes == {1}:
        lines.append("One report seed per cell (n = 1), so there is no std.")
    elif sizes or partial:
        lines.append(
            f"Mean ± std (ddof 1) over {f'n = {min(sizes)}' if len(sizes) == 1 else 'n'} report seeds."
        )
    if percent:
        lines.append(f"In %: {', '.join(percent)}.")
    if any(cell.status in ("incomplete", "failed") for cell in cells):
        what = "a mean over the finished seeds only" if partial else "no mean"
        lines.append(f"Cells with n=finished/planned or failed/planned are incomplete: {what}, no rank.")
    return lines


def _ranking(
    cells: Collection[Cell], along: str, metrics: Sequence[str], directions: Mapping[str, str | None]
) -> list[str]:
    """Return sentences that explain bold, underlined and tied cells, if there are any."""
    if not any(cell.rank for cell in cells):
        return []
    arrows = {"max": "↑", "min": "↓"}
    better = ", ".join(
        f"{metric} {arrows[directions[metric]]}" for metric in metrics if directions.get(metric)
    )
    place = f"complete cells of a {along} with equal dataset, condition and metric"
    lines = [f"Bold: best, underlined: second, among the {place} ({better})."]
    if any(cell.rank and len(cell.planned) > 1 for cell in cells):
        test = f"two-sided paired t-test over at least 2 common seeds, p ≥ {ALPHA}, uncorrected"
        lines.append(f"†: not significantly different from the best ({test}).")
    return lines
