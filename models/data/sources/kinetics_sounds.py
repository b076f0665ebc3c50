"""`kinetics_sounds`: 31 actions of Kinetics-400 that can be seen and heard, in clips of ten seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sweeper.models.data import clips as shared
from sweeper.models.data import reading
from sweeper.models.data.clips import YOUTUBE, Clip
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find
from sweeper.models.data.lines import contents
from sweeper.models.data.published import Published
from sweeper.models.data.readers.base import Reader
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.spectra import Spectrogram
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, ShareWithin

PUBLISHED = Published(
    cite="Arandjelović and Zisserman, Look, Listen and Learn (ICCV 2017); Kay et al., The Kinetics Human Action Video"
    " Dataset (arXiv:1705.06950)",
    licence="annotations of Kinetics CC BY 4.0; the videos are their makers' on YouTube",
    get="there is no archive: the videos of Kinetics-400, and the lists of the repository of OGM-GE, folder"
    " data/KineticSound",
    layout="""\
KineticsSounds/my_train.txt, my_test.txt       <video>_<start>_<end>,<seconds>,<class>
    or annotations/train.csv, test.csv         youtube_id,label
    or train.txt, test.txt                     <clip> <class>
    or KS.json                                 {"database": {<clip>: {"subset": training|validation, "label"}}}
    or visual/{train_img,val_img}/Image-01-FPS/<class>/<clip>/
KineticsSounds/**/<clip>.wav
KineticsSounds/**/<clip>/frame_00001.jpg       at one frame a second; or videos, **/<clip>.mp4""",
    counts={"train": 14799, "test": 2597},
    flaws=(
        "every paper has lists of its own: counts are those of OGM-GE; KS.json has 17,396 and 1,320, others 15,000,"
        " 1,900 and 1,900; say whose lists numbers are of",
        "names in the test list count a video's clips, <video>_<n>, where files have start and end: a clip is found by"
        " its video where that has only one",
        "there is no published validation split with OGM-GE's lists, and many papers select on test; here it is carved"
        " from train",
        "videos vanish from YouTube: nobody has all clips, and released loaders skip the others silently",
    ),
)
FOLDER = "KineticsSounds"
LISTS = ("my_{}.txt", "annotations/{}.csv", "data/KineticSound/my_{}.txt", "{}.csv", "{}.txt")
SUBSETS = {
    "training": "train",
    "train": "train",
    "validation": "test",
    "test": "test",
}  # KS.json has no other test
TREES = {"train": "visual/train_img", "test": "visual/val_img"}


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
    shared.compare("kinetics_sounds", PUBLISHED, clips(root), "video")
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
    folder = _folder(root)
    lists = [*shared.by_first(folder, LISTS).values()] or [p for p in [folder / "KS.json"] if p.exists()]
    return shared.files_of(lists, samples(root))


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the lists say; raises as `load`."""
    folder = _folder(root)
    found = shared.media(folder)
    own = shared.matched(clips(root), found)
    return shared.gathered("kinetics_sounds", folder, own, found, PUBLISHED.cite)


def clips(root: Path | None = None) -> list[Clip]:
    """Return the clips of the lists, of KS.json, or of a tree with a folder for each class."""
    folder = _folder(root)
    if lists := shared.by_first(folder, LISTS):
        found = [(name, split, label) for split, p in lists.items() for name, *_, label in shared.listed(p)]
    elif (folder / "KS.json").exists():
        found = list(_of_json(folder / "KS.json"))
    else:
        found = [
            (path.name, split, path.parent.name)
            for split, tree in TREES.items()
            for path in sorted((folder / tree).glob("Image-*-FPS/*/*"))
        ]
    return [
        Clip(shared.bare(name), split, label.replace("_", " "), name[:YOUTUBE])
        for name, split, label in found
    ]


def _of_json(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        for name, entry in json.loads(contents(path))["database"].items():
            yield name, SUBSETS[entry["subset"]], entry["label"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not as BML has it ({error!r}); download it again") from error


def _folder(root: Path | None) -> Path:
    return find("kinetics_sounds", root, FOLDER, "the lists, sound files and frames")
