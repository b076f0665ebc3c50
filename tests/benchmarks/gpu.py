"""What each setting that counts on a GPU brings: a step of a ResNet-18 with it over one without; and held data."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from unittest.mock import patch

import torch

from sweeper.models.data import feed as feeds
from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import Dataset
from sweeper.models.training import optimizers
from sweeper.models.training.build import build_method
from sweeper.models.training.device import place
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.training.trainer import train

DEVICE = "cuda"
ROWS, SIZE, BATCH, EPOCHS = 4096, 96, 256, 3


def seconds(data: Dataset, *, precision: str = "fp32", **options: bool) -> float:
    """Return how long an epoch takes, the first, which compiles and warms up, left out."""
    method = build_method(data.spec, {"m0": {"name": "resnet18"}}, {"name": "concat"}, {"name": "joint"}, 0)
    place(method, DEVICE, **options)
    ended: list[float] = []

    def on_epoch(_: dict[str, float]) -> None:
        torch.cuda.synchronize()
        ended.append(time.perf_counter())

    settings = Settings(epochs=1 + EPOCHS, batch_size=BATCH, precision=precision)
    train(method, splits_of(data, method, 0, DEVICE), settings, 0, on_epoch=on_epoch)
    return min(b - a for a, b in pairwise(ended))


def read_each_batch(work: Callable[[], float], *, pinned: bool = True, ahead: bool = True) -> float:
    """Return what `work` takes where no split is held on the GPU, unpinned or without a thread that reads if asked."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(feeds, "_room", lambda device: 0))
        if not pinned:
            stack.enter_context(patch.object(torch.Tensor, "pin_memory", lambda tensor: tensor))
        if not ahead:
            stack.enter_context(patch.object(feeds, "ahead", iter))
        return work()


def unfused(groups: list[dict[str, object]], **options: float) -> torch.optim.Optimizer:
    """Return SGD as it was without the fused kernel."""
    return torch.optim.SGD(groups, foreach=True, **options)


def main() -> None:
    """Print every setting's gain, or that there is no GPU."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    sizes = {"train": ROWS, "validation": 64, "test": 64}
    data = load_dataset("synthetic", {"modalities": 1, "kind": "image", "dim": SIZE, **sizes})
    plain = partial(seconds, data)
    base, half = plain(), plain(precision="bf16")
    print(f"ResNet-18, {ROWS} images of {SIZE}×{SIZE}, batches of {BATCH}, {torch.cuda.get_device_name()}:")
    print(f"an epoch in fp32 takes {base:.3f} s; how many times as fast it is with")
    with patch.object(optimizers, "fused_sgd", unfused):
        print(f"  the fused optimiser, the default: {plain() / base:.2f}")
    print(f"  channels_last: {base / plain(channels_last=True):.2f}")
    print(f"  compile: {base / plain(compile=True):.2f}")
    print(f"  precision bf16: {base / half:.2f}")
    print(f"    with channels_last: {base / plain(precision='bf16', channels_last=True):.2f}")
    both = plain(precision="bf16", channels_last=True, compile=True)
    print(f"    with channels_last and compile: {base / both:.2f}")
    from_disk = partial(read_each_batch, partial(plain, precision="bf16"))
    print("and in bf16, over an epoch whose batches are read when they are asked for, with batches")
    slow = from_disk(pinned=False, ahead=False)
    print(
        f"  in pinned memory: {slow / from_disk(ahead=False):.2f}; read ahead as well: {slow / from_disk():.2f}"
    )
    print(f"  of data held on the GPU, the default where they fit: {slow / half:.2f}")
