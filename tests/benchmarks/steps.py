"""What a step of every registered method costs over one of joint training, on the same net and rows."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import Dataset
from sweeper.models.encoders.base import Encoder
from sweeper.models.method import Method
from sweeper.models.training.build import build_method
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.training.trainer import train
from tests.models.cases import CASES, Case

SETTINGS = Settings(epochs=3, batch_size=64, lr=0.01)  # as many epochs as a case needs to show what it does
SHORT, LONG, TURNS = 128, 512, 2


@dataclass(frozen=True)
class Cost:
    """Processor time in seconds, and passes through encoders, of one row in one modality each."""

    seconds: float
    forward: float
    backward: float


@cache
def images(rows: int) -> Dataset:
    """Return three modalities of images, on which an encoder costs more than the bookkeeping around it."""
    sizes = {"train": rows, "validation": 32, "test": 32}
    return load_dataset("synthetic", {"modalities": 3, "kind": "image", "dim": 16, **sizes})


def count(method: Method) -> Counter[str]:
    """Return what will count the passes through each of a method's encoders, teachers included."""
    found: Counter[str] = Counter()

    def seen(encoder: Encoder, inputs: tuple[Tensor, ...], features: Tensor) -> None:
        found["forward"] += len(features)
        if features.requires_grad:
            features.register_hook(lambda gradient: found.update(backward=len(gradient)))

    for encoder in method.modules():
        if isinstance(encoder, Encoder):
            encoder.register_forward_hook(seen)
    return found


def cost(case: Case, rows: int) -> Cost:
    """Return what an epoch costs, of those that a method makes on so many rows."""
    data, fusion = images(rows), case.fuses_by
    encoders = {"image": {"name": "convnet", "width": 8, "norm": "group"}}
    method = build_method(data.spec, encoders, {"name": fusion} if fusion else None, case.named, 0)
    passes, began = count(method), time.process_time()
    epochs = len(train(method, splits_of(data, method, 0), SETTINGS, 0).curve)
    seconds = time.process_time() - began
    return Cost(seconds / epochs, passes["forward"] / epochs, passes["backward"] / epochs)


def main() -> None:
    """Print for every method the time and the passes of a step, what its epochs and its end add shared out among them.

    It is the slope between two lengths: what a run costs once is not in it.
    """
    torch.set_num_threads(1)
    cost(next(case for case in CASES if case.method == "joint"), SHORT)
    stepping = [case for case in CASES if not case.at_once]
    found = {case.method: [[cost(case, n) for n in (SHORT, LONG)] for _ in range(TURNS)] for case in stepping}

    def slope(method: str, name: str) -> float:
        short, long = (min(getattr(turn[i], name) for turn in found[method]) for i in (0, 1))
        return (long - short) / (LONG - SHORT)

    modalities = len(images(SHORT).spec.modalities)
    print(
        f"joint: {1000 * SETTINGS.batch_size * slope('joint', 'seconds'):.1f} ms a step of {SETTINGS.batch_size} rows"
    )
    print(
        "time over joint's, and passes of a row through each encoder (joint: 1 forward, 1 backward, 2 times as dear)"
    )
    for method in sorted(found):
        over = slope(method, "seconds") / slope("joint", "seconds")
        forward, backward = (slope(method, way) / modalities for way in ("forward", "backward"))
        theory = (forward + 2 * backward) / 3
        passes = (
            f"{forward:.2f} forward, {backward:.2f} backward; {over / theory:.2f} × theory"
            if theory
            else "by stages"
        )
        print(f"  {method}: {over:.2f} × joint; {passes}")
