"""Frames of videos, decoded by PyAV or found as images in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweeper.models.data.readers.base import Cell, Reader, Unreadable, decoding
from sweeper.models.data.readers.image import SUFFIXES, Color, Fit, Size, picture, pixels, shape
from sweeper.models.schema.ranges import Count, Positive
from sweeper.models.values import InputSpec

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer
    from PIL.Image import Image


class Video(Reader):
    """Up to `frames` frames (T, C, H, W) uint8 of a video file, or of a folder of images in the order of their numbers.

    Without `fps` they are spread evenly: the middle ones of `frames` parts of equal length. With it they follow each
    other at that rate from the beginning; a folder's images were chosen at their rate already, so they are its first.
    A video that has fewer is shorter. `size`, `color` and `fit` are those of images.
    """

    suffixes = (".mp4", ".mpg", ".mpeg", ".avi", ".flv", ".mkv", ".mov", ".webm")
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
            chosen = at_rate(path, self.fps, self.frames) if self.fps else spread(path, self.frames)
            found = [pixels(upright(frame), self.shape, self.fit) for frame in chosen]
        if not found:
            raise Unreadable("it has no frame")
        return np.stack(found)

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


def upright(frame: VideoFrame) -> Image:
    """Return a frame as an image, turned as the file says that it is shown."""
    return frame.to_image().rotate(frame.rotation, expand=True)


def middles(count: int, parts: int) -> list[int]:
    """Return the middle one of each of `parts` equal parts of `count` things; all of them if they are fewer."""
    parts = min(count, parts)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def spread(path: Path, frames: int) -> Iterator[VideoFrame]:
    """Yield frames of a video file, spread evenly."""
    wanted = set(middles(_count(path), frames))
    return (frame for number, frame in enumerate(_decoded(path)) if number in wanted)


def at_rate(path: Path, fps: float, most: int) -> Iterator[VideoFrame]:
    """Yield the frames that follow each other at a rate, from the first one on."""
    begin, given = None, 0
    for frame in _decoded(path):
        if frame.time is None:
            raise Unreadable("it does not say when its frames are shown; leave fps out")
        begin = frame.time if begin is None else begin
        if frame.time - begin >= given / fps - 1e-6:
            yield frame
            given += 1
        if given == most:
            return


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video file and give its first track of pictures."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise Unreadable("it has no pictures, or is cut off before what says where they are")
        yield container, container.streams.video[0]


def _count(path: Path) -> int:
    """Return how many frames a file has, by decoding it: neither its head nor its packets need tell the truth."""
    return sum(1 for _ in _decoded(path))


def _decoded(path: Path) -> Iterator[VideoFrame]:
    with _opened(path) as (container, track):
        yield from container.decode(track)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _number(path: Path) -> list[str | int]:
    """Return what sorts names by the numbers in them: 2.jpg before 10.jpg."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
