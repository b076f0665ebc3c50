"""What datasets of clips with sound share: lists of names and labels, and the files of a clip, found by its name."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sweeper.models.data import reading, spectra
from sweeper.models.data.lines import by_split, contents
from sweeper.models.data.published import Published, tell
from sweeper.models.data.readers.base import Reader
from sweeper.models.data.readers.video import Video
from sweeper.models.data.samples import Samples
from sweeper.models.errors import UserError, choose

SOUNDS = (".wav", ".flac", ".mp3", ".ogg")
VIDEOS = (".mp4", ".flv", ".avi", ".mkv", ".webm")
FRAMES = (".jpg", ".jpeg", ".png")
HEADERS = {"youtube_id", "video_id", "filename", "file", "clip", "id"}
YOUTUBE = 11  # letters of a video's name


class Clip(NamedTuple):
    """A row of a list: the clip's name, its split, "" for none, its class, and who or what it is of."""

    id: str
    split: str
    label: str
    group: str


class Media(NamedTuple):
    """Files by clip's name: of its sound, a folder of its frames, a video."""

    sounds: dict[str, Path]
    frames: dict[str, Path]
    videos: dict[str, Path]


def media(folder: Path) -> Media:
    """Return the media below a folder, however they are filed: of several of one name lossless sound, then the first.

    A folder with pictures in it is a clip's, and may be named as a video is. A clip is named by its file or folder,
    without the ending.
    """
    frames: dict[str, Path] = {}
    files: list[Path] = []
    for here, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        if any(name.lower().endswith(FRAMES) for name in names):
            frames.setdefault(bare(Path(here).name), Path(here))
        files += [Path(here, name) for name in names if name.lower().endswith(SOUNDS + VIDEOS)]
    return Media(_named(files, SOUNDS), frames, _named(files, VIDEOS))


def _named(files: Iterable[Path], endings: Sequence[str]) -> dict[str, Path]:
    """Return the files with one of the endings by name: of several that with the first ending, then the first path."""
    ranked = sorted((endings.index(p.suffix.lower()), p) for p in files if p.suffix.lower() in endings)
    return {path.stem: path for _, path in reversed(ranked)}


def by_first(folder: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """Return the lists by split of the first pattern, such as "{}.csv", that has any; raises as `by_split`."""
    return next((found for pattern in patterns if (found := by_split(folder, pattern))), {})


def bare(name: str) -> str:
    """Return a file's name without the ending of a sound or video; other dots belong to the name."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in SOUNDS + VIDEOS else name


def listed(path: Path) -> Iterator[list[str]]:
    """Yield the fields of a list's lines, separated by commas or else by the first space; a header is left out.

    Quotes keep the commas of a label. Raises UserError for a line of a single field.
    """
    lines = [line for line in contents(path).splitlines() if line.strip()]
    comma = all("," in line for line in lines)
    for number, fields in enumerate(
        csv.reader(lines) if comma else (line.split(maxsplit=1) for line in lines), 1
    ):
        if len(fields) < 2:
            raise UserError(
                f"{path} line {number} is {lines[number - 1]!r}; a clip's name and its label are needed"
            )
        if number > 1 or fields[0].strip().casefold() not in HEADERS:
            yield [field.strip() for field in fields]


def of_youtube(name: str, known: Mapping[str, Path], by_video: Mapping[str, Sequence[str]]) -> str:
    """Return which of the `known` clips a list means by a name: a video's 11 letters, "_", its start, perhaps its end.

    Lists and files write the start with or without leading zeros, or count a video's clips instead: then the only clip
    of the video is meant. The name itself is returned where none fits.
    """
    video, start = name[:YOUTUBE], name[YOUTUBE + 1 :]
    guesses = (name, *((f"{video}_{int(start):06d}", f"{video}_{int(start)}") if start.isdigit() else ()))
    exact = next((guess for guess in guesses if guess in known), None)
    same = by_video.get(video, ())
    return exact or (same[0] if len(same) == 1 else name)


def matched(clips: Sequence[Clip], found: Media) -> list[Clip]:
    """Return clips of YouTube under the names that their files have."""
    known: dict[str, Path] = found.sounds | found.frames | found.videos
    by_video = defaultdict(list)
    for name in known:
        by_video[name[:YOUTUBE]].append(name)
    return [clip._replace(id=of_youtube(clip.id, known, by_video)) for clip in clips]


def gathered(
    name: str, folder: Path, clips: Sequence[Clip], found: Media, cite: str, classes: Sequence[str] = ()
) -> Samples:
    """Return clips as Samples of `audio` and `video`; classes are theirs in alphabetical order unless given.

    A clip's sound is a sound file or the track of its video; its video is a folder of frames or a file. Where there is
    neither the cell names the file that should be there. Groups that the splits tear apart are none.
    Raises UserError for no clips and a label that is none of `classes`.
    """
    if not clips:
        raise UserError(f"dataset {name!r}: no clip is listed in {folder}; download it again")
    known = {label: i for i, label in enumerate(classes or in_order({clip.label for clip in clips}))}
    for label in sorted({clip.label for clip in clips} - set(known)):
        choose("label", label, known, f"dataset {name!r}")
    sounds, frames = found.videos | found.sounds, found.videos | found.frames
    return Samples(
        name=name,
        ids=tuple(clip.id for clip in clips),
        cells={
            "audio": [(sounds.get(clip.id, folder / f"{clip.id}.wav"),) for clip in clips],
            "video": [(frames.get(clip.id, folder / clip.id),) for clip in clips],
        },
        split=tuple(clip.split for clip in clips),
        target=np.array([known[clip.label] for clip in clips]),
        task="classification",
        cite=cite,
        classes=tuple(known),
        group=None if torn(clips) else np.array([clip.group for clip in clips]),
    )


def in_order(labels: set[str]) -> list[str]:
    """Return labels in alphabetical order, numbers by their size."""
    return sorted(labels, key=lambda label: (int(label) if label.isdigit() else -1, label))


def torn(clips: Sequence[Clip]) -> int:
    """Return how many groups stand in two splits."""
    return sum(
        n > 1 for n in Counter(group for group, _ in {(clip.group, clip.split) for clip in clips}).values()
    )


def compare(name: str, published: Published, clips: Sequence[Clip], what: str) -> None:
    """Say on stderr where the splits hold other numbers of clips than published, and which groups they tear apart."""
    found = Counter(clip.split for clip in clips)
    if "" not in found:
        tell(name, published, found)
    if count := torn(clips):
        every = len({clip.group for clip in clips})
        print(
            f"dataset {name!r}: {count:,} of {every:,} {what}s stand in two splits as they are published; accuracy on"
            " test is partly that of knowing them",
            file=sys.stderr,
        )


def readers(spectrogram: spectra.Spectrogram, frames: int, size: int) -> dict[str, Reader]:
    """Return what reads a clip: its sound, and so many of its pictures at even distances."""
    return {"audio": spectra.reader(spectrogram), "video": Video(frames=frames, size=size)}


def files_of(lists: Iterable[Path], samples: Samples) -> list[Path]:
    """Return the lists and the media of the clips that are there, whatever is read of them."""
    return [*lists, *reading.files(samples, readers("257x188", frames=1, size=1))]
