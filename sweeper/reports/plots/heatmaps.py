"""Images with what nets look at laid over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

INCHES = 1.4  # of an image


def overlays(
    images: np.ndarray, maps: Mapping[str, np.ndarray], below: Mapping[str, Sequence[str]], path: Path
) -> Path:
    """Draw images (N, C, H, W) in a row, and below it a row for each name with its maps (N, h, w) over them.

    `below` {name: N texts} says what stands under each, "" those under the images. Return the file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    count = len(images)
    with rc_context({"font.size": 8, "text.parse_math": False}):
        size = (INCHES * count + 1.2, INCHES * 1.15 * (len(maps) + 1))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(maps) + 1, count, squeeze=False)
        for line, name in zip(grid, ["", *maps], strict=True):
            line[0].set_ylabel(name)
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
                axes.set_xlabel(below[name][i])
                axes.set_xticks([])
                axes.set_yticks([])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link that lies there is not followed
        figure.savefig(path, dpi=120, metadata={"Software": None})
    return path


def _image(axes, image: np.ndarray) -> None:  # noqa: ANN001 - matplotlib's Axes, imported where it is used
    """Show an image (C, H, W) of one or three channels, or the mean of others, in grey."""
    low, high = float(image.min()), float(image.max())
    shown = (image.astype("float32") - low) / max(high - low, 1e-12)
    if len(image) == 3:
        axes.imshow(shown.transpose(1, 2, 0))
    else:
        axes.imshow(shown.mean(0), cmap="gray", vmin=0, vmax=1)
