"""Two gloo ranks on a ResNet-18, a thread each: our step beside DistributedDataParallel's, and beside one rank's."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from sweeper.models import parallel
from sweeper.models.data import load_dataset
from sweeper.models.data.feed import Feed
from sweeper.models.method import Method
from sweeper.models.training.build import build_method
from sweeper.models.training.steps import steps
from tests.models.toys import SETTINGS, context, optimizer_of

RANKS, TURNS, WARM = 2, 40, 3
SIZE, ROWS = 64, 16  # of images, and of a rank's batch


def method_and_rows(rank: int) -> tuple[Method, Feed]:
    """Return a ResNet-18 under joint training, alike on all ranks, and this rank's rows."""
    sizes = {"train": RANKS * ROWS, "validation": 1, "test": 1}
    data = load_dataset("synthetic", {"modalities": 1, "kind": "image", "dim": SIZE, **sizes})
    method = build_method(data.spec, {"m0": {"name": "resnet18"}}, {"name": "concat"}, {"name": "joint"}, 0)
    return method.train(), Feed(data, data.rows["train"][rank::RANKS])


def stepping(method: Method, feed: Feed) -> Callable[[], None]:
    """Return what makes one of our steps, this rank's rows being its share of those of all."""
    optimizer, batch = optimizer_of(method), feed.batch(torch.arange(ROWS))

    def step() -> None:
        for _ in steps(
            method, [(batch, 1 / parallel.world(), context())], optimizer, SETTINGS, nullcontext()
        ):
            pass

    return step


def stepping_by_torch(method: Method, feed: Feed) -> Callable[[], None]:
    """Return what makes one of the same steps by torch's own means."""
    whole, batch = DistributedDataParallel(method), feed.batch(torch.arange(ROWS))
    optimizer = optimizer_of(method)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(whole(batch).fused, batch.target).backward()
        optimizer.step()

    return step


def seconds(work: Callable[[], None]) -> float:
    """Return how long the slowest rank takes, all beginning at once."""
    dist.barrier()
    began = time.perf_counter()
    work()
    dist.barrier()
    return time.perf_counter() - began


def one_rank(rank: int, port: int) -> None:
    """Measure in turn our step, torch's, and the step of rank 0 while the others wait; rank 0 prints."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    makers = {"ours": stepping, "torch": stepping_by_torch, "alone": stepping}
    works = {name: make(*method_and_rows(rank)) for name, make in makers.items()}

    def alone(step: Callable[[], None] = works["alone"]) -> None:
        with parallel.replicated():
            if rank == 0:
                step()

    works["alone"] = alone
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(WARM + TURNS):
        for name in list(works)[:: 1 if turn % 2 else -1]:
            taken = seconds(works[name])
            found[name] += [taken] * (turn >= WARM)
    if rank == 0:
        ours, theirs, one = found.values()
        # of steps made one after another, which the machine's other work slows alike
        over = median(a / b for a, b in zip(ours, theirs, strict=True))
        efficiency = median(a / b for a, b in zip(one, ours, strict=True))
        print(f"a step of {RANKS} gloo ranks, ResNet-18 on {ROWS} images of {SIZE}×{SIZE} each: ", end="")
        print(f"{1000 * median(ours):.0f} ms, {over:.3f} × DistributedDataParallel's")
        print(f"a step of one rank on {ROWS} images: {1000 * median(one):.0f} ms; ", end="")
        print(f"scaling efficiency of {RANKS} ranks, a thread each: {efficiency:.2f}")
    dist.destroy_process_group()


def main() -> None:
    """Print our step over torch's and the efficiency of two ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_rank, (port,), nprocs=RANKS)
