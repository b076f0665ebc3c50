"""`vggsound`: 309 sounds with what makes them in the picture, ten seconds of some 200,000 YouTube videos."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sweeper.models.data import clips as shared
from sweeper.models.data import reading
from sweeper.models.data.clips import YOUTUBE, Clip
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find
from sweeper.models.data.lines import commas
from sweeper.models.data.published import Published
from sweeper.models.data.readers.base import Reader
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.spectra import Spectrogram
from sweeper.models.errors import choose
from sweeper.models.schema.ranges import Count, ShareWithin

PUBLISHED = Published(
    cite="Chen et al., VGGSound: A Large-Scale Audio-Visual Dataset (ICASSP 2020)",
    licence="annotations CC BY 4.0; the videos are their makers' on YouTube",
    get="robots.ox.ac.uk/~vgg/data/vggsound, which has vggsound.csv and links copies of the videos",
    layout="""\
VGGSound/vggsound.csv                 <video>,<start>,"<label>",train|test without header
    or train.csv, test.csv            <video>_<start>.mp4,<label>
VGGSound/**/<video>_<start>.mp4       or frames in a folder of that name, and **/<video>_<start>.wav""",
    counts={"test": 15446},
    flaws=(
        "videos vanish from YouTube: nobody has all clips, and released loaders skip the others silently",
        "there is no published validation split, and many papers select on test; here it is carved from train",
        "starts are written with and without leading zeros, <video>_000030 or <video>_30: both are found",
    ),
)
FOLDER = "VGGSound"
LISTS = ("{}.csv", "data/VGGSound/{}.csv", "annotations/{}.csv")


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    spectrogram: Spectrogram = "257x1004",
    frames: Count = 3,
    size: Count = 224,
    missing: Missing = "refuse",
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: ShareWithin = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """Return the clips: `audio`, a spectrogram (1, F, T), and `video`, `frames` pictures of `size` pixels.

    Validation is carved from train, no video in both. `missing` says what becomes of clips without sound or frames.
    Raises UserError for missing lists and files that cannot be read.
    """
    shared.compare("vggsound", PUBLISHED, clips(root), "video")
    carving = {"validation_fraction": validation_fraction, "split_seed": split_seed}
    media = shared.readers(spectrogram, frames, size)
    own = samples(root)
    return reading.read(own, media, cache=cache, missing=missing, standardize=standardize, **carving)


def readers(
    *, spectrogram: Spectrogram = "257x1004", frames: int = 3, size: int = 224, **_: object
) -> dict[str, Reader]:
    """Return those of audio and video."""
    return shared.readers(spectrogram, frames, size)


def files(*, root: Path | None = None, **_: object) -> list[Path]:
    """Return the lists and the media of their clips."""
    lists = shared.by_first(_folder(root), LISTS).values()
    return shared.files_of(lists or [_table(root)], samples(root))


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the lists say; raises as `load`."""
    folder = _folder(root)
    found = shared.media(folder)
    return shared.gathered("vggsound", folder, shared.matched(clips(root), found), found, PUBLISHED.cite)


def clips(root: Path | None = None) -> list[Clip]:
    """Return the clips of train.csv and test.csv where they are there, else of vggsound.csv."""
    if lists := shared.by_first(_folder(root), LISTS):
        found = [
            (shared.bare(name), split, label)
            for split, path in lists.items()
            for name, *_, label in shared.listed(path)
        ]
    else:
        found = [
            (f"{video}_{start}", choose("split", split, ("train", "test"), "vggsound.csv"), label)
            for video, start, label, split, *_ in commas(_table(root), least=4)
        ]
    return [Clip(name, split, label, name[:YOUTUBE]) for name, split, label in found]


def _folder(root: Path | None) -> Path:
    return find("vggsound", root, FOLDER, "vggsound.csv, the sound files and frames or the videos")


def _table(root: Path | None) -> Path:
    return find("vggsound", root, f"{FOLDER}/vggsound.csv", "the table of all clips")
