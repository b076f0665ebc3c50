"""One epoch of training: its rows in batches, a step for each objective, learning rates, mean losses."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from sweeper.models import parallel
from sweeper.models.data.feed import Feed
from sweeper.models.errors import Diverged
from sweeper.models.method import Method
from sweeper.models.streams import numpy_stream
from sweeper.models.training.optimizers import warmed
from sweeper.models.training.settings import Settings
from sweeper.models.training.steps import steps
from sweeper.models.values import Batch, Context, EpochRows

Contexts = Callable[[int, int], Context]  # by the number of the batch and of its part


def shuffled(feed: Feed, seed: int, epoch: int) -> Tensor:
    """Return the index of every row in random order.

    Rows are sorted by a random number of their own, so that whatever is held out leaves the order of the others.
    """
    numbers = numpy_stream(seed, "order", epoch).random(feed.rows.max() + 1)
    return torch.as_tensor(feed.rows[numbers[feed.rows].argsort()], device=feed.device)


def train_epoch(
    method: Method,
    feed: Feed,
    rows: EpochRows,
    optimizer: Optimizer,
    settings: Settings,
    *,
    span: tuple[float, float],
    factors: Mapping[str, float],
    change: Callable[[Batch], Batch],
    contexts: Contexts,
    pulse: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Make the steps over some rows and return the mean of each loss; raise Diverged if one is not finite.

    `span` is (epochs of the phase before them, epochs that they are); `factors` are those that parameter groups follow,
    `change` is what augmentation does to a batch; `pulse` is called before every step.
    """
    losses: defaultdict[str, list[tuple[Tensor, float]]] = defaultdict(list)
    scheduled, rows_seen = [group["lr"] for group in optimizer.param_groups], 0.0
    places = torch.arange(len(rows.index), device=feed.device).split(settings.batch_size)
    batches = _batches(feed, rows, places, settings.accumulate, change)
    for number, (place, parts) in enumerate(zip(places, batches, strict=True)):
        pulse()
        warm = warmed(span[0] + span[1] * (number + 1) / len(places), settings.warmup)
        for group, lr in zip(optimizer.param_groups, scheduled, strict=True):
            group["lr"] = lr * warm * factors.get(group["factor"], 1.0)
        size, here = len(place), [len(batch) for batch in parts]
        everyones = size < parallel.world()
        copies = parallel.world() if everyones else 1
        with parallel.replicated() if everyones else nullcontext():
            own = [(batch, here[n] / size, contexts(number, n)) for n, batch in enumerate(parts)]
            for objective, counted in steps(method, own, optimizer, settings, _autocast(settings, feed)):
                for name, loss in objective.losses.items():
                    losses[name].append((loss.detach(), counted / copies))
        rows_seen += sum(here) / copies
    for group, lr in zip(optimizer.param_groups, scheduled, strict=True):
        group["lr"] = lr
    return _means(losses, rows_seen)


def _batches(
    feed: Feed, rows: EpochRows, places: Sequence[Tensor], parts: int, change: Callable[[Batch], Batch]
) -> Iterator[list[Batch]]:
    """Yield this rank's rows of each batch, in the parts that go through the net one after another."""
    position, index = np.empty(feed.rows.max() + 1, np.int64), rows.index.cpu().numpy()
    position[feed.rows] = np.arange(len(feed))
    if not len(index):
        raise ValueError("an epoch needs rows to train on")
    if not np.isin(index, feed.rows).all():
        raise ValueError("rows are to be trained on that are no training rows, or are held out")
    positions = torch.as_tensor(position[index], device=feed.device)
    weight = None if rows.weight is None else rows.weight.to(feed.device, feed.dtype)
    present = {m: there.to(feed.device) for m, there in rows.present.items()}

    def made(own: Tensor) -> Batch:
        batch = feed.batch(positions.index_select(0, own))
        if weight is not None:
            batch = replace(batch, weight=weight[own])
        for m, there in present.items():
            left = there[own] & batch.present.get(m, there[own])
            batch = replace(batch, present={**batch.present, m: left})
        return change(batch)

    shares = [_share(place, parts) for place in places]
    wholes = (own[0] if len(own) == 1 else torch.cat(own) for own in shares)
    for batch, own in zip(feed.stream(wholes, made), shares, strict=True):
        yield [batch] if len(own) == 1 else batch.split([len(part) for part in own])


def _share(place: Tensor, parts: int) -> list[Tensor]:
    """Return this rank's share of each of a batch's parts; a batch too small to share is everyone's.

    Every rank has a row of each part, and together they have the rows that one rank would have in it.
    """
    world = parallel.world() if len(place) >= parallel.world() else 1
    if world == parts == 1:
        return [place]
    chunks = place.tensor_split(min(parts, len(place) // world))
    return [chunk.tensor_split(world)[parallel.rank() if world > 1 else 0] for chunk in chunks]


def _means(losses: Mapping[str, list[tuple[Tensor, float]]], rows: float) -> dict[str, float]:
    means = {}
    for name, parts in losses.items():
        values, sizes = zip(*parts, strict=True)
        values = torch.stack(values)
        total = values @ torch.tensor(sizes, dtype=values.dtype, device=values.device)
        means[name] = float(parallel.mean(total / rows, rows))
    for name, value in means.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} became {value}")
    return means


def _autocast(settings: Settings, feed: Feed) -> AbstractContextManager:
    if settings.precision == "fp32":
        return nullcontext()
    return torch.autocast(feed.device.type, dtype=torch.bfloat16)
