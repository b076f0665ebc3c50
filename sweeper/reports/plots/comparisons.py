"""Figures of comparisons: differences from a reference, means over datasets with intervals, what a budget finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from sweeper.reports.differences.pairs import Family, Overall
from sweeper.reports.differences.verdicts import BETTER, LEAST_SEEDS, MARGIN, WORSE
from sweeper.reports.plots.lines import COLOURS, COLUMN, TEXT, figure_at, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.19  # inches
LONGEST = 28  # characters of a line of a label
MOST = len(COLOURS)  # lines that a panel names
RED = "#D55E00"  # of the same palette


def differences(panels: Sequence[tuple[str, Family]], path: Path | str) -> list[Path]:
    """Draw how much each method differs from the baseline, or from the best where there is none; a panel per family.

    A dot is the mean of the paired differences, a circle one seed's, a bar the interval; red is what the corrected test
    finds different, the band what is of no interest. Returns the files written.
    """
    longest = max(len(family.names) for _, family in panels)
    across = min(len(panels), 2)
    down = math.ceil(len(panels) / across)
    with figure_at(path, _width(across), down * (0.9 + ROW * longest) + 0.5) as (figure, files):
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (title, family) in zip(grid.flat, panels, strict=False):
            _differences(axes, title if len(panels) > 1 else "", family)
        tested = any(family.n >= LEAST_SEEDS for _, family in panels)
        note = "● mean of paired differences, ○ seeds" + (
            ", bar: 95 % bootstrap interval, red: p < 0.05 (paired t-test, Holm)"
            if tested
            else "; not tested"
        )
        said = fill(f"{note}; band: ±{_margin(panels[0][1])}", int(14 * _width(across)))
        figure.supxlabel(said, fontsize="small", color="0.35")
    return files


def _differences(axes: Axes, title: str, family: Family) -> None:
    reference = family.baseline or family.best
    scale = 100 if family.share else 1
    against = family.values[reference]
    pairs = family.against(reference)
    for y, pair in enumerate(pairs):
        own = family.values[pair.one]
        seeds = [scale * (own[s] - against[s]) for s in sorted(own.keys() & against.keys())]
        colour = RED if pair.verdict in (BETTER, WORSE) else COLOURS[0]
        axes.plot(
            seeds, [y] * len(seeds), "o", markersize=3.5, markerfacecolor="none", color=colour, alpha=0.5
        )
        mean = scale * pair.difference
        ends = [scale * end for end in pair.interval or (pair.difference, pair.difference)]
        axes.plot(ends, [y, y], "-", color=colour)
        axes.plot([mean], [y], "o", markersize=4.5, color=colour)
    margin = scale * MARGIN * (1 if family.share else abs(sum(against.values()) / len(against)))
    axes.axvspan(-margin, margin, color="0.9", linewidth=0)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
    axes.set_yticks(range(len(pairs)), [fill(pair.one, LONGEST) for pair in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_title(fill(title, 40), fontsize="medium")
    unit = " in points" if family.share else ""
    axes.set_xlabel(fill(f"{family.metric} minus that of {reference}{unit}, n={family.n}", 36))
    axes.grid(axis="x", alpha=0.3)


def interquartile_means(overall: Overall, path: Path | str) -> list[Path]:
    """Draw each method's interquartile mean over datasets and seeds with its interval; returns the files written."""
    scale = 100 if overall.share else 1
    found = overall.interquartile_means
    with figure_at(path, _width(1), 0.9 + ROW * len(found)) as (figure, files):
        axes = figure.subplots()
        for y, (mean, interval) in enumerate(found.values()):
            ends = [scale * end for end in interval or (mean, mean)]
            axes.plot(ends, [y, y], "-", linewidth=4, color=COLOURS[0], alpha=0.4, solid_capstyle="butt")
            axes.plot([scale * mean], [y], "|", markersize=9, color=COLOURS[0])
        axes.set_yticks(range(len(found)), [fill(name, LONGEST) for name in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.3)
        unit = " in %" if overall.share else ""
        axes.set_xlabel(f"interquartile mean of {overall.metric}{unit}")
        figure.supxlabel(
            f"{len(overall.datasets)} datasets × {overall.n} seeds, bar: 95 % stratified bootstrap interval",
            fontsize="small",
            color="0.35",
        )
    return files


def expected(
    panels: Mapping[str, Sequence[tuple[str, Sequence[float]]]],
    path: Path | str,
    *,
    direction: str,
    ylabel: str,
    share: bool,
) -> list[Path]:
    """Draw the expected value of the selected of n = 1, 2, … configurations for every (label, values); a panel per key.

    Up to MOST labels look in all panels as their order says. Of more than MOST lines in a panel those that end best are
    named, the others grey. Returns the files written.
    """
    across = min(len(panels), 2)
    down = math.ceil(len(panels) / across)
    labels = dict.fromkeys(label for lines in panels.values() for label, _ in lines)
    places = {label: i for i, label in enumerate(labels)} if len(labels) <= MOST else {}
    with figure_at(path, _width(across), down * 2.6) as (figure, files):
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
            _expected(axes, lines, direction, 100 if share else 1, places)
            if len(panels) > 1:
                axes.set_title(fill(title, 40), fontsize="medium")
            axes.set_xlabel("Configurations")
            axes.set_ylabel(f"{ylabel}\nexpected of the selected")
    return files


def _expected(
    axes: Axes,
    lines: Sequence[tuple[str, Sequence[float]]],
    direction: str,
    scale: float,
    places: Mapping[str, int],
) -> None:
    sign = -1 if direction == "max" else 1
    order = sorted(lines, key=lambda line: sign * line[1][-1])
    for label, values in order[MOST:]:
        other = label if len(order) == MOST + 1 else f"{len(order) - MOST} others"
        points = [scale * value for value in values]
        axes.plot(range(1, len(points) + 1), points, color="0.8", linewidth=0.8, zorder=1, label=other)
    for i, (label, values) in enumerate(order[:MOST]):
        points = [scale * value for value in values]
        axes.plot(
            range(1, len(points) + 1),
            points,
            **{**look(places.get(label, i)), "markersize": 3},
            label=label,
        )
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))  # of the others one stands for all
    best_first = sorted(named, key=lambda label: label.endswith(" others") and named[label].get_zorder() == 1)
    axes.legend(
        [named[label] for label in best_first],
        [fill(label, LONGEST) for label in best_first],
        loc="lower right" if direction == "max" else "upper right",
        ncols=1 if len(named) < MOST else 2,
        fontsize="x-small",
        framealpha=0.8,
    )


def _width(across: int) -> float:
    """Return the inches of so many panels side by side."""
    return TEXT if across > 1 else COLUMN


def _margin(family: Family) -> str:
    return f"{100 * MARGIN:g} point" if family.share else f"{100 * MARGIN:g} % of the reference"
