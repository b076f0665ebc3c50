"""Frames of videos, decoded by PyAV or found as images in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable, decoding
from sweeper.models.data.readers.container import SUFFIXES, opened
from sweeper.models.data.readers.image import SUFFIXES as IMAGES
from sweeper.models.data.readers.image import Color, Fit, Size, picture, pixels, shape
from sweeper.models.schema.ranges import Count, Positive
from sweeper.models.values import InputSpec

if TYPE_CHECKING:
    from av import VideoFrame


class Video(Reader):
    """Up to `frames` frames (T, C, H, W) uint8 of a video file, or of a folder of images in the order of their numbers.

    Without `fps` they are spread evenly: the middle ones of `frames` parts of equal length. With it they follow each
    other at that rate from the beginning; a folder's images were chosen at their rate already, so they are its first.
    A video that has fewer is shorter. `size`, `color` and `fit` are those of images.
    """

    suffixes = (*SUFFIXES, *IMAGES)
    libraries = ("pillow", "av")
    dtype = "uint8"

    def __init__(
        self,
        *,
        frames: Count = 8,
        fps: Positive | None = None,
        size: Size = 224,
        color: Color = "rgb",
        fit: Fit = "crop",
    ) -> None:
        self.frames, self.fps, self.size, self.color, self.fit = frames, fps, size, color, fit
        self.shape = shape(size, color)

    def spec(self) -> InputSpec:
        """Return a video of all frames."""
        return InputSpec("video", (self.frames, *self.shape))

    def read(self, cell: Cell) -> np.ndarray:
        """Return the frames of a cell's one file or folder, or of the images that it names."""
        path = cell[0]
        if path.is_dir():
            return self._images(sorted(filter(_is_image, path.iterdir()), key=_number))
        if all(map(_is_image, cell)):
            return self._images(list(cell))
        if len(cell) > 1:
            raise Unreadable(f"it names {len(cell)} videos; one is read")
        with decoding():
            if self.fps:
                found = at_rate(path, self.fps, self.frames, self._pixels)
            else:
                found = spread(path, self.frames, self._pixels)
        if not found:
            raise Unreadable("it has no frame")
        return np.stack(found)

    def _pixels(self, frame: VideoFrame) -> np.ndarray:
        """Return a frame's pixels, turned as the file says that it is shown."""
        return pixels(frame.to_image().rotate(frame.rotation, expand=True), self.shape, self.fit)

    def _images(self, paths: list[Path]) -> np.ndarray:
        """Return the chosen ones of images in order."""
        chosen = paths[: self.frames] if self.fps else [paths[i] for i in middles(len(paths), self.frames)]
        if not chosen:
            raise Unreadable("it is a folder without images")
        found = []
        for path in chosen:
            try:
                found.append(picture(path, self.shape, self.fit))
            except Unreadable as error:
                raise Unreadable(f"{path.name}: {error}") from error
        return np.stack(found)


def middles(count: int, parts: int) -> list[int]:
    """Return the middle one of each of `parts` equal parts of `count` things; all of them if they are fewer."""
    parts = min(count, parts)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def spread(path: Path, frames: int, made: Callable[[VideoFrame], np.ndarray]) -> list[np.ndarray]:
    """Return what is made of frames of a video file, spread evenly.

    How many it has only decoding tells; its packets are counted first, which is quick and nearly always right.
    """
    count = _packets(path)
    while True:
        wanted, found, seen = set(middles(count, frames)), [], 0
        for frame in _decoded(path):
            if seen in wanted:
                found.append(made(frame))
            seen += 1
        if seen == count:
            return found
        count = seen


def at_rate(path: Path, fps: float, most: int, made: Callable[[VideoFrame], np.ndarray]) -> list[np.ndarray]:
    """Return what is made of the frames that follow each other at a rate, from the first one on."""
    found: list[np.ndarray] = []
    begin = None
    for frame in _decoded(path):
        if frame.time is None:
            raise Unreadable("it does not say when its frames are shown; leave fps out")
        begin = frame.time if begin is None else begin
        if frame.time - begin >= len(found) / fps - 1e-6:
            found.append(made(frame))
        if len(found) == most:
            break
    return found


def _packets(path: Path) -> int:
    with opened(path, "video") as (container, track):
        return sum(packet.size > 0 for packet in container.demux(track))


def _decoded(path: Path) -> Iterator[VideoFrame]:
    with opened(path, "video") as (container, track):
        yield from container.decode(track)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES and not path.name.startswith(".")


def _number(path: Path) -> list[str | int]:
    """Return what sorts names by the numbers in them: 2.jpg before 10.jpg."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
