"""Files of videos and their sound tracks, as PyAV opens them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sweeper.models.data.readers.base import Unreadable

if TYPE_CHECKING:
    from av import AudioStream, VideoStream
    from av.container import InputContainer

SUFFIXES = (".mp4", ".mpg", ".mpeg", ".avi", ".flv", ".mkv", ".mov", ".webm")
LOCAL = {"protocol_whitelist": "file"}  # a playlist that poses as a video reaches nothing else


@contextmanager
def opened(
    path: Path, kind: Literal["video", "audio"]
) -> Iterator[tuple[InputContainer, VideoStream | AudioStream]]:
    """Open a file and give its first track of a kind; raises Unreadable if it has none."""
    import av

    with av.open(f"file:{path}", options=LOCAL) as container:
        tracks = [stream for stream in container.streams if stream.type == kind]
        if not tracks:
            raise Unreadable(f"it has no {kind} track, or is cut off before what says where that is")
        yield container, tracks[0]
