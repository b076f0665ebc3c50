"""Figures of a report: curves over epochs, best value against cost, mean ranks; values in, files out.

Every figure is written as PNG (300 dpi) and PDF (TrueType fonts), 3.3 or 6.8 inches wide as the columns and the text of
papers are, in 8 pt, and says n and what its band or bar is. Up to MOST arms share a panel: their colours are those of
Okabe and Ito (Color Universal Design, 2008), which colour-blind readers can tell apart, and lines and markers tell them
apart in grey. More arms have a panel each, before all others in grey. The same values give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeper.reports.differences.verdicts import ALPHA
from sweeper.reports.names import titled
from sweeper.reports.statistics import mean_std

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sweeper.reports.ranks import Ranking

COLUMN, TEXT, PAGE = 3.3, 6.8, 9.0  # inches: widths, and the largest height
CHARACTER, LINE = 0.064, 0.165  # inches
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST = len(COLOURS)  # arms in one panel
SMALL = 7  # points, of legends and notes
RC = {
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "font.size": 8,
    "legend.fontsize": SMALL,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
}


class Line(NamedTuple):
    """A line of a figure, and the spread around each of its points where there is one; `place` decides its look."""

    label: str
    place: int
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()


def prepare() -> None:
    """Import what drawing needs, and open no windows."""
    import_module("matplotlib").use("agg")
    for name in ("figure", "backends.backend_agg", "backends.backend_pdf"):
        import_module(f"matplotlib.{name}")


def keep(axes: object, path: Path, width: float) -> Path:
    """Write the figure that has these axes, which another library drew, as PNG of `width` inches; return the file."""
    import numpy as np
    from matplotlib import pyplot

    figure = np.ravel(axes)[0].figure
    figure.set_size_inches(width, 5.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a link that lies there is not followed
    figure.savefig(path, dpi=120, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return path


def curves(
    series: Sequence[tuple[str, Mapping[int, Sequence[float]]]],
    path: Path | str,
    *,
    ylabel: str,
    xlabel: str = "Epoch",
    at: Sequence[float] | None = None,
    scale: float = 1,
    among: Sequence[str] = (),
) -> list[Path]:
    """Draw mean ± std (ddof 1) over seeds per step for every (label, {seed: values of step 1, 2, … or `at`}).

    A curve ends where its first seed ends or stops being finite: what lies beyond would be an average over
    survivors. A band needs two seeds. Of the labels in `among`, each looks the same in every figure. Returns the files
    written, `path` with .png and .pdf appended.
    """
    counts = {len(seeds) for _, seeds in series}
    found = []
    for i, (name, seeds) in enumerate(series):
        rows = takewhile(lambda values: all(map(math.isfinite, values)), zip(*seeds.values(), strict=False))
        points = [mean_std(value * scale for value in values) for values in rows]
        steps = range(1, len(points) + 1) if at is None else at[: len(points)]
        shown = name if len(counts) == 1 else f"{name} (n = {len(seeds)})"
        spread = [std or 0.0 for _, std, _ in points] if len(seeds) > 1 else []
        found.append(
            Line(shown, _place(name, i, among), list(steps), [mean for mean, _, _ in points], spread)
        )
    n = f", n = {counts.pop()} seeds" if len(counts) == 1 else " over n seeds"
    return _lines(found, path, xlabel, f"{ylabel}\nmean ± std{n}", whole=True, each=at is not None)


def best_so_far(
    series: Sequence[tuple[str, Sequence[tuple[float, float | None]]]],
    path: Path | str,
    *,
    direction: str,
    ylabel: str,
    xlabel: str = "Configurations",
    scale: float = 1,
    among: Sequence[str] = (),
) -> list[Path]:
    """Draw the best value so far against what it cost, for every (label, [(cost up to here, value), …]).

    A value of None (a failed run) costs but does not improve. `direction` is "max" or "min". Returns the
    files written.
    """
    whole = all(float(cost).is_integer() for _, points in series for cost, _ in points)
    found = []
    for i, (name, points) in enumerate(series):
        costs, values = running_best(points, direction)
        shown = f"{name} (n = {len(points)})"
        found.append(Line(shown, _place(name, i, among), costs, [value * scale for value in values]))
    return _lines(found, path, xlabel, f"{ylabel}\nbest so far of n in all", whole=whole, steps=True)


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
    with figure_at(path, TEXT, 1.4 + LINE * (lowest + 3)) as (figure, files):
        axes = figure.subplots()
        axes.set_xlim(worst, best)
        axes.set_ylim(lowest + 0.5, -3)
        for i, (name, mean) in enumerate(zip(names, means, strict=True)):
            right = i < k / 2
            y = first + (i if right else k - 1 - i)
            end, side, shift = (best, "left", 4) if right else (worst, "right", -4)
            axes.plot([mean, mean, end], [0, y, y], color="0.5", linewidth=0.8, clip_on=False)
            axes.annotate(
                name, (end, y), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=SMALL
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
            f"Mean rank by {titled(ranking.metric)} ({ranking.condition}) over n = {len(ranking.datasets)} datasets\n"
            f"{ranking.test}; a bar joins what differs by less than CD (Nemenyi, α = {ALPHA})",
            fontsize=SMALL,
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


def _lines(
    found: Sequence[Line],
    path: Path | str,
    xlabel: str,
    ylabel: str,
    *,
    whole: bool,
    steps: bool = False,
    each: bool = False,
) -> list[Path]:
    """Draw lines in one panel above a legend, or more than MOST in a panel each; `each` marks every point."""
    style = {"drawstyle": "steps-post" if steps else "default"}
    if len(found) <= MOST:
        widest = max((len(one.label) for one in found), default=1)
        columns = max(1, min(3, int(COLUMN / (0.45 + 0.055 * widest))))
        with figure_at(path, COLUMN, 2.2 + LINE * math.ceil(len(found) / columns)) as (figure, files):
            axes = figure.subplots()
            for one in found:
                _line(axes, one, {**style, **look(one.place), "markevery": _marked(one, each=each)})
            _finish(axes, xlabel, ylabel, whole=whole)
            if found:
                figure.legend(
                    loc="outside lower center",
                    ncols=columns,
                    frameon=False,
                    handlelength=2.5,
                    columnspacing=1,
                )
        return files
    across = 4 if len(found) <= 24 else 6
    down = math.ceil(len(found) / across)
    with figure_at(path, TEXT, min(PAGE, 0.5 + 1.25 * down)) as (figure, files):
        grid = figure.subplots(down, across, sharex=True, sharey=True)
        joined = [(x, y) for one in found for x, y in [*zip(one.x, one.y, strict=True), (math.nan, math.nan)]]
        for i, axes in enumerate(grid.flat):
            if i >= len(found):
                axes.set_visible(False)
                grid.flat[i - across].tick_params(labelbottom=True)
                continue
            axes.plot(*zip(*joined, strict=True), color="0.85", linewidth=0.5, **style)
            one = found[i]
            _line(
                axes,
                one,
                {**style, "color": COLOURS[0], "marker": "o", "markevery": _marked(one, each=each)},
            )
            _finish(axes, "", "", whole=whole)
            axes.set_title(fill(one.label, 96 // across), fontsize=SMALL)
            axes.locator_params(nbins=4)
        figure.supxlabel(xlabel, fontsize=8)
        figure.supylabel(ylabel.replace("\n", ", "), fontsize=8)
    return files


def _line(axes: Axes, one: Line, look: Mapping[str, Any]) -> None:
    axes.plot(one.x, one.y, label=one.label, **look)
    if one.spread:
        low, high = zip(*((y - s, y + s) for y, s in zip(one.y, one.spread, strict=True)), strict=True)
        axes.fill_between(one.x, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _marked(one: Line, *, each: bool) -> tuple[int, int]:
    """Return the first marked point and their distance: all, or some, at points that differ between lines."""
    apart = 1 if each else max(1, len(one.x) // 5)
    return one.place % apart, apart


def _place(name: str, i: int, among: Sequence[str]) -> int:
    return among.index(name) if name in among and len(among) <= MOST else i


def look(i: int) -> dict[str, str]:
    """Return colour, line style and marker of the i-th arm."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
    }


def _finish(axes: Axes, xlabel: str, ylabel: str, *, whole: bool) -> None:
    """Label the axes."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.locator_params(axis="x", steps=[1, 2, 5, 10], integer=whole)
    axes.grid(alpha=0.3)


@contextmanager
def figure_at(path: Path | str, width: float, height: float) -> Iterator[tuple[Figure, list[Path]]]:
    """Give a figure of that many inches and the files that it is saved to on leaving."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    files = [path.with_name(f"{path.name}{ending}") for ending in (".png", ".pdf")]
    with rc_context(RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, files
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, metadata in zip(files, ({"Software": None}, {"CreationDate": None}), strict=True):
            file.unlink(missing_ok=True)  # a link that lies there is not followed
            figure.savefig(file, dpi=300, metadata=metadata)
            figure.set_layout_engine("none")  # what the first file found holds for the second
