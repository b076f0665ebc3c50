"""Reading: images into the store against a plain loop, and epochs from it against a DataLoader with two workers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image as pillow
from torch import Tensor
from torch.utils.data import DataLoader

from sweeper.models.data.dataset import Dataset, assemble, standardized
from sweeper.models.data.feed import Feed
from sweeper.models.data.readers.base import Cell
from sweeper.models.data.readers.image import Image
from sweeper.models.data.readers.store import stored

IMAGES, SIDE, BATCH, EPOCHS = 2000, 224, 64, 3
READER = Image(size=SIDE)


def photographs(folder: Path) -> list[Cell]:
    """Write images of 320 x 256 as JPEG, about 40 kB each, and return a cell for each."""
    rng, cells = np.random.default_rng(0), []
    for number in range(IMAGES):
        coarse = pillow.fromarray(rng.integers(0, 255, (32, 40, 3), dtype=np.uint8))
        path = folder / f"{number}.jpg"
        coarse.resize((320, 256), pillow.Resampling.BICUBIC).save(path, quality=90)
        cells.append((path,))
    return cells


class Decoded(torch.utils.data.Dataset):
    """Images that are decoded whenever they are asked for, as a DataLoader has them."""

    def __init__(self, cells: list[Cell], mean: Tensor, std: Tensor) -> None:
        self.cells, self.mean, self.std = cells, mean, std

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return (torch.from_numpy(READER.read(self.cells[row])).float() - self.mean) / self.std, row


def dataset(cells: list[Cell], cache: Path) -> Dataset:
    """Return the images as a dataset, nearly all of them to be trained on."""
    samples, _, failures = stored(cells, READER, cache)
    assert not failures
    train, validation, test = np.split(np.arange(IMAGES), [IMAGES - 4, IMAGES - 2])
    rows = {"train": train, "validation": validation, "test": test}
    target = np.arange(IMAGES) % 2
    return standardized(assemble("images", {"image": samples}, target, rows, {"image": "image"}, cite=""))


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def drained(batches: Iterable[object]) -> None:
    """Go through batches, as a loop does that trains nothing."""
    for _ in batches:
        pass


def reading(cells: list[Cell], folder: Path) -> None:
    """Print what reading all images costs."""
    plain = seconds(lambda: [READER.read(cell) for cell in cells])
    once = seconds(lambda: stored(cells, READER, folder / "cache"))
    again = seconds(lambda: stored(cells, READER, folder / "cache"))
    print(
        f"{IMAGES} images: a plain loop {IMAGES / plain:.0f}/s, into the store {IMAGES / once:.0f}/s"
        f" ({plain / once:.2f} times as fast), from then on all of them in {again:.2f} s"
    )


def epochs(cells: list[Cell], folder: Path) -> None:
    """Print what epochs cost, in the same shuffled order and batches."""
    began = time.perf_counter()
    data = dataset(cells, folder / "other")
    feed = Feed(data, np.arange(IMAGES))
    prepared = time.perf_counter() - began
    mean, std = (torch.as_tensor(number, dtype=torch.float32) for number in data.scale["image"])
    loader = DataLoader(
        Decoded(cells, mean, std), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    own = [seconds(lambda: drained(feed.stream(torch.randperm(IMAGES).split(BATCH)))) for _ in range(EPOCHS)]
    theirs = [seconds(lambda: drained(loader)) for _ in range(EPOCHS)]
    own[0] += prepared
    for name, found in (("the feed", own), ("DataLoader, 2 workers", theirs)):
        print(f"epochs of {name}: {', '.join(f'{one:.2f}' for one in found)} s")
    ratio = np.median(theirs[1:]) / np.median(own[1:])
    print(f"from the second epoch on the feed is {ratio:.2f} times as fast")


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as name:
        cells = photographs(Path(name))
        reading(cells, Path(name))
        epochs(cells, Path(name))
