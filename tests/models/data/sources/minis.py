"""Tiny files of the kinds that datasets are made of."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

RATE = 8000


def sound(path: Path, pitch: float = 440.0, seconds: float = 0.3) -> Path:
    """Write a tone as a .wav file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE), RATE)
    return path


def picture(path: Path, level: int = 0, size: tuple[int, int] = (16, 12)) -> Path:
    """Write an image of one grey level and of (width, height) `size`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level,) * 3).save(path)
    return path


def frames(folder: Path, level: int = 0, count: int = 4) -> Path:
    """Write a folder of frames, each a little brighter."""
    for i in range(count):
        picture(folder / f"{i + 1:05d}.jpg", level + i)
    return folder


def video(path: Path, levels: list[int], size: tuple[int, int] = (32, 24)) -> Path:
    """Write a video without sound, each frame of one grey level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for level in levels:
            pixels = np.full((size[1], size[0], 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def table(path: Path, *lines: str, bom: bool = False) -> Path:
    """Write lines, after a byte order mark if asked to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig" if bom else "utf-8")
    return path
