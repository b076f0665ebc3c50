"""Figures of a report: curves over epochs, best value against cost, cells of a table, mean ranks; values in, files out.

Every figure is written as PNG and PDF and says n and what its band or bar is. The colours are those of Okabe
and Ito (Color Universal Design, 2008), which colour-blind readers can tell apart; beyond seven arms the line
style changes too. The same values give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.reports.statistics import mean_std
from sweeper.reports.verdicts import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sweeper.reports.cells import Cell
    from sweeper.reports.ranks import Ranking
    from sweeper.reports.tables import Table

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
ACROSS = 3  # panels side by side
CHARACTER = 0.075  # inches


def prepare() -> None:
    """Import what drawing needs."""
    for name in ("figure", "backends.backend_agg", "backends.backend_pdf"):
        import_module(f"matplotlib.{name}")


def curves(
    series: Sequence[tuple[str, Mapping[int, Sequence[float]]]],
    path: Path | str,
    *,
    ylabel: str,
    xlabel: str = "epoch",
    at: Sequence[float] | None = None,
) -> list[Path]:
    """Draw mean ± std (ddof 1) over seeds per step for every (label, {seed: values of step 1, 2, … or `at`}).

    A curve ends where its first seed ends or stops being finite: what lies beyond would be an average over
    survivors. A band needs two seeds. Returns the files written, `path` with .png and .pdf appended.
    """
    counts = {len(seeds) for _, seeds in series}
    with _figure(path, *_beside([label for label, _ in series])) as (figure, files):
        axes = figure.subplots()
        for i, (label, seeds) in enumerate(series):
            rows = takewhile(
                lambda values: all(map(math.isfinite, values)), zip(*seeds.values(), strict=False)
            )
            points = [mean_std(values) for values in rows]
            steps = range(1, len(points) + 1) if at is None else at[: len(points)]
            means = [mean for mean, _, _ in points]
            name = label if len(counts) == 1 else f"{label} (n = {len(seeds)})"
            marker = "" if at is None and len(points) > 1 else "o"
            axes.plot(steps, means, label=name, marker=marker, markersize=4, **_look(i))
            if points and len(seeds) > 1:
                low, high = zip(*((mean - std, mean + std) for mean, std, _ in points), strict=True)
                axes.fill_between(steps, low, high, color=_look(i)["color"], alpha=0.15, linewidth=0)
        n = f", n = {counts.pop()} seeds" if len(counts) == 1 else " over n seeds"
        _finish(axes, xlabel, f"{ylabel}\nmean ± std{n}", whole=True)
    return files


def best_so_far(
    series: Sequence[tuple[str, Sequence[tuple[float, float | None]]]],
    path: Path | str,
    *,
    direction: str,
    ylabel: str,
    xlabel: str = "configurations",
) -> list[Path]:
    """Draw the best value so far against what it cost, for every (label, [(cost up to here, value), …]).

    A value of None (one that failed) costs but does not improve. `direction` is "max" or "min". Returns the
    files written.
    """
    whole = all(float(cost).is_integer() for _, points in series for cost, _ in points)
    with _figure(path, *_beside([label for label, _ in series])) as (figure, files):
        axes = figure.subplots()
        for i, (label, points) in enumerate(series):
            costs, values = running_best(points, direction)
            axes.step(costs, values, where="post", label=f"{label} (n = {len(points)})", **_look(i))
            axes.plot(costs[-1:], values[-1:], "o", markersize=4, color=_look(i)["color"])
        _finish(axes, xlabel, f"best {ylabel} so far\nn configurations in all", whole=whole)
    return files


def running_best(
    points: Sequence[tuple[float, float | None]], direction: str
) -> tuple[list[float], list[float]]:
    """Return costs and best finite values so far, starting with the first finite value."""
    better = max if direction == "max" else min
    costs: list[float] = []
    best: list[float] = []
    for cost, value in points:
        usable = value is not None and math.isfinite(value)
        if usable or best:
            costs.append(cost)
            best.append(better([*best[-1:], *([value] if usable else [])]))
    return costs, best


def bars(table: Table, path: Path | str) -> list[Path]:
    """Draw mean ± std bars of a table, one panel per group of compared cells, a dot per seed.

    A cell without a mean says in words what it says in the table. The value axis does not start at zero,
    which is why means are points and not columns. Returns the files written.
    """
    panels = _panels(table)
    down = math.ceil(len(panels) / ACROSS)
    across = math.ceil(len(panels) / down)
    longest = max(len(lines) for _, lines in panels)
    widest = max(len(label) for _, lines in panels for label, _ in lines)
    with _figure(path, (3.0 + CHARACTER * widest) * across, (0.8 + 0.3 * longest) * down + 0.3) as (
        figure,
        files,
    ):
        grid = figure.subplots(down, across, squeeze=False)
        for axes, (title, lines) in zip(grid.flat, panels, strict=False):
            _panel(axes, title, lines, table.percent)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel(
            "● mean with bar ± std (ddof 1), ○ seeds, grey: incomplete", fontsize="small", color="0.35"
        )
    return files


def _panels(table: Table) -> list[tuple[str, list[tuple[str, Cell]]]]:
    """Return (title, lines) per compared group: what its cells have in common, and what tells them apart."""
    names = table.row_axes + table.column_axes
    groups = list(table.groups)
    if all(len(keys) == 1 for keys in groups):  # nothing is compared: one panel per metric
        metrics = dict.fromkeys(cell.metric for cell in table.cells.values())
        groups = [tuple(key for key, cell in table.cells.items() if cell.metric == name) for name in metrics]
    panels = []
    for keys in groups:
        places = [row + column for row, column in keys]
        same = [len({place[i] for place in places}) == 1 for i in range(len(names))]
        title = " / ".join(label for label, fixed in zip(places[0], same, strict=True) if fixed)
        labels = [
            " / ".join(x for x, fixed in zip(place, same, strict=True) if not fixed) for place in places
        ]
        panels.append((title, list(zip(labels, (table.cells[key] for key in keys), strict=True))))
    return panels


def _panel(axes: Axes, title: str, lines: Sequence[tuple[str, Cell]], percent: frozenset[str]) -> None:
    """Draw one panel: a line per cell, first on top."""
    for y, (_, cell) in enumerate(lines):
        scale = 100 if cell.metric in percent else 1
        if not cell.shown:
            axes.text(
                0.5, y, cell.text, transform=axes.get_yaxis_transform(), ha="center", va="center", color="0.5"
            )
            continue
        mean, std, _ = cell.summary
        seeds = [value * scale for value in cell.values.values()]
        colour = COLOURS[0] if cell.status == "complete" else "0.5"
        axes.plot(seeds, [y] * len(seeds), "o", markersize=4, markerfacecolor="none", color=colour, alpha=0.5)
        axes.errorbar(
            mean * scale, y, xerr=(std or 0) * scale, fmt="o", markersize=5, capsize=3, color=colour
        )
    metric = lines[0][1].metric
    counts = {_count(cell) for _, cell in lines if cell.shown}
    labels = [
        f"{label} ({_count(cell)})" if cell.shown and len(counts) > 1 else label for label, cell in lines
    ]
    axes.set_title(title, fontsize="medium")
    axes.set_yticks(range(len(lines)), labels)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(
        ", ".join([metric + (" in %" if metric in percent else ""), *(counts if len(counts) == 1 else ())])
    )
    axes.grid(axis="x", alpha=0.3)
    if not counts:
        axes.set_xticks([])


def _count(cell: Cell) -> str:
    """Return how many seeds a cell has, and of how many where some are missing."""
    return f"n={len(cell.values)}" + ("" if cell.status == "complete" else f"/{len(cell.planned)}")


def mean_ranks(ranking: Ranking, path: Path | str) -> list[Path]:
    """Draw the critical-difference diagram: mean ranks on a line, best on the right, bars over what is not told apart.

    Source: Demšar, JMLR 7 (2006), figure 1. Returns the files written.
    """
    names = [f"{name} {mean:.2f}" for name, mean in ranking.means.items()]
    means, k = list(ranking.means.values()), len(names)
    worst, best = max(k, 1 + ranking.difference), 1  # the difference may be longer than the line
    lanes = _lanes(ranking.groups)
    first = 1 + 0.5 * max(lanes, default=0)  # line of names, below the bars
    lowest = first + math.ceil(k / 2) - 1
    with _figure(path, 5.0 + 2 * CHARACTER * max(map(len, names)), 1.6 + 0.2 * lowest) as (figure, files):
        axes = figure.subplots()
        axes.set_xlim(worst, best)
        axes.set_ylim(lowest + 0.5, -3)
        for i, (name, mean) in enumerate(zip(names, means, strict=True)):
            right = i < k / 2
            y = first + (i if right else k - 1 - i)
            end, side, shift = (best, "left", 4) if right else (worst, "right", -4)
            axes.plot([mean, mean, end], [0, y, y], color="0.5", linewidth=0.8, clip_on=False)
            axes.annotate(
                name, (end, y), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize="small"
            )
        for lane, (low, high) in zip(lanes, ranking.groups, strict=True):
            axes.plot([low, high], [0.5 * lane] * 2, color="black", linewidth=3, solid_capstyle="butt")
        axes.plot([best, best + ranking.difference], [-2.2] * 2, "|-", color=COLOURS[0], clip_on=False)
        axes.text(
            best + ranking.difference / 2, -2.4, f"CD {ranking.difference:.2f}", ha="center", va="bottom"
        )
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.spines["top"].set(visible=True, position=("data", 0), bounds=(best, k))
        axes.set_yticks([])
        axes.xaxis.tick_top()
        axes.set_xticks(range(1, k + 1, math.ceil(k / 15)))
        figure.supxlabel(
            f"mean rank by {ranking.metric} ({ranking.condition}) over n = {len(ranking.datasets)} datasets\n"
            f"{ranking.test}; a bar joins what differs by less than CD (Nemenyi, α = {ALPHA})",
            fontsize="small",
            color="0.35",
        )
    return files


def _lanes(groups: Sequence[tuple[float, float]]) -> list[int]:
    """Return the lane of each bar, counted from 1: the first in which it overlaps no other."""
    ends: list[float] = []
    found = []
    for low, high in groups:
        free = next((i for i, end in enumerate(ends) if end < low), len(ends))
        ends[free : free + 1] = [high]
        found.append(free + 1)
    return found


def _beside(labels: Sequence[str]) -> tuple[float, float]:
    """Return width and height in inches that leave room for a legend beside the curves."""
    return 5.6 + CHARACTER * max(map(len, labels), default=0), max(4.0, 0.5 + 0.18 * len(labels))


def _look(i: int) -> dict[str, str]:
    """Return colour and line style of the i-th arm."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}


def _finish(axes: Axes, xlabel: str, ylabel: str, *, whole: bool) -> None:
    """Label the axes, and put the legend beside the curves, where it hides none."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.locator_params(axis="x", steps=[1, 2, 5, 10], integer=whole)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small", borderaxespad=0
        )


@contextmanager
def _figure(path: Path | str, width: float, height: float) -> Iterator[tuple[Figure, list[Path]]]:
    """Give a figure of that many inches and the files that it is saved to on leaving."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    files = [path.with_name(f"{path.name}{ending}") for ending in (".png", ".pdf")]
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False}
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, files
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, metadata in zip(files, ({"Software": None}, {"CreationDate": None}), strict=True):
            file.unlink(missing_ok=True)  # a link that lies there is not followed
            figure.savefig(file, dpi=120, metadata=metadata)
            figure.set_layout_engine("none")  # what the first file found holds for the second
