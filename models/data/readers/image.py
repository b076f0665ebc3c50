"""Images of files, brought to one size by Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable, decoding
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec

if TYPE_CHECKING:
    from PIL import Image as pillow

MOST_PIXELS = 100_000_000  # a small file may unfold to more than memory holds
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

Size = Count | list[Count]
Color = Literal["rgb", "grey"]
Fit = Literal["crop", "stretch", "pad"]


class Image(Reader):
    """Images (C, H, W) uint8, of `size` a side or [H, W]; with `images` above 1, up to so many of a cell (T, C, H, W).

    `fit`: crop resizes until both sides reach the size and keeps the centre, stretch changes the ratio, pad keeps
    all and fills up with black. Images are turned as their EXIF data say, what is transparent is white, 16 bits are
    rounded to 8, of an animation the first frame counts. Resizing is bilinear with antialiasing.
    """

    suffixes = SUFFIXES
    libraries = ("pillow",)
    dtype = "uint8"

    def __init__(
        self, *, size: Size = 224, color: Color = "rgb", fit: Fit = "crop", images: Count = 1
    ) -> None:
        self.size, self.color, self.fit, self.images = size, color, fit, images
        self.shape = shape(size, color)

    def spec(self) -> InputSpec:
        """Return an image, or a video of up to `images`."""
        if self.images == 1:
            return InputSpec("image", self.shape)
        return InputSpec("video", (self.images, *self.shape))

    def read(self, cell: Cell) -> np.ndarray:
        """Return the pixels of a cell's image or images."""
        if len(cell) > self.images:
            raise Unreadable(f"it names {len(cell)} images where images={self.images} are read")
        found = [picture(path, self.shape, self.fit) for path in cell]
        return found[0] if self.images == 1 else np.stack(found)


def shape(size: int | list[int], color: Color) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of images of a size; raise UserError for one that is neither a side nor two."""
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2 or min(sides) < 1:
        raise UserError(f"an image's size is {size}; a number of pixels is admissible, or [height, width]")
    return {"rgb": 3, "grey": 1}[color], *sides


def picture(path: Path, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """Return the pixels of an image file as `shape` (C, H, W), uint8; raises Unreadable."""
    import PIL
    from PIL import Image, ImageOps

    with decoding():
        try:
            image = Image.open(path)
        except PIL.UnidentifiedImageError:
            raise Unreadable("it is no image, or one that is damaged from the start") from None
        with image:
            if image.width * image.height > MOST_PIXELS:
                raise Unreadable(
                    f"it has {image.width} x {image.height} pixels; {MOST_PIXELS:,} are read at most"
                )
            # a large JPEG is decoded at a fraction of its size, of which more than enough is left
            image.draft(None, (2 * max(shape[1:]),) * 2)
            return pixels(ImageOps.exif_transpose(image), shape, fit)


def pixels(image: pillow.Image, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """Return an image as `shape` (C, H, W), uint8."""
    from PIL import Image, ImageOps

    size, bilinear = (shape[2], shape[1]), Image.Resampling.BILINEAR
    image = _plain(image, "RGB" if shape[0] == 3 else "L")
    if fit == "stretch":
        image = image.resize(size, bilinear)
    else:
        image = (ImageOps.fit if fit == "crop" else ImageOps.pad)(image, size, bilinear)
    array = np.asarray(image)
    return np.ascontiguousarray(array.transpose(2, 0, 1)) if shape[0] == 3 else array[None]


def _plain(image: pillow.Image, mode: str) -> pillow.Image:
    """Return an image in 8 bits without transparency; raises Unreadable for pixels that are no whole numbers."""
    from PIL import Image

    if image.mode == "F":
        raise Unreadable("its pixels are fractions; 8 or 16 bits are read")
    if image.mode.startswith("I"):  # 16 bits, in some files as 32
        levels = np.asarray(image).astype(np.float32).clip(0, 65535) / 257
        return Image.fromarray(levels.round().astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
