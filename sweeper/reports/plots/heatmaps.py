"""Heat maps: images with what nets look at laid over them, and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from sweeper.reports.plots.lines import CHARACTER, LINE, PAGE, SMALL, TEXT, figure_at

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

INCHES, LEAST = 1.1, 0.4  # of an image
BAR = 0.8  # inches of a colour bar and its label
FEW = 30  # classes of a matrix that takes a quarter of the width; of more it takes half


class Square(NamedTuple):
    """A confusion matrix: its title, and how often each class (row) was taken for each (column), (C, C)."""

    title: str
    counts: np.ndarray


def squares(panels: Sequence[Square], path: Path | str, *, together: int = 1) -> list[Path]:
    """Draw confusion matrices, darker the larger the share of a class's rows is; white where a class has no rows.

    So many stay `together` in a line. What one page does not hold goes on in files numbered from 2. Return the files
    written, `path` with .png and .pdf appended.
    """
    most = 4 if max(len(panel.counts) for panel in panels) <= FEW else 2
    across = min(len(panels), most // together * together)
    side = (TEXT - BAR) / max(across, most - 1)
    panels = [Square(_wrapped(panel.title, side), panel.counts) for panel in panels]
    height = side + LINE * max(panel.title.count("\n") for panel in panels)
    page = across * max(1, int((PAGE - 0.4) / height))
    made = []
    for number, first in enumerate(range(0, len(panels), page), 1):
        part = panels[first : first + page]
        own = Path(path) if number == 1 else Path(f"{path}-{number}")
        down = math.ceil(len(part) / across)
        with figure_at(own, side * across + BAR, height * down + 0.3) as (figure, files):
            grid = figure.subplots(down, across, squeeze=False)
            for axes in grid.flat[len(part) :]:
                axes.set_visible(False)
            for axes, panel in zip(grid.flat, part, strict=False):
                shown = _square(axes, panel)
            bar = figure.colorbar(shown, ax=grid, shrink=0.6 / down**0.5, ticks=[0, 1, 5, 20, 50, 100])
            bar.set_label("% of a class's rows", fontsize=SMALL)
            figure.supxlabel("Predicted", fontsize=8)
            figure.supylabel("Class", fontsize=8)
        made += files
    return made


def _wrapped(title: str, width: float) -> str:
    """Return a title whose lines fit into so many inches."""
    return "\n".join(fill(line, int(width / CHARACTER)) for line in title.split("\n"))


def _square(axes: Axes, panel: Square):  # noqa: ANN202 - matplotlib's AxesImage
    """Draw a matrix by its rows' shares, small ones spread, and return what a colour bar is made of."""
    import numpy as np
    from matplotlib.colors import PowerNorm

    totals = panel.counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, 100 * panel.counts / np.maximum(totals, 1), np.nan)
    shown = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.4, 0, 100), interpolation="nearest")
    axes.set_title(panel.title, fontsize=SMALL)
    axes.spines[["top", "right"]].set_visible(True)
    axes.locator_params(nbins=10 if len(shares) <= FEW else 5, integer=True)
    return shown


def overlays(
    images: np.ndarray, maps: Mapping[str, np.ndarray], below: Mapping[str, Sequence[str]], path: Path
) -> list[Path]:
    """Draw images (N, C, H, W) in a row, and below it a row for each name with its maps (N, h, w) over them.

    `below` {name: N texts} says what stands under each, "" those under the images. Return the files written, `path`
    with .png and .pdf appended.
    """
    count, lines = len(images), ["", *maps]
    side = max(LEAST, min(INCHES, (TEXT - 0.4) / count, PAGE / len(lines) - LINE))
    with figure_at(path, side * count + 0.4, (side + LINE) * len(lines) + 0.1) as (figure, files):
        grid = figure.subplots(len(lines), count, squeeze=False)
        for line, name in zip(grid, lines, strict=True):
            line[0].set_ylabel(name, fontsize=SMALL)
            for i, axes in enumerate(line):
                _image(axes, images[i])
                if name:
                    height, width = images.shape[-2:]
                    place = (-0.5, width - 0.5, height - 0.5, -0.5)
                    axes.imshow(
                        maps[name][i],
                        cmap="inferno",
                        alpha=0.55,
                        extent=place,
                        interpolation="bilinear",
                        vmin=0,
                        vmax=1,
                    )
                axes.set_xlabel(below[name][i], fontsize=SMALL, labelpad=2)
                axes.set_xticks([])
                axes.set_yticks([])
    return files


def _image(axes: Axes, image: np.ndarray) -> None:
    """Show an image (C, H, W) of one or three channels, or the mean of others, in grey."""
    low, high = float(image.min()), float(image.max())
    shown = (image.astype("float32") - low) / max(high - low, 1e-12)
    if len(image) == 3:
        axes.imshow(shown.transpose(1, 2, 0))
    else:
        axes.imshow(shown.mean(0), cmap="gray", vmin=0, vmax=1)
