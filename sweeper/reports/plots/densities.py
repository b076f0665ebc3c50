"""Distributions of what is said of each row: Gaussian kernel densities, a line for each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from sweeper.reports.plots.lines import CHARACTER, COLUMN, LINE, PAGE, TEXT, figure_at, look
from sweeper.reports.statistics import mean_std

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

POINTS = 201
HEIGHT = 1.6  # inches of a panel
WIDTH = 2.6  # inches of a panel, at most


class Panel(NamedTuple):
    """A panel: its title, and what was found {label: {seed: values (N,)}}."""

    title: str
    found: Mapping[str, Mapping[int, np.ndarray]]


def densities(rows: Sequence[Sequence[Panel]], path: Path | str, title: str) -> list[Path]:
    """Draw a row of panels for each row: the density of each label's values, mean ± std over seeds.

    Lines of a label look the same in all panels. Return the files written, `path` with .png and .pdf appended.
    """
    labels = list(dict.fromkeys(label for row in rows for panel in row for label in panel.found))
    across = max(map(len, rows))
    width, height = max(COLUMN, min(TEXT, WIDTH * across)), min(PAGE, HEIGHT * len(rows) + LINE * 5)
    with figure_at(path, width, height) as (figure, files):
        grid = figure.subplots(len(rows), across, squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            for axes in line[len(row) :]:
                axes.set_visible(False)
            for axes, panel in zip(line, row, strict=False):
                _panel(axes, panel, labels, width / across)
            line[0].set_ylabel("Density")
        named = {
            text: handle
            for axes in grid.flat
            for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        for axes in grid[-1]:
            axes.set_xlabel("Uncertainty of a test row")
        n = max(len(own) for row in rows for panel in row for own in panel.found.values())
        figure.suptitle(f"{title}, mean{' ± std' * (n > 1)} over n = {n} seed{'s' * (n > 1)}", fontsize=8)
        figure.legend(
            named.values(), named, loc="outside lower center", ncols=min(4, len(named)), frameon=False
        )
    return files


def _panel(axes: Axes, panel: Panel, labels: Sequence[str], width: float) -> None:
    """Draw a panel of so many inches."""
    import numpy as np

    every = np.concatenate([values for own in panel.found.values() for values in own.values()])
    low, high = min(0.0, float(every.min())), max(1.0, float(every.max()))
    at = np.linspace(low, high, POINTS)
    for label, own in panel.found.items():
        means, stds, _ = zip(
            *map(mean_std, zip(*(density(v, at) for v in own.values()), strict=True)), strict=True
        )
        style = {**look(labels.index(label)), "marker": ""}
        axes.plot(at, means, label=label, **style)
        if len(own) > 1:
            bounds = [np.add(means, sign * np.array(stds)) for sign in (-1, 1)]
            axes.fill_between(at, *bounds, color=style["color"], alpha=0.15, linewidth=0)
    axes.set_title(fill(panel.title, int(width / CHARACTER)))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def density(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the density of values (N,) at points (P,) that go up, by Gaussian kernels, reflected at both ends of them.

    The kernels' width is s N^(-1/5), s the standard deviation (ddof 1): Scott, Multivariate density estimation (2015).
    It is at least the distance of two points, which is all that can be seen of values that are alike.
    """
    import numpy as np

    values = values.astype(np.float64)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    width = max(spread * len(values) ** -0.2, float(at[1] - at[0]))
    mirrored = np.concatenate([values, 2 * at[0] - values, 2 * at[-1] - values])
    heights = [np.exp(-0.5 * ((x - mirrored) / width) ** 2).sum() for x in at]
    return np.array(heights) / (len(values) * width * np.sqrt(2 * np.pi))
