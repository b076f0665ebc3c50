"""The trainer's own cost per step over a hand-written loop, same model and rows; and each method over joint."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch.nn import functional

from models.build import build_method
from models.data import load_dataset
from models.data.dataset import Dataset
from models.registry import entries
from models.settings import Settings
from models.streams import numpy_stream
from models.trainer import splits_of, train

REPEATS, COPIES, BATCH = 15, 8, 64
STEPS = -(-1000 * COPIES // BATCH)


@cache
def digits() -> Dataset:
    """Return the digits, each training row COPIES times: one long epoch, so that steps outweigh all else."""
    data = load_dataset("digits", {})
    data.rows["train"] = np.tile(data.rows["train"], COPIES)
    return data


def by_hand(seed: int) -> None:
    """Train joint concatenation on digits as one would write it down, evaluating at the end."""
    data = digits()
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


def with_trainer(name: str, seed: int) -> None:
    """Train a method on digits through the trainer."""
    data = digits()
    found = entries("method")[name]
    fusion = {"name": "concat"} if found.facts.get("fuses", True) else None
    options = {"modality": "left"} if "modality" in found.parameters else {}
    method = build_method(data.spec, {}, fusion, {"name": name, **options}, seed)
    train(method, splits_of(data, method, seed), Settings(epochs=1, batch_size=BATCH), seed)


def seconds(work: Callable[[int], None], seed: int) -> float:
    """Return the processor time of one call."""
    began = time.process_time()
    work(seed)
    return time.process_time() - began


def main() -> None:
    """Time all in turn, REPEATS times, and print ratios."""
    torch.set_num_threads(1)
    names = list(entries("method"))
    works = {"by hand": by_hand, **{name: lambda s, name=name: with_trainer(name, s) for name in names}}
    for work in works.values():
        work(0)
    turns = [{name: seconds(work, seed) for name, work in works.items()} for seed in range(REPEATS)]
    # the least of many turns: what the work costs when nothing else disturbs it
    least = {name: min(turn[name] for turn in turns) for name in works}
    loop = least.pop("by hand")
    print(f"hand-written loop: {1e6 * loop / STEPS:.0f} µs a step")
    print(f"trainer, joint: {least['joint'] / loop:.3f} × the hand-written loop")
    for name, value in least.items():
        print(f"{name}: {value / least['joint']:.2f} × joint")
