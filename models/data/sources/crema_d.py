"""`crema_d`: six acted emotions, 7,442 clips of 91 actors who speak one of twelve sentences."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from sweeper.models.data import clips as shared
from sweeper.models.data import reading
from sweeper.models.data.clips import Clip
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find
from sweeper.models.data.published import Published
from sweeper.models.data.readers.base import Reader
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.spectra import Spectrogram
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, ShareWithin

PUBLISHED = Published(
    cite="Cao et al., CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset (IEEE Transactions on Affective"
    " Computing 2014)",
    licence="Open Database License 1.0",
    get="github.com/CheyneyComputerScience/CREMA-D (Git LFS); train.csv and test.csv from the repository of OGM-GE,"
    " folder data/CREMAD",
    layout="""\
CREMA-D/AudioWAV/<clip>.wav
CREMA-D/VideoFlash/<clip>.flv    or frames, CREMA-D/Image-01-FPS/<clip>/00001.jpg
CREMA-D/train.csv, test.csv      <clip>,<emotion>; or in CREMA-D/annotations or CREMA-D/data/CREMAD""",
    counts={"train": 6698, "test": 744},
    flaws=(
        "the published split is random: all 91 actors are in train and in test; split: actors keeps them apart",
        "there is no published validation split, and many papers select on test; here it is carved from train",
        "released loaders skip clips without sound or frames silently, and some drop the last batch of test",
    ),
)

FOLDER = "CREMA-D"
NAME = re.compile(r"(?P<actor>\d{4})_[A-Z]{3}_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{2}")
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")  # in the order of the papers' class numbers
LISTS = ("{}.csv", "annotations/{}.csv", "data/CREMAD/{}.csv", "my_{}_cre.txt")


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    split: Literal["published", "actors"] = "published",
    spectrogram: Spectrogram = "257x188",
    frames: Count = 3,
    size: Count = 224,
    missing: Missing = "refuse",
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: ShareWithin = 0.1,
    test_fraction: ShareWithin = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the clips: `audio`, a spectrogram (1, F, T), and `video`, `frames` pictures of `size` pixels.

    `split` published is that of OGM-GE's lists, with validation carved from train by class; in actors nobody is seen in
    two splits, of which test is `test_fraction` of all. `missing` says what becomes of clips without sound or frames.
    Raises UserError for missing lists, a name that does not tell the emotion, files that cannot be read.
    """
    shared.compare("crema_d", PUBLISHED, clips(root, split), "actor")
    carving = {
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "split_seed": split_seed,
    }
    media = shared.readers(spectrogram, frames, size)
    own = samples(root, split)
    return reading.read(own, media, cache=cache, missing=missing, standardize=standardize, **carving)


def readers(
    *, spectrogram: Spectrogram = "257x188", frames: int = 3, size: int = 224, **_: object
) -> dict[str, Reader]:
    """Return those of audio and video."""
    return shared.readers(spectrogram, frames, size)


def files(*, root: Path | None = None, split: str = "published", **_: object) -> list[Path]:
    """Return the lists and the media of their clips."""
    lists = shared.by_first(_folder(root), LISTS).values() if split == "published" else ()
    return shared.files_of(lists, samples(root, split))


def samples(root: Path | None = None, split: str = "published", **_: object) -> Samples:
    """Return what lists and names of files say; raises as `load`."""
    folder = _folder(root)
    return shared.gathered(
        "crema_d", folder, clips(root, split), shared.media(folder), PUBLISHED.cite, EMOTIONS
    )


def clips(root: Path | None = None, split: str = "published") -> list[Clip]:
    """Return the clips of the lists, or without a split those that have sound."""
    folder = _folder(root)
    if split == "actors":
        return [_clip(name, "") for name in sorted(shared.media(folder).sounds) if NAME.fullmatch(name)]
    lists = shared.by_first(folder, LISTS)
    if not lists:
        raise UserError(
            f"dataset 'crema_d': {folder} has no train.csv and test.csv; put OGM-GE's there, or take split: actors"
        )
    return [
        _clip(shared.bare(name), part) for part, path in lists.items() for name, *_ in shared.listed(path)
    ]


def _folder(root: Path | None) -> Path:
    return find("crema_d", root, FOLDER, "the folders AudioWAV and VideoFlash or Image-01-FPS, and the lists")


def _clip(name: str, split: str) -> Clip:
    found = NAME.fullmatch(name)
    if not found:
        raise UserError(
            f"dataset 'crema_d': clip {name!r} does not read <actor>_<sentence>_<emotion>_<level>; name it as published"
        )
    return Clip(name, split, found["emotion"], found["actor"])
