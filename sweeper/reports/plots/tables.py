"""The figure of a table: mean ± std of its cells, and their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from sweeper.reports.names import label, titled
from sweeper.reports.plots.lines import CHARACTER, COLOURS, COLUMN, LINE, PAGE, SMALL, TEXT, figure_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sweeper.reports.cells import Cell
    from sweeper.reports.tables import Table

LONGEST = 34  # characters of a line of a label
ROWS = 48  # of a panel
PANEL = 1.3  # inches, without its labels
Panel = tuple[str, list[tuple[str, "Cell | None"]]]


def bars(table: Table, path: Path | str) -> list[Path]:
    """Draw mean ± std bars of a table, one panel per group of compared cells, a dot per seed.

    A cell without a mean says in words what it says in the table. The value axis does not start at zero,
    which is why means are points and not columns. What one page does not hold goes on in files numbered from 2. Returns
    the files written.
    """
    panels = _panels(table)
    names = list(dict.fromkeys(name for _, lines in panels for name, _ in lines))
    shared = len(names) <= 1.5 * max(
        len(lines) for _, lines in panels
    )  # one list of names for all side by side
    if shared:
        panels = [(title, [(name, dict(lines).get(name)) for name in names]) for title, lines in panels]
    widest = max(map(len, names))
    margin = CHARACTER * min(LONGEST, widest) + 0.2
    fitting = (TEXT - margin) / PANEL if shared else TEXT / (margin + PANEL)
    across = min(len(panels), max(1, int(fitting)))
    width = COLUMN if across == 1 and margin + PANEL <= COLUMN else TEXT
    made = []
    for number, (part, height) in enumerate(_pages(panels, across, LINE * math.ceil(widest / LONGEST)), 1):
        own = Path(path) if number == 1 else Path(f"{path}-{number}")
        down = math.ceil(len(part) / across)
        with figure_at(own, width, min(PAGE, height * down + 0.3)) as (figure, files):
            grid = figure.subplots(down, across, squeeze=False)
            for axes in grid.flat[len(part) :]:
                axes.set_visible(False)
            for i, (axes, (title, lines)) in enumerate(zip(grid.flat, part, strict=False)):
                _panel(axes, title, lines, table.percent, named=not shared or i % across == 0)
            note = "● mean with bar ± std (ddof 1), ○ seeds, grey: incomplete"
            figure.supxlabel(fill(note, 45) if width == COLUMN else note, fontsize=SMALL, color="0.35")
        made += files
    return made


def _pages(panels: Sequence[Panel], across: int, pitch: float) -> list[tuple[list[Panel], float]]:
    """Return the panels of each page, and their height in inches."""
    pages = []
    for first in range(0, max(len(lines) for _, lines in panels), ROWS):
        part = [(title, lines[first : first + ROWS]) for title, lines in panels if lines[first:]]
        height = 0.75 + pitch * max(len(lines) for _, lines in part)
        most = across * max(1, int((PAGE - 0.3) / height))
        pages += [(part[i : i + most], height) for i in range(0, len(part), most)]
    return pages


def _panels(table: Table) -> list[Panel]:
    """Return (title, lines) per group: what its cells have in common but the metric, and what tells them apart."""
    names = table.row_axes + table.column_axes
    groups = list(table.groups)
    if all(len(keys) == 1 for keys in groups):  # nothing is compared: one panel per metric
        metrics = dict.fromkeys(cell.metric for cell in table.cells.values())
        groups = [tuple(key for key, cell in table.cells.items() if cell.metric == name) for name in metrics]
    panels = []
    for keys in groups:
        places = [row + column for row, column in keys]
        same = [len({place[i] for place in places}) == 1 for i in range(len(names))]
        title = [
            x for x, axis, fixed in zip(places[0], names, same, strict=True) if fixed and axis != "metric"
        ]
        labels = [
            " / ".join(
                label(axis, x, table.percent)
                for axis, x, fixed in zip(names, place, same, strict=True)
                if not fixed
            )
            for place in places
        ]
        panels.append((" / ".join(title), list(zip(labels, (table.cells[key] for key in keys), strict=True))))
    return panels


def _panel(
    axes: Axes,
    title: str,
    lines: Sequence[tuple[str, Cell | None]],
    percent: frozenset[str],
    *,
    named: bool = True,
) -> None:
    """Draw one panel: a line per cell, first on top, nothing where nothing was planned."""
    there = [(y, cell) for y, (_, cell) in enumerate(lines) if cell]
    for y, cell in there:
        scale = 100 if cell.metric in percent else 1
        if not cell.shown:
            place = axes.get_yaxis_transform()
            axes.text(0.5, y, cell.text, transform=place, ha="center", va="center", color="0.4", fontsize=6)
            continue
        mean, std, _ = cell.summary
        seeds = [value * scale for value in cell.values.values()]
        colour = COLOURS[0] if cell.status == "complete" else "0.5"
        axes.plot(seeds, [y] * len(seeds), "o", markerfacecolor="none", color=colour, alpha=0.5)
        axes.errorbar(mean * scale, y, xerr=(std or 0) * scale, fmt="o", capsize=2, color=colour)
    counts = {_count(cell) for _, cell in there if cell.shown}
    several = len(counts) > 1
    labels = [f"{name} ({_count(cell)})" if several and cell and cell.shown else name for name, cell in lines]
    axes.set_title(fill(title, LONGEST))
    axes.set_yticks(
        range(len(lines)), [fill(name, LONGEST) for name in labels] if named or several else [""] * len(lines)
    )
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    of = titled(there[0][1].metric, percent) if there else ""
    axes.set_xlabel(fill(", ".join([of, *(counts if not several else ())]), 20))
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", alpha=0.3)
    if not counts:
        axes.set_xticks([])


def _count(cell: Cell) -> str:
    """Return how many seeds a cell has, and of how many where some are missing."""
    return f"n={len(cell.values)}" + ("" if cell.status == "complete" else f"/{len(cell.planned)}")
