"""`nvgesture`: 25 hand gestures in a car, filmed in colour and in depth."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from sweeper.models.data import reading
from sweeper.models.data.clips import Clip, compare, torn
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find
from sweeper.models.data.lines import contents
from sweeper.models.data.published import Published
from sweeper.models.data.readers.base import Cell, Unreadable, decoding
from sweeper.models.data.readers.image import pixels
from sweeper.models.data.readers.video import Video, middles
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.splits import subset
from sweeper.models.errors import UserError, one_line
from sweeper.models.schema.ranges import Count, ShareWithin

PUBLISHED = Published(
    cite="Molchanov et al., Online Detection and Classification of Dynamic Hand Gestures with Recurrent 3D"
    " Convolutional Neural Networks (CVPR 2016)",
    licence="the terms are on its page, for research",
    get="research.nvidia.com, the page of the paper links the archive nvGesture_v1.1",
    layout="""\
NVGesture/Video_data/class_01/subject13_r0/sk_color.avi, sk_depth.avi
NVGesture/nvgesture_train_correct_cvpr2016_v2.lst, nvgesture_test_correct_cvpr2016_v2.lst""",
    counts={"train": 1050, "test": 482},
    flaws=(
        "labels in the lists count from 1; here classes count from 0",
        "several versions of the lists go about, ..._correct.lst, ..._correct_v2.lst, ..._correct_cvpr2016_v2.lst: the"
        " last of these that is there is read",
        "there is no published validation split, and many papers select on test; here it is carved from train by"
        " subject",
    ),
)
FOLDER = "NVGesture"
LISTS = tuple(f"nvgesture_{{}}_correct{version}.lst" for version in ("_cvpr2016_v2", "_v2", "_cvpr2016", ""))
MODALITIES = ("color", "depth")
CLASSES = tuple(str(number) for number in range(1, 26))

Span = tuple[Path, int, int]  # a file, its first frame, and the first that no longer belongs


class Gesture(Video):
    """A video's frames between those that the lists name for it, a gesture; evenly spread."""

    def __init__(self, lists: tuple[Path, ...] = (), *, frames: int, size: int) -> None:
        super().__init__(frames=frames, size=size)
        self.lists = lists

    def weights(self) -> list[Path]:
        """Return the lists, which say where gestures begin and end."""
        return list(self.lists)

    @cached_property
    def spans(self) -> dict[Path, tuple[int, int]]:
        """First frame and end of each file."""
        return {
            path: (start, end)
            for table in self.lists
            for _, spans in _listed(table)
            for path, start, end in spans.values()
        }

    def read(self, cell: Cell) -> np.ndarray:
        """Return the frames of a cell's one file."""
        import av

        start, end = self.spans[cell[0]]
        wanted = {start + i for i in middles(end - start, self.frames)}
        with decoding(), av.open(str(cell[0])) as container:
            found = []
            for i, frame in enumerate(container.decode(video=0)):
                if i in wanted:
                    found.append(pixels(frame.to_image(), self.shape, self.fit))
                if i >= max(wanted, default=0):
                    break
        if len(found) < len(wanted) or not found:
            raise Unreadable(f"it ends before frame {end}, where the lists have a gesture")
        return np.stack(found)


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    modalities: list[Literal["color", "depth"]] | None = None,
    frames: Count = 16,
    size: Count = 112,
    missing: Missing = "refuse",
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: ShareWithin = 0.15,
    split_seed: int = 0,
) -> Dataset:
    """Return the gestures, `color` and `depth`: `frames` pictures of `size` pixels between a gesture's begin and end.

    Validation is carved from train, no subject in both. `missing` says what becomes of gestures without a video.
    Raises UserError for missing lists and lines that do not read, and files that cannot be read.
    """
    compare("nvgesture", PUBLISHED, [clip for clip, _ in _clips(root)], "subject")
    return reading.read(
        samples(root, modalities),
        readers(root=root, modalities=modalities, frames=frames, size=size),
        cache=cache,
        missing=missing,
        standardize=standardize,
        validation_fraction=validation_fraction,
        split_seed=split_seed,
    )


def readers(
    *,
    root: Path | None = None,
    modalities: list[str] | None = None,
    frames: int = 16,
    size: int = 112,
    **_: object,
) -> dict[str, Gesture]:
    """Return those of the chosen modalities."""
    lists = tuple(_lists(root).values())
    chosen = subset("nvgesture", "modality", modalities, MODALITIES)
    return {m: Gesture(lists, frames=frames, size=size) for m in chosen}


def files(*, root: Path | None = None, modalities: list[str] | None = None, **_: object) -> list[Path]:
    """Return the lists and the videos."""
    return reading.files(samples(root, modalities), readers(root=root, modalities=modalities))


def samples(root: Path | None = None, modalities: list[str] | None = None, **_: object) -> Samples:
    """Return what the lists say; raises as `load`."""
    found = _clips(root)
    clips = [clip for clip, _ in found]
    return Samples(
        name="nvgesture",
        ids=tuple(clip.id for clip in clips),
        cells={
            m: [(spans[m][0],) if m in spans else None for _, spans in found]
            for m in subset("nvgesture", "modality", modalities, MODALITIES)
        },
        split=tuple(clip.split for clip in clips),
        target=np.array([CLASSES.index(clip.label) for clip in clips]),
        task="classification",
        cite=PUBLISHED.cite,
        classes=CLASSES,
        group=None if torn(clips) else np.array([clip.group for clip in clips]),
    )


def _lists(root: Path | None) -> dict[str, Path]:
    folder = find("nvgesture", root, FOLDER, "the folder Video_data and the lists")
    for pattern in LISTS:
        found = {split: folder / pattern.format(split) for split in ("train", "test")}
        if all(path.exists() for path in found.values()):
            return found
    raise UserError(
        f"dataset 'nvgesture': {folder} has no pair of lists such as {LISTS[0].format('train')}; put them there"
    )


def _clips(root: Path | None) -> list[tuple[Clip, dict[str, Span]]]:
    """Return each gesture with its file, begin and end in every modality."""
    return [
        (clip._replace(split=split), spans)
        for split, path in _lists(root).items()
        for clip, spans in _listed(path)
    ]


def _listed(path: Path) -> list[tuple[Clip, dict[str, Span]]]:
    """Return the gestures of a list: words path:<folder>, <modality>:<file>:<begin>:<end>, label:<from 1>."""
    found = []
    for number, line in enumerate(contents(path).splitlines(), 1):
        if not line.strip():
            continue
        words = dict(word.split(":", 1) for word in line.split() if ":" in word)
        try:
            folder, label = Path(words["path"]), words["label"]
            spans = {}
            for modality in words.keys() & set(MODALITIES):
                stem, start, end = words[modality].split(":")
                spans[modality] = (path.parent / folder / f"{stem}.avi", int(start), int(end))
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{path} line {number} does not read ({one_line(error)}); get the list anew"
            ) from error
        if label not in CLASSES:
            raise UserError(f"{path} line {number} has label {label!r}; 1 to {len(CLASSES)} are admissible")
        found.append((Clip(str(folder), "", label, folder.name.partition("_")[0]), spans))
    return found
