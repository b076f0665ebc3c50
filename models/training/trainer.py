"""The one training loop.

    for phase in method.phases(epochs):
        freeze what phase.train does not name; optimiser from method.param_groups(lr); scheduler
        for epoch in phase:                                        # resume enters here
            method.on_epoch_start(ctx)
            for batch in shuffled(train):
                for objective in method.objectives(batch, ctx):    # lazy; uses method.forward and method.loss
                    zero_grad; method.backward(objective); sum gradients over ranks
                    method.modulate(objective, ctx); clip; optimiser.step()
            metrics = evaluate(validation)                         # uses method.predict
            method.on_epoch_end(ctx, metrics); checkpoint; report (the limits may end the run here)
        restore the weights that phase.keep names; method.on_phase_end(ctx)

Test data do not exist here. Everything random comes from named streams of the run's seed, so a resumed run equals
an uninterrupted one, and run r of every method shares initial weights, order and held-out rows. With W ranks each
trains on its part of the same global batch (parallel.py states the contract). Batch norm is an exception, its
statistics are those of a rank's own rows, and so is a layer's dropout, as in data-parallel training everywhere.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sweeper.models import parallel
from sweeper.models.data.dataset import Dataset, carve
from sweeper.models.data.feed import Feed
from sweeper.models.errors import Diverged, choose
from sweeper.models.maths import metrics
from sweeper.models.method import Method
from sweeper.models.streams import numpy_stream, stream_seed, torch_stream
from sweeper.models.training import checkpoint, optimizers
from sweeper.models.training.evaluation import all_scores, evaluate, quick_scores
from sweeper.models.training.settings import Settings
from sweeper.models.values import Batch, Context, Objective, Phase

HELD_OUT_SEED_PURPOSE = "held_out"


@dataclass(frozen=True)
class Splits:
    """The rows a run may learn from: train, the part of train a method holds out, validation. There is no test."""

    train: Feed
    held_out: Feed
    validation: Feed


@dataclass
class Progress:
    """Where a run stands; what a checkpoint holds beside the states of method, optimiser and scheduler."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = -1
    best_state: dict[str, Tensor] | None = None
    stopped: bool = False


@dataclass(frozen=True)
class Outcome:
    """What training gives: the curve {name: value} per epoch, the epoch kept, whether limits ended it early."""

    curve: list[dict[str, float]]
    best_epoch: int
    stopped: bool


def splits_of(dataset: Dataset, method: Method, seed: int, device: torch.device | str = "cpu") -> Splits:
    """Return the feeds of a run, with `method.held_out` of the training rows set aside, stratified by class."""
    dtype = next(method.parameters()).dtype
    rows, held = dataset.rows["train"], dataset.rows["train"][:0]
    if method.held_out:
        rows, held = carve(rows, dataset.target, method.held_out, seed, HELD_OUT_SEED_PURPOSE)
    return Splits(*(Feed(dataset, r, device, dtype) for r in (rows, held, dataset.rows["validation"])))


def train(
    method: Method,
    splits: Splits,
    settings: Settings,
    seed: int,
    *,
    metric: str = "accuracy",
    limits: dict[int, float] | None = None,
    resume: Path | None = None,
    save_every: float = 0.0,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train `method` in place and leave it with the weights its last phase keeps.

    `metric` (on validation) says which epoch is best. `limits` {epochs done: worst admissible value of metric}
    end the run early. `resume` is a checkpoint file, read if there and written at least `save_every` seconds
    apart. `on_epoch` gets every epoch's scores on rank 0. Raises Diverged when a loss is not finite.
    """
    run = _Run(method, splits, settings, seed, metric, limits or {}, resume, save_every, on_epoch)
    return run.fit()


class _Run:
    def __init__(
        self,
        method: Method,
        splits: Splits,
        settings: Settings,
        seed: int,
        metric: str,
        limits: dict[int, float],
        resume: Path | None,
        save_every: float,
        on_epoch: Callable[[dict[str, float]], None] | None,
    ) -> None:
        self.method, self.splits, self.settings, self.seed = method, splits, settings, seed
        self.metric, self.sign = metric, 1.0 if metrics.direction(metric) == "max" else -1.0
        self.limits, self.resume, self.save_every, self.on_epoch = limits, resume, save_every, on_epoch
        self.progress = Progress()
        self.saved_at = time.monotonic()
        self.trainable = {name: p.requires_grad for name, p in method.named_parameters()}

    def fit(self) -> Outcome:
        state = checkpoint.load(self.resume, self.splits.train.device) if self.resume else None
        if state:
            self.progress = Progress(**state["progress"])
            self.progress.stopped = self._beyond_limits()  # today's limits, not those it was saved under
            self.method.load_state_dict(state["method"])
        phases = self.method.phases(self.settings.epochs)
        for number in range(self.progress.phase, len(phases)):
            self.progress.phase = number
            self._fit_phase(phases[number], state)
            state = None
            if self.progress.stopped:
                break
        return Outcome(self.progress.curve, self.progress.best_epoch, self.progress.stopped)

    def _fit_phase(self, phase: Phase, state: dict[str, Any] | None) -> None:
        progress = self.progress
        for name, p in self.method.named_parameters():
            named = not phase.train or any(name == t or name.startswith(f"{t}.") for t in phase.train)
            p.requires_grad_(self.trainable[name] and named)
        self.optimizer = optimizers.optimizer(self.method.param_groups(self.settings.lr), self.settings)
        self.scheduler = optimizers.scheduler(self.optimizer, self.settings.schedule, phase.epochs)
        if state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
        else:
            progress.epoch, progress.best, progress.best_state = 0, None, None
        while progress.epoch < phase.epochs and not progress.stopped:
            self._fit_epoch(phase)
            self._save(last=progress.stopped or progress.epoch == phase.epochs)
        if phase.keep == "last":
            progress.best_epoch = len(progress.curve)
        elif progress.best_state is not None:
            self.method.load_state_dict(progress.best_state)
        self.method.on_phase_end(self._context(phase, defaultdict(list)))

    def _fit_epoch(self, phase: Phase) -> None:
        method, progress = self.method, self.progress
        torch.manual_seed(stream_seed(self.seed, "torch", phase.name, progress.epoch))
        logged: defaultdict[str, list[float]] = defaultdict(list)
        losses: defaultdict[str, list[tuple[Tensor, float]]] = defaultdict(list)
        rows_seen, autocast = 0.0, self._autocast()
        method.train()
        method.on_epoch_start(self._context(phase, logged))
        for batch, share in self._shuffled():
            everyones = share == 1.0 and parallel.world() > 1
            counted = len(batch) / parallel.world() if everyones else len(batch)
            with parallel.replicated() if everyones else nullcontext():
                ctx = self._context(phase, logged)
                objectives = iter(method.objectives(batch, ctx))
                while True:
                    with autocast:
                        objective = next(objectives, None)
                    if objective is None:
                        break
                    self._step(objective, share, ctx)
                    for name, loss in objective.losses.items():
                        losses[name].append((loss.detach(), counted))
            rows_seen += counted
            progress.step += 1
        means = self._mean_losses(losses, rows_seen)
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(sum(means.values()))
        else:
            self.scheduler.step()
        found = evaluate(method, self.splits.validation)
        scores = quick_scores(method.task, found)
        if self.metric not in scores:
            scores = all_scores(method.task, found)
        method.on_epoch_end(self._context(phase, logged), scores)
        progress.epoch += 1
        entry = {f"loss/{name}": value for name, value in means.items()}
        entry |= {name: float(np.mean(values)) for name, values in logged.items()}
        entry |= {f"validation/{name}": value for name, value in scores.items()}
        entry["epoch"] = len(progress.curve) + 1
        progress.curve.append(entry)
        value = scores[choose("metric", self.metric, scores, "what this method is scored by")]
        if progress.best is None or self.sign * value > self.sign * progress.best:
            progress.best, progress.best_epoch = value, len(progress.curve)
            progress.best_state = {k: v.detach().clone() for k, v in method.state_dict().items()}
        progress.stopped = self._beyond_limits()
        if self.on_epoch and parallel.rank() == 0:
            self.on_epoch(entry)

    def _beyond_limits(self) -> bool:
        """Say whether the last epoch's value is worse than the limit of its place."""
        curve = self.progress.curve
        limit = self.limits.get(len(curve))
        return limit is not None and self.sign * curve[-1][f"validation/{self.metric}"] < self.sign * limit

    def _step(self, objective: Objective, share: float, ctx: Context) -> None:
        method = self.method
        self.optimizer.zero_grad(set_to_none=True)
        method.backward(objective if share == 1.0 else objective.scaled(share))
        parallel.sum_gradients(method.parameters())
        method.modulate(objective, ctx)
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(method.parameters(), self.settings.clip)
        self.optimizer.step()

    def _shuffled(self) -> Iterator[tuple[Batch, float]]:
        """Yield (this rank's rows, their share of the global batch); a batch too small to share is everyone's.

        Rows are sorted by a random number of their own, so that whatever is held out leaves the order of the others.
        """
        feed, world, rank = self.splits.train, parallel.world(), parallel.rank()
        numbers = numpy_stream(self.seed, "order", len(self.progress.curve)).random(feed.rows.max() + 1)
        positions = torch.as_tensor(numbers[feed.rows].argsort(), device=feed.device)
        for part in positions.split(self.settings.batch_size):
            if world == 1 or len(part) < world:
                yield feed.batch(part), 1.0
            else:
                own = part.tensor_split(world)[rank]
                yield feed.batch(own), len(own) / len(part)

    def _mean_losses(self, losses: dict[str, list[tuple[Tensor, float]]], rows: float) -> dict[str, float]:
        means = {}
        for name, parts in losses.items():
            values, sizes = zip(*parts, strict=True)
            values = torch.stack(values)
            total = values @ torch.tensor(sizes, dtype=values.dtype, device=values.device)
            means[name] = float(parallel.mean(total / rows, rows))
        for name, value in means.items():
            if not math.isfinite(value):
                raise Diverged(f"{name} became {value} in epoch {len(self.progress.curve) + 1}")
        return means

    def _context(self, phase: Phase, logged: defaultdict[str, list[float]]) -> Context:
        progress, size, seed = self.progress, self.settings.batch_size, self.seed
        place = (phase.name, progress.epoch, progress.step)
        return Context(
            phase=phase,
            epoch=progress.epoch,
            epochs=phase.epochs,
            step=progress.step,
            train=lambda condition="clean": self.splits.train.under(condition).batches(size),
            held_out=lambda condition="clean": self.splits.held_out.under(condition).batches(size),
            log=lambda name, value: logged[name].append(float(value)),
            generator=lambda *purpose: torch_stream(seed, *purpose, *place),
            lr=self.optimizer.param_groups[0]["lr"],
        )

    def _autocast(self) -> AbstractContextManager:
        if self.settings.precision == "fp32":
            return nullcontext()
        return torch.autocast(torch.device(self.splits.train.device).type, dtype=torch.bfloat16)

    def _save(self, *, last: bool) -> None:
        due = last or time.monotonic() - self.saved_at >= self.save_every
        if not self.resume or not due or parallel.rank():
            return
        checkpoint.save(
            self.resume,
            {
                "progress": vars(self.progress),
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
            },
        )
        self.saved_at = time.monotonic()
