"""`nyu_depth_v2`: rooms in colour and in depth, 1,449 frames; which kind of room, or what each pixel is part of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sweeper.models.data import reading
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.depths import Depth, Frame, Half
from sweeper.models.data.files import find_one, readable
from sweeper.models.data.published import Published, tell
from sweeper.models.data.readers.base import Reader
from sweeper.models.data.readers.image import Image, Size
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import ShareWithin
from sweeper.models.values import VOID

PUBLISHED = Published(
    cite="Silberman et al., Indoor Segmentation and Support Inference from RGBD Images (ECCV 2012); 40 classes of Gupta"
    " et al., Perceptual Organization and Recognition of Indoor Scenes from RGB-D Images (CVPR 2013)",
    licence="the terms are on its page",
    get="cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html; nyud2_trainvaltest is linked by TMC's and QMF's repositories,"
    " the export of labels_40 is written by ESANet's",
    layout="""\
for task classification:
nyud2_trainvaltest/{train,val,test}/<scene>/*.png    colour in the left half, depth (HHA) in the right
    or nyu_depth_v2/nyu_depth_v2_labeled.mat and splits.mat, the official files
for task segmentation:
nyu_depth_v2/{train,test}/{rgb,depth,labels_40}/<number>.png    labels 0 void, 1 to 40""",
    counts={"train": 795, "test": 654},
    flaws=(
        "there is no published validation split for segmentation, and papers select on test; here it is carved from"
        " train, by room where the file says it",
        "the export of labels_40 does not say which frames are of one room, so that a room may stand in train and"
        " validation",
        "released loaders crop and flip colour and depth each by itself, which tears them apart",
    ),
)
PLACES = {
    "classification": (
        "nyud2_trainvaltest",
        "nyu_depth_v2/nyud2_trainvaltest",
        "nyu_depth_v2/nyu_depth_v2_labeled.mat",
        "nyu_depth_v2_labeled.mat",
    ),
    "segmentation": ("nyu_depth_v2", "nyuv2"),
}
SCENES = (
    *(
        "bathroom",
        "bedroom",
        "bookstore",
        "classroom",
        "dining_room",
        "home_office",
        "kitchen",
        "living_room",
    ),
    *("office", "others"),
)
OBJECTS = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *(
        "counter",
        "blinds",
        "desk",
        "shelves",
        "curtain",
        "dresser",
        "pillow",
        "mirror",
        "floor mat",
        "clothes",
    ),
    *(
        "ceiling",
        "books",
        "refrigerator",
        "television",
        "paper",
        "towel",
        "shower curtain",
        "box",
        "whiteboard",
    ),
    *(
        "person",
        "night stand",
        "toilet",
        "sink",
        "lamp",
        "bathtub",
        "bag",
        "other structure",
        "other furniture",
    ),
    "other prop",
)
SPLITS = {"train": "train", "val": "validation", "test": "test"}
SIZES = {"classification": 224, "segmentation": [480, 640]}


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    task: Literal["classification", "segmentation"] = "classification",
    size: Size | None = None,
    missing: Missing = "refuse",
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: ShareWithin = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """Return the frames: `rgb` (3, H, W) and `depth`, as HHA (3, H, W) or a distance (1, H, W).

    Classification is by scene, nine and others; segmentation has 40 classes, and void where the export has 0. `size`
    is a side or [H, W], 224 in classification and [480, 640] in segmentation unless given. Validation is carved from
    train where none is given. `missing` says what becomes of frames without a file. Raises UserError for missing
    folders and files that cannot be read.
    """
    own = samples(root, task)
    _compare(own)
    dataset = reading.read(
        own,
        readers(root=root, task=task, size=size),
        cache=cache,
        missing=missing,
        standardize=standardize,
        validation_fraction=validation_fraction,
        split_seed=split_seed,
    )
    if task == "classification":
        return dataset
    target = np.maximum(dataset.target - 1, VOID).astype(dataset.target.dtype)  # the first class is void
    spec = replace(dataset.spec, n_classes=len(OBJECTS), classes=OBJECTS)
    return replace(dataset, target=target, spec=spec)


def readers(
    *,
    root: Path | None = None,
    task: str = "classification",
    size: int | list[int] | None = None,
    **_: object,
) -> dict[str, Reader]:
    """Return those of rgb and depth."""
    size = size or SIZES[task]
    if task == "segmentation":
        return {"rgb": Image(size=size, fit="stretch"), "depth": Depth(size=size)}
    place = _place(root, task)
    if place.is_dir():
        return {"rgb": Half(half="left", size=size), "depth": Half(half="right", size=size)}
    return {"rgb": Frame(place, key="images", size=size), "depth": Frame(place, key="depths", size=size)}


def files(*, root: Path | None = None, task: str = "classification", **_: object) -> list[Path]:
    """Return the pictures, or the official files."""
    place = _place(root, task)
    own = samples(root, task)
    split = [] if place.is_dir() else [place.parent / "splits.mat"]
    return [*split, *reading.files(own, readers(root=root, task=task))]


def task(*, task: str = "classification", **_: object) -> str:
    """Return the task as named."""
    return task


def samples(root: Path | None = None, task: str = "classification", **_: object) -> Samples:
    """Return what folders and their names say, or the official files; raises as `load`."""
    place = _place(root, task)
    if task == "segmentation":
        return _exported(place)
    return _scenes(place) if place.is_dir() else _official(place)


def _place(root: Path | None, task: str) -> Path:
    return find_one("nyu_depth_v2", root, PLACES[task], f"what {task} needs ({PUBLISHED.get})")


def _scenes(folder: Path) -> Samples:
    """Return pictures in folders by split and scene."""
    found = [
        (path, split, path.parent.name)
        for theirs, split in SPLITS.items()
        for path in sorted((folder / theirs).glob("*/*.png"))
    ]
    if not found:
        raise UserError(
            f"dataset 'nyu_depth_v2': {folder} has no <split>/<scene>/*.png; unpack the archive there"
        )
    classes = tuple(sorted({scene for _, _, scene in found}))
    return Samples(
        name="nyu_depth_v2",
        ids=tuple(f"{path.parent.parent.name}/{scene}/{path.stem}" for path, _, scene in found),
        cells={m: [(path,) for path, _, _ in found] for m in ("rgb", "depth")},
        split=tuple(split for _, split, _ in found),
        target=np.array([classes.index(scene) for _, _, scene in found]),
        task="classification",
        cite=PUBLISHED.cite,
        classes=classes,
    )


def _exported(folder: Path) -> Samples:
    """Return frames of the export, with the paths of their labels; class 0 is void."""
    found = [
        (split, path.name)
        for split in ("train", "test")
        for path in sorted((folder / split / "rgb").glob("*.png"))
    ]
    if not found:
        raise UserError(
            f"dataset 'nyu_depth_v2': {folder} has no train/rgb/*.png; write ESANet's export there"
        )
    return Samples(
        name="nyu_depth_v2",
        ids=tuple(f"{split}/{name}" for split, name in found),
        cells={m: [(folder / split / m / name,) for split, name in found] for m in ("rgb", "depth")},
        split=tuple(split for split, _ in found),
        target=np.array([folder / split / "labels_40" / name for split, name in found]),
        task="segmentation",
        cite=PUBLISHED.cite,
        classes=("void", *OBJECTS),
    )


def _official(path: Path) -> Samples:
    """Return frames of the official file by their numbers; the other 18 of its 27 kinds of room are `others`."""
    import h5py
    from scipy.io import loadmat

    with readable("nyu_depth_v2", path), h5py.File(path) as file:
        kinds, rooms = (
            [_word(file[ref]) for ref in file[key][:].reshape(-1)] for key in ("sceneTypes", "scenes")
        )
    with readable("nyu_depth_v2", path.parent / "splits.mat"):
        numbers = loadmat(path.parent / "splits.mat")
        split = np.full(len(kinds), "", dtype="<U5")
        for name in ("train", "test"):
            split[numbers[f"{name}Ndxs"].reshape(-1).astype(int) - 1] = name
    scenes = [kind if kind in SCENES else "others" for kind in kinds]
    places = {room: set(split[[r == room for r in rooms]]) for room in set(rooms)}
    return Samples(
        name="nyu_depth_v2",
        ids=tuple(f"{number + 1:04d}" for number in range(len(kinds))),
        cells={m: [str(number) for number in range(len(kinds))] for m in ("rgb", "depth")},
        split=tuple(split.tolist()),
        target=np.array([SCENES.index(scene) for scene in scenes]),
        task="classification",
        cite=PUBLISHED.cite,
        classes=SCENES,
        group=np.array(rooms) if all(len(own) == 1 for own in places.values()) else None,
    )


def _word(letters: Any) -> str:  # noqa: ANN401 - an HDF5 dataset of letters' numbers
    return "".join(map(chr, letters[:].reshape(-1)))


def _compare(own: Samples) -> None:
    """Say where frames are not as many as published; those of a validation split are train's."""
    found = Counter("test" if split == "test" else "train" for split in own.split)
    tell(own.name, PUBLISHED, found)
