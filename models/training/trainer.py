"""The one training loop.

    for phase in method.phases(epochs):
        freeze what phase.train does not name; optimiser; scheduler
        for epoch in phase:                                        # resume enters here
            method.on_epoch_start(ctx); learning rates times method.rates(ctx)
            for batch in method.epoch_rows(shuffled rows, ctx):    # several times, if that makes too few steps
                for objective in method.objectives(batch, ctx):    # lazy; uses method.forward and method.loss
                    zero_grad; backward; sum gradients over ranks  # or method.combine(gradients of each loss)
                    method.modulate(objective, ctx); clip; optimiser.step()
            metrics = evaluate(validation)                         # uses method.predict
            put the weights by if they are the best
            method.on_epoch_end(ctx, metrics); checkpoint; report  # limits, patience or a request to leave end it here
        restore the weights that phase.keep names; method.on_phase_end(ctx)

Test data do not exist here. Everything random comes from named streams of the run's seed, so a resumed run equals
an uninterrupted one, and run r of every method shares initial weights, order and held-out rows. With W ranks each
trains on its part of the same global batch (parallel.py states the contract). A layer's dropout is an exception, as
in data-parallel training everywhere, and so is batch norm unless it is synchronised (settings.py): its statistics are
those of a rank's own rows.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sweeper.models import parallel
from sweeper.models.data.augment.base import Augmenter
from sweeper.models.errors import Diverged, Left, choose
from sweeper.models.maths import metrics
from sweeper.models.method import Method
from sweeper.models.streams import stream_seed, torch_stream
from sweeper.models.training import checkpoint, optimizers
from sweeper.models.training.batch_norm import synchronise
from sweeper.models.training.epoch import shuffled, train_epoch
from sweeper.models.training.evaluation import all_scores, evaluate, quick_scores
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import Splits
from sweeper.models.training.steps import check_parts
from sweeper.models.values import Context, Phase

State = dict[str, Tensor]
Logged = defaultdict[str, list[float]]


@dataclass
class Progress:
    """Where a run stands; what a checkpoint holds beside the states of method, optimiser and scheduler."""

    phase: int = 0
    epoch: int = 0
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best: tuple[float, float] | None = None  # by the metric, then by the loss
    best_epoch: int = -1
    best_state: State | None = None
    found_state: State | None = None
    stopped: bool = False


@dataclass(frozen=True)
class Outcome:
    """What training gives: the curve {name: value} per epoch, the epoch kept and why, whether limits ended it early."""

    curve: list[dict[str, float]]
    best_epoch: int
    kept: str
    stopped: bool


def train(
    method: Method,
    splits: Splits,
    settings: Settings,
    seed: int,
    *,
    metric: str = "accuracy",
    augmenter: Augmenter | None = None,
    limits: dict[int, float] | None = None,
    resume: Path | None = None,
    save_every: float = 0.0,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    pulse: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train `method` in place and leave it with the weights its last phase keeps.

    `metric` (on validation) says which epoch is best. `limits` {epochs done: worst admissible value of metric}
    end the run early. `resume` is a checkpoint file, read if there and written at least `save_every` seconds
    apart. `on_epoch` gets every epoch's scores on rank 0. `pulse` is called at every step; where it says so at the
    end of an epoch, the state is saved and Left raised. Raises Diverged when a loss is not finite.
    """
    run = _Run(method, splits, settings, seed, metric, augmenter, limits or {})
    run.resume, run.save_every, run.on_epoch, run.pulse = resume, save_every, on_epoch, pulse
    return run.fit()


class _Run:
    resume: Path | None
    save_every: float
    on_epoch: Callable[[dict[str, float]], None] | None
    pulse: Callable[[], bool]

    def __init__(
        self,
        method: Method,
        splits: Splits,
        settings: Settings,
        seed: int,
        metric: str,
        augmenter: Augmenter | None,
        limits: dict[int, float],
    ) -> None:
        self.method, self.splits, self.settings, self.seed = method, splits, settings, seed
        self.metric, self.limits, self.augmenter = metric, limits, augmenter
        self.progress = Progress()
        self.saved_at = time.monotonic()
        self.trainable = {name: p.requires_grad for name, p in method.named_parameters()}
        self.optimizer: torch.optim.Optimizer | None = None
        steps = settings.epochs * -(-len(splits.train) // settings.batch_size)
        self.passes = max(1, -(-settings.least_steps // steps))  # over the rows, in an epoch
        self.momentum: dict[str, Any] = {}  # of the last phase that was no probe, by the parameter's name
        check_parts(method, settings)
        if settings.batch_norm == "synchronised":
            synchronise(method)

    def fit(self) -> Outcome:
        state = checkpoint.load(self.resume, self.splits.train.device) if self.resume else None
        if state:
            self.progress = Progress(**state["progress"])
            self.progress.stopped = self._beyond_limits()  # today's limits, not those it was saved under
            self.method.load_state_dict(state["method"])
        phases = self.method.phases(self.settings.epochs)
        if self.settings.keep:
            phases[-1] = replace(phases[-1], keep=self.settings.keep)
        for number in range(self.progress.phase, len(phases)):
            self.progress.phase = number
            self._fit_phase(phases[number], state)
            state = None
            if self.progress.stopped:
                break
        progress = self.progress
        return Outcome(progress.curve, progress.best_epoch, phases[progress.phase].keep, progress.stopped)

    def _fit_phase(self, phase: Phase, state: dict[str, Any] | None) -> None:
        method, progress = self.method, self.progress
        method.stage.fill_(progress.phase)
        for name, p in method.named_parameters():
            named = not phase.train or any(optimizers.begins(name, t) for t in phase.train)
            p.requires_grad_(self.trainable[name] and named)
        self.lr = self.settings.lr if phase.lr is None else phase.lr
        factors = method.rates(self._context(phase, defaultdict(list)))
        groups = optimizers.groups(method, self.trainable, self.settings, self.lr, factors)
        self.optimizer = optimizers.optimizer(groups, self.settings)
        if phase.optimizer == "kept":
            named = dict(method.named_parameters())
            self.optimizer.state.update({named[name]: own for name, own in self.momentum.items()})
        self.scheduler = optimizers.scheduler(self.optimizer, self.settings.schedule, phase.epochs)
        if state:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            self.momentum = state["momentum"]
        else:
            progress.epoch, progress.best, progress.best_state = 0, None, None
            progress.found_state = self._state() if phase.keep == "none" else None
        while not self._ended(phase):
            self._fit_epoch(phase)
            leaves = parallel.anyone(self.pulse())
            self._save(last=leaves or self._ended(phase))
            if leaves:
                raise Left(f"asked to leave after epoch {len(progress.curve)}")
        if phase.keep == "last":
            progress.best_epoch = len(progress.curve)
        elif phase.keep == "none" and progress.found_state is not None:
            own = {name for name, _ in method.named_buffers()}
            own |= {name for name, trains in self.trainable.items() if not trains}
            remembered = {name for name in own if not name.startswith("net.")}
            found = {name: value for name, value in progress.found_state.items() if name not in remembered}
            method.load_state_dict(self._state() | found)
        elif progress.best_state is not None:
            method.load_state_dict(progress.best_state)
        if phase.keep != "none":
            kept = self.optimizer.state
            self.momentum = {name: kept[p] for name, p in method.named_parameters() if p in kept}
        method.on_phase_end(self._context(phase, defaultdict(list)))

    def _fit_epoch(self, phase: Phase) -> None:
        method, progress = self.method, self.progress
        torch.manual_seed(stream_seed(self.seed, "torch", phase.name, progress.epoch))
        logged: Logged = defaultdict(list)
        _set_modes(method)
        method.on_epoch_start(self._context(phase, logged))
        number = len(progress.curve)
        try:
            passes = [self._pass(phase, n, logged) for n in range(self.passes)]
        except Diverged as error:
            raise Diverged(f"{error} in epoch {number + 1}") from None
        named = dict.fromkeys(name for own in passes for name in own)
        means = {name: float(np.mean([own[name] for own in passes if name in own])) for name in named}
        plateau = isinstance(self.scheduler, ReduceLROnPlateau)
        self.scheduler.step(*[sum(means.values())] * plateau)
        found = evaluate(method, self.splits.validation)
        scores, wanted = quick_scores(method.task, found), (self.metric, phase.metric or self.metric)
        if not {*wanted} <= scores.keys():
            scores = all_scores(method.task, found, wanted)
        for name in wanted:
            choose("metric", name, scores, "what this method is scored by")
        self._put_by((_worth(scores[wanted[1]], wanted[1]), -scores["loss"]))
        method.on_epoch_end(self._context(phase, logged), scores)
        progress.epoch += 1
        entry = {f"loss/{name}": value for name, value in means.items()}
        entry |= {name: float(np.mean(values)) for name, values in logged.items()}
        entry |= {f"validation/{name}": value for name, value in scores.items()}
        entry["epoch"] = number + 1
        progress.curve.append(entry)
        progress.stopped = self._beyond_limits()
        if self.on_epoch and parallel.rank() == 0:
            self.on_epoch(entry)

    def _pass(self, phase: Phase, number: int, logged: Logged) -> dict[str, float]:
        """Make pass `number` of an epoch over the rows and return the mean of each loss."""
        progress, train = self.progress, self.splits.train
        turn, ctx = len(progress.curve) * self.passes + number, self._context(phase, logged)
        rows = self.method.epoch_rows(shuffled(train, self.seed, turn), ctx)
        means = train_epoch(
            self.method,
            train,
            rows,
            self.optimizer,
            self.settings,
            span=(progress.epoch + number / self.passes, 1 / self.passes),
            factors=self.method.rates(ctx),
            change=lambda batch: self.augmenter(batch, turn) if self.augmenter else batch,
            contexts=lambda batch, part: self._context(phase, logged, batch, part),
            pulse=self.pulse,
        )
        progress.step += -(-len(rows.index) // self.settings.batch_size)
        return means

    def _ended(self, phase: Phase) -> bool:
        """Say whether a phase has had its epochs, or more than `patience` says since its best, or the run is over."""
        progress = self.progress
        waited = len(progress.curve) - progress.best_epoch if progress.epoch and phase.keep == "best" else 0
        tired = self.settings.patience is not None and waited >= self.settings.patience
        return progress.stopped or tired or progress.epoch >= phase.epochs

    def _put_by(self, value: tuple[float, float]) -> None:
        """Put the weights by if they are the best of the phase; on few rows many epochs are as accurate."""
        progress = self.progress
        if progress.best is None or value > progress.best:
            progress.best, progress.best_epoch = value, len(progress.curve) + 1
            progress.best_state = self._state()

    def _state(self) -> State:
        return {k: v.detach().clone() for k, v in self.method.state_dict().items()}

    def _beyond_limits(self) -> bool:
        """Say whether the last epoch's value is worse than the limit of its place."""
        curve = self.progress.curve
        limit = self.limits.get(len(curve))
        if limit is None:
            return False
        return _worth(curve[-1][f"validation/{self.metric}"], self.metric) < _worth(limit, self.metric)

    def _context(self, phase: Phase, logged: Logged, batch: int = 0, part: int = 0) -> Context:
        progress, size, seed, splits = self.progress, self.settings.batch_size, self.seed, self.splits
        place = (phase.name, progress.epoch, progress.step + batch, *[part] * (part > 0))
        return Context(
            phase=phase,
            epoch=progress.epoch,
            epochs=phase.epochs,
            step=progress.step + batch,
            train=lambda condition="clean": splits.train.under(condition).batches(size),
            held_out=lambda condition="clean": splits.held_out.under(condition).batches(size),
            rows=splits.rows,
            log=lambda name, value: logged[name].append(float(value)),
            generator=lambda *purpose: torch_stream(seed, *purpose, *place),
            lr=self.optimizer.param_groups[0]["lr"] if self.optimizer else self.settings.lr,
        )

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
                "momentum": self.momentum if self.progress.found_state is not None else {},
            },
        )
        self.saved_at = time.monotonic()


def _set_modes(method: Method) -> None:
    """Put the method in training mode, but for what holds nothing that trains now: its statistics stay as they are."""
    method.train()
    for module in method.modules():
        own = list(module.parameters())
        if own and not any(p.requires_grad for p in own):
            module.eval()


def _worth(value: float, metric: str) -> float:
    """Return a value of a metric such that larger is better."""
    return value if metrics.direction(metric) == "max" else -value
