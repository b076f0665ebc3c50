"""Clouds of points in a plane: what nets make of rows, coloured by what the rows are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from sweeper.reports.plots.lines import CHARACTER, COLOURS, LINE, MARKERS, PAGE, SMALL, TEXT, figure_at

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

SIDE = 1.6  # inches of a panel, at most
SIZE = 2.0  # square points of a dot
MOST = 20  # classes that a legend names


class Cloud(NamedTuple):
    """Points (N, 2), what each is of, a place in a list of names (N,), and what stands below them."""

    points: np.ndarray
    of: np.ndarray
    note: str = ""


class Column(NamedTuple):
    """A column of panels: its title, the names of what its points are of, and whether these are classes."""

    title: str
    names: tuple[str, ...]
    classes: bool


def clouds(lines: Mapping[str, Mapping[Column, Cloud]], path: Path | str, title: str) -> list[Path]:
    """Draw a line of panels for each name, those of a column below each other, and what colours mean below all.

    Of more than MOST classes only their number is said. What one page does not hold goes on in files numbered from 2.
    Return the files written.
    """
    by_length = sorted(lines.values(), key=len, reverse=True)  # the longest has all in their order
    columns = list(dict.fromkeys(column for line in by_length for column in line))
    side = min(SIDE, (TEXT - 0.4) / len(columns))
    keys = _keys(columns)
    most = max((len(column.names) for column in columns if column.classes), default=0)
    title += f"; a colour for each of {most} classes" if most > MOST else ""
    page = max(1, int((PAGE - 0.6 - LINE * math.ceil(len(keys) / 8)) / (side + LINE)))
    made, names = [], list(lines)
    for number, first in enumerate(range(0, len(names), page), 1):
        part = names[first : first + page]
        own = Path(path) if number == 1 else Path(f"{path}-{number}")
        height = (side + LINE) * len(part) + 0.5 + LINE * math.ceil(len(keys) / 8)
        with figure_at(own, side * len(columns) + 0.4, height) as (figure, files):
            grid = figure.subplots(len(part), len(columns), squeeze=False)
            for place, (line, name) in enumerate(zip(grid, part, strict=True)):
                for axes, column in zip(line, columns, strict=True):
                    _panel(axes, column, lines[name].get(column))
                    if place == 0:
                        axes.set_title(fill(column.title, int(side / CHARACTER)))
                line[0].set_ylabel(fill(name, int(side / CHARACTER)))
            figure.suptitle(title, fontsize=SMALL, color="0.35")
            if keys:
                figure.legend(
                    *zip(*keys, strict=True),
                    loc="outside lower center",
                    ncols=8,
                    frameon=False,
                    handletextpad=0,
                    columnspacing=1,
                )
        made += files
    return made


def _keys(columns: list[Column]) -> list[tuple]:
    """Return (handle, name) of all that colours mean, what is no class first."""
    from matplotlib.lines import Line2D

    found = {}
    for column in sorted(columns, key=lambda column: column.classes):
        if column.classes and len(column.names) > MOST:
            continue
        for i, name in enumerate(column.names):
            colour, marker = _look(i, column)
            found[column.classes, name] = (
                Line2D([], [], linestyle="", color=colour, marker=marker, markersize=4),
                name,
            )
    return list(found.values())


def _panel(axes: Axes, column: Column, cloud: Cloud | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(cloud is not None)
    if cloud is None:
        return
    for i in range(len(column.names)):
        colour, marker = _look(i, column)
        own = cloud.points[cloud.of == i]
        axes.scatter(*own.T, s=SIZE, color=colour, marker=marker, alpha=0.7, linewidths=0, rasterized=True)
    axes.set_xlabel(cloud.note, fontsize=SMALL)
    axes.margins(0.05)


def _look(i: int, column: Column) -> tuple[object, str]:
    """Return colour and marker of the i-th name of a column."""
    from matplotlib import colormaps

    if not column.classes:
        return COLOURS[-1 - i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    count = len(column.names)
    if count <= MOST:
        return colormaps["tab10" if count <= 10 else "tab20"](i), "o"
    return colormaps["turbo"](i / (count - 1)), "o"
