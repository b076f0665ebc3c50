"""The figure of a search by two metrics: each configuration's means, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from sweeper.reports.plots.lines import COLOURS, COLUMN, SMALL, TEXT, figure_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sweeper.reports.fronts import Found

ACROSS, DOWN = 3, 4  # panels on a page, at most
RED = "#D55E00"  # of the same palette


class Axis(NamedTuple):
    """A metric as an axis: its name with the unit, which way is better, and what its values are multiplied by."""

    name: str
    direction: str
    scale: float

    @property
    def label(self) -> str:
        """What stands at the axis."""
        return f"{self.name}, {'higher' if self.direction == 'max' else 'lower'} is better"


def pareto(
    panels: Mapping[str, Sequence[Found]],
    rivals: Mapping[str, Sequence[str]],
    axes: Sequence[Axis],
    path: Path | str,
) -> list[Path]:
    """Draw the configurations of each arm by two metrics in a panel of its own, and their front.

    `rivals` names the arms whose fronts stand behind an arm's, in grey. What one page does not hold goes on in files
    numbered from 2. Returns the files written.
    """
    names, made = list(panels), []
    across = min(len(names), 2 if len(names) in (2, 4) else ACROSS)
    for number, first in enumerate(range(0, len(names), across * DOWN), 1):
        part = names[first : first + across * DOWN]
        down = math.ceil(len(part) / across)
        width = COLUMN if across == 1 else TEXT
        own = Path(path) if number == 1 else Path(f"{path}-{number}")
        with figure_at(own, width, down * (2.6 if across < ACROSS else 2.1) + 0.4) as (figure, files):
            grid = figure.subplots(down, across, squeeze=False)
            for place in grid.flat[len(part) :]:
                place.set_visible(False)
            for i, (place, name) in enumerate(zip(grid.flat, part, strict=False)):
                for rival in rivals[name]:
                    _front(place, panels[rival], axes, color="0.8", linewidth=0.8)
                _panel(place, panels[name], axes)
                place.set_title(fill(f"{name}, n = {_most(panels[name])}", 96 // across))
                place.set_xlabel(axes[0].label if i + across >= len(part) else "")
                place.set_ylabel(axes[1].label if i % across == 0 else "")
            figure.supxlabel(
                fill(_note(panels, rivals, axes[0]), int(17 * width)), fontsize=SMALL, color="0.35"
            )
        made += files
    return made


def _panel(place: Axes, found: Sequence[Found], axes: Sequence[Axis]) -> None:
    _front(place, found, axes, color=COLOURS[0], linewidth=1.2)
    edge = _edge(found, axes[0])
    for one in found:
        x, y = (mean * axis.scale for mean, axis in zip(one.means, axes, strict=True))
        xerr, yerr = (std * axis.scale for std, axis in zip(one.stds, axes, strict=True))
        alpha = (1.0 if one.on_front else 0.6) if one.whole else 0.25
        bars = {"elinewidth": 0.5, "markeredgewidth": 0, "color": COLOURS[0], "alpha": alpha}
        if _beyond(one, edge, axes[0]):
            place.plot([edge], [y], "<" if axes[0].direction == "max" else ">", color=COLOURS[0], alpha=alpha)
            continue
        place.errorbar(x, y, xerr=xerr, yerr=yerr, fmt="o", **bars)
        if one.selected:
            place.plot([x], [y], "o", markersize=8, markerfacecolor="none", color=RED)
        if one.on_front or one.selected:
            place.annotate(
                f"#{one.number}", (x, y), (4, 4), textcoords="offset points", fontsize=6, color="0.2"
            )
    place.locator_params(nbins=5)
    place.grid(alpha=0.3)


def _edge(found: Sequence[Found], axis: Axis) -> float | None:
    """Return where the axis of the first metric ends: behind the published defaults as far as others are ahead."""
    able = [one.means[0] * axis.scale for one in found if one.able]
    span = max(able, default=0.0) - min(able, default=0.0)
    return (min(able) - span if axis.direction == "max" else max(able) + span) if span else None


def _beyond(one: Found, edge: float | None, axis: Axis) -> bool:
    x = one.means[0] * axis.scale
    return edge is not None and (x < edge if axis.direction == "max" else x > edge)


def _front(place: Axes, found: Sequence[Found], axes: Sequence[Axis], **look: object) -> None:
    """Draw the border of what lies behind a front."""
    points = sorted(one.means for one in found if one.on_front)
    if points:
        x, y = ([p[i] * axes[i].scale for p in points] for i in (0, 1))
        place.plot(x, y, drawstyle="steps-pre" if axes[0].direction == "max" else "steps-post", **look)


def _most(found: Sequence[Found]) -> int:
    """Return how many tuning seeds the configurations have that have the most."""
    return max(one.n for one in found)


def _note(panels: Mapping[str, Sequence[Found]], rivals: Mapping[str, Sequence[str]], axis: Axis) -> str:
    faint = ", faint: fewer" if any(not one.whole for found in panels.values() for one in found) else ""
    if any(_beyond(one, _edge(found, axis), axis) for found in panels.values() for one in found):
        faint += ", triangles: far behind the published defaults, beyond the axis"
    others = "; grey: fronts of the other arms" if any(rivals.values()) else ""
    return (
        f"● a configuration, mean ± std over n tuning seeds on validation{faint}; line: the front of those with n;"
        f" red: the selected{others}"
    )
