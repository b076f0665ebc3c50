"""The trainer's own cost per step over a hand-written loop, same model and rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from functools import cache, partial

import numpy as np
import torch
from torch.nn import functional

from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import Dataset
from sweeper.models.streams import numpy_stream
from sweeper.models.training.build import build_method
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.training.trainer import train

REPEATS, BATCH = 5, 64
LONG, SHORT = (
    48,
    4,
)  # how often each training row is repeated: one long epoch, so that steps outweigh all else


@cache
def digits(copies: int) -> Dataset:
    """Return the digits with every training row `copies` times."""
    data = load_dataset("digits", {})
    data.rows["train"] = np.tile(data.rows["train"], copies)
    return data


def by_hand(seed: int, copies: int) -> None:
    """Train joint concatenation on digits as one would write it down, evaluating at the end."""
    data = digits(copies)
    method = build_method(data.spec, {}, {"name": "concat"}, {"name": "joint"}, seed)
    encoders, head = method.net.encoders, method.net.fusion.head
    parameters = list(method.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)
    tensors = {}
    for split in ("train", "validation"):
        rows = data.rows[split]
        inputs = {m: torch.from_numpy(x[rows]).float() / 16 for m, x in data.inputs.items()}
        tensors[split] = inputs, torch.from_numpy(data.target[rows])
    inputs, target = tensors["train"]
    order = torch.from_numpy(numpy_stream(seed, "order").permutation(len(target)))
    for part in order.split(BATCH):
        features = torch.cat([encoders[m](x[part]) for m, x in inputs.items()], -1)
        loss = functional.cross_entropy(head(features), target[part])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        held, truth = tensors["validation"]
        features = torch.cat([encoders[m](x) for m, x in held.items()], -1)
        (head(features).argmax(-1) == truth).float().mean().item()


def with_trainer(name: str, seed: int, copies: int) -> None:
    """Train a method on digits through the trainer."""
    data = digits(copies)
    method = build_method(data.spec, {}, {"name": "concat"}, {"name": name}, seed)
    train(method, splits_of(data, method, seed), Settings(epochs=1, batch_size=BATCH), seed)


def least_seconds(works: dict[Hashable, Callable[[int], None]]) -> dict[Hashable, float]:
    """Return the least processor time of each over REPEATS turns: its cost when nothing else disturbs it."""
    found: dict[Hashable, list[float]] = {name: [] for name in works}
    for seed in range(REPEATS):
        for name, work in works.items():
            began = time.process_time()
            work(seed)
            found[name].append(time.process_time() - began)
    return {name: min(values) for name, values in found.items()}


def main() -> None:
    """Print the trainer over the loop by hand."""
    torch.set_num_threads(1)
    by_hand(0, SHORT)
    works = {
        (who, copies): lambda s, work=work, copies=copies: work(s, copies)
        for who, work in {"hand": by_hand, "trainer": partial(with_trainer, "joint")}.items()
        for copies in (SHORT, LONG)
    }
    least = least_seconds(works)
    # the slope between two lengths: what a step costs, whatever a run costs once
    step = {
        who: (least[who, LONG] - least[who, SHORT]) / (1000 * (LONG - SHORT) / BATCH)
        for who in ("hand", "trainer")
    }
    print(f"hand-written loop: {1e6 * step['hand']:.0f} µs a step")
    print(f"trainer, joint: {step['trainer'] / step['hand']:.3f} × the hand-written loop's step")
