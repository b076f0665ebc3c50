"""Colour and depth as NYU Depth v2 is packed: side by side in a picture, in pictures of 16 bits, in a MATLAB file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, decoding
from sweeper.models.data.readers.image import Fit, Image, Size, pixels, shape
from sweeper.models.values import InputSpec

if TYPE_CHECKING:
    from PIL import Image as pillow


class Half(Image):
    """The left or the right half of an image (3, H, W) uint8."""

    def __init__(self, *, half: Literal["left", "right"], size: Size) -> None:
        super().__init__(size=size)
        self.half = half

    def read(self, cell: Cell) -> np.ndarray:
        """Return the half of a cell's one image."""
        from PIL import Image as pillow

        with decoding(), pillow.open(cell[0]) as image:
            middle = image.width // 2
            box = (
                (0, 0, middle, image.height) if self.half == "left" else (middle, 0, 2 * middle, image.height)
            )
            return pixels(image.crop(box), self.shape, self.fit)


class Depth(Reader):
    """A picture of one channel (1, H, W) float32, such as millimetres in 16 bits, each pixel the nearest one's."""

    suffixes = (".png", ".tif", ".tiff")
    libraries = ("pillow",)

    def __init__(self, *, size: Size, fit: Fit = "stretch") -> None:
        self.size, self.fit = size, fit
        self.shape = shape(size, "grey")

    def spec(self) -> InputSpec:
        """Return an image of one channel."""
        return InputSpec("image", self.shape)

    def read(self, cell: Cell) -> np.ndarray:
        """Return the depth of a cell's one file."""
        from PIL import Image as pillow

        with decoding(), pillow.open(cell[0]) as image:
            return levels(image, self.shape, self.fit)


class Frame(Reader):
    """A frame by its number in the official MATLAB file: `images` (3, H, W) uint8, or `depths` (1, H, W) in metres."""

    libraries = ("pillow", "h5py")

    def __init__(self, path: Path | None = None, *, key: Literal["images", "depths"], size: Size) -> None:
        self.path, self.key, self.size = path, key, size
        self.shape = shape(size, "rgb" if key == "images" else "grey")
        self.dtype = "uint8" if key == "images" else "float32"

    def spec(self) -> InputSpec:
        """Return an image."""
        return InputSpec("image", self.shape)

    def weights(self) -> list[Path]:
        """Return the MATLAB file, which holds all frames."""
        return [self.path] if self.path else []

    def read(self, cell: Cell) -> np.ndarray:
        """Return the frame whose number is the cell."""
        import h5py
        from PIL import Image as pillow

        with decoding(), h5py.File(self.path) as file:
            array = file[self.key][int(cell)].T  # MATLAB's axes are the other way round: (W, H), or (3, W, H)
            fit = pixels if self.key == "images" else levels
            return fit(pillow.fromarray(np.ascontiguousarray(array)), self.shape, "crop")


def levels(image: pillow.Image, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """Return an image of one channel of any depth as (1, H, W) float32, each pixel the nearest one's."""
    from PIL import Image, ImageOps

    size, nearest = (shape[2], shape[1]), Image.Resampling.NEAREST
    image = Image.fromarray(np.asarray(image).astype(np.float32))
    if fit == "stretch":
        return np.asarray(image.resize(size, nearest))[None]
    return np.asarray((ImageOps.fit if fit == "crop" else ImageOps.pad)(image, size, nearest))[None]
