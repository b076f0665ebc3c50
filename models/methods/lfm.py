"""LFM: classification and modality matching in a mixture whose weight is learned or follows a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.maths import matching, schedules
from sweeper.models.maths.eager import eager
from sweeper.models.maths.hypergradient import hypergradient
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.all import Classification, Task
from sweeper.models.values import Batch, Context, Metrics, Output, Phase


class Lfm(Method):
    """Minimise (1 - α) L_cls + α L_match; neutral: `schedule="constant", alpha=0`, which is joint training.

    Source: Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality
    Gap", NeurIPS 2024, equations 1-3 and Algorithm 1.

    `match`: infonce (paper), the symmetric contrastive loss of the features at temperature `tau`
    (unpublished; 0.07 is that of the first release), its `negatives` all other rows or without those of the
    same class; or posterior (released code), an alignment of the unimodal posteriors. Features of unequal
    widths are first projected to `projection_dim`, for this loss only (the paper does not say how).

    `schedule`: constant at `alpha`, stepwise from `start`, heuristic with `scale` (paper: 1), cubic, poly5
    (see schedules.py); `lag` 1 reads it an epoch late, as Algorithm 1 does, after a first epoch at `alpha0`.

    `schedule` learned: α starts at `alpha0`, takes a step of `eta_alpha` after each epoch down the
    hyper-gradient of L_cls on `held_out_fraction` of the training rows (paper: on all of them; released: on
    16), and is clipped to [`clip_low`, `clip_high`] (released: 0.05, 0.95). `solver`, `solver_lr`,
    `solver_steps`, `damping` and `normalize` say how it is approximated (see hypergradient.py). Normalised,
    `eta_alpha` is the most that α moves in an epoch; raw, as printed, its scale is that of squared
    gradients.

    Deviations: the inner gradients are taken on the epoch's first training batch at the epoch's last
    weights (solver released: on the first held-out batch, as the code does). If the weights kept are of an
    epoch with scheduled α = 1, the head has had no labels and is fitted to the frozen features when the phase
    ends; the paper reports such cells without saying how. Early stopping judges such epochs by the untrained
    head. Tasks other than classification, which it does not report, take L_cls for their loss and match
    infonce alone. The released code also doubles both losses, which is double the learning rate, and averages
    two heads, which is fusion `mean`.
    """

    tasks = ("classification", "multilabel", "regression")
    modalities = (2, None)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        match: Literal["infonce", "posterior"] = "infonce",
        tau: float = 0.07,
        negatives: Literal["all", "exclude_same_label"] = "all",
        projection_dim: int = 256,
        schedule: Literal["learned", "constant", "stepwise", "heuristic", "cubic", "poly5"] = "learned",
        alpha: float = 0.5,
        start: float = 0.95,
        scale: float = 1.0,
        lag: Literal[0, 1] = 0,
        alpha0: float = 0.95,
        eta_alpha: float = 0.2,
        held_out_fraction: float = 0.05,
        solver: Literal["identity", "neumann", "cg", "finite_difference", "released"] = "identity",
        solver_lr: float = 0.1,
        solver_steps: int = 10,
        damping: float = 0.1,
        normalize: bool = True,
        clip_low: float = 0.0,
        clip_high: float = 1.0,
    ) -> None:
        super().__init__(net, task)
        shares = {"alpha": alpha, "start": start, "alpha0": alpha0, "clip_low": clip_low}
        for name, value in shares.items():
            _require(0 <= value <= 1, name, value, "0 to 1")
        _require(tau > 0, "tau", tau, "above 0")
        _require(clip_low <= clip_high <= 1, "clip_high", clip_high, f"{clip_low} (clip_low) to 1")
        if not isinstance(task, Classification):
            _require(match == "infonce", "match", match, "infonce, since posteriors need one class per row")
            _require(negatives == "all", "negatives", negatives, "all, since it needs one class per row")
        self.match, self.tau, self.negatives = match, tau, negatives
        self.curve = {
            "learned": None,
            "constant": partial(schedules.constant, value=alpha),
            "stepwise": partial(schedules.stepwise, start=start),
            "heuristic": partial(schedules.heuristic, scale=scale),
            "cubic": schedules.cubic,
            "poly5": schedules.poly5,
        }[schedule]
        self.lag, self.alpha0 = lag, alpha0
        self.never_labelled = schedule == "constant" and alpha == 1
        self.eta_alpha, self.clip = eta_alpha, (clip_low, clip_high)
        options = {"lr": solver_lr, "steps": solver_steps, "damping": damping, "normalize": normalize}
        self.solve = partial(hypergradient, solver=solver, **options)
        self.inner_held_out = solver == "released"
        if self.curve is None:
            _require(0 < held_out_fraction < 1, "held_out_fraction", held_out_fraction, "above 0 and below 1")
            self.held_out = held_out_fraction
        self.register_buffer("alpha", torch.tensor(alpha0))
        dims = net.fusion.dims
        if match == "infonce" and len(set(dims.values())) > 1:
            self.project = nn.ModuleDict({m: nn.Linear(d, projection_dim) for m, d in dims.items()})
        else:
            self.project = nn.ModuleDict({m: nn.Identity() for m in dims})
        self.inner: Batch | None = None

    def phases(self, epochs: int) -> list[Phase]:
        """Return one phase; where no epoch trains the head, validation cannot choose and the last is kept."""
        return [Phase("train", epochs, keep="last" if self.never_labelled else "best")]

    def on_epoch_start(self, ctx: Context) -> None:
        """Set a scheduled α."""
        self.inner = None
        if self.curve is not None:
            late = ctx.epoch - self.lag
            self.alpha.fill_(self.alpha0 if late < 0 else self.curve(late, ctx.epochs))

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the two weighted losses; at α = 0 the classification loss alone."""
        if self.curve is None and self.inner is None:
            self.inner = _whole(batch)
        alpha = float(self.alpha)
        ctx.log("alpha", alpha)
        classification = self.task.loss(output.fused, batch.target)
        ctx.log("classification", classification.item())
        if alpha == 0:
            return {"classification": classification}
        match = self.matching(output, batch)
        ctx.log("matching", match.item())
        return {"classification": (1 - alpha) * classification, "matching": alpha * match}

    def matching(self, output: Output, batch: Batch) -> Tensor:
        """Return L_match, the mean over all pairs of modalities."""
        if self.match == "posterior":
            return matching.over_pairs(output.unimodal, batch.present, matching.posterior_alignment)
        labels = batch.target if self.negatives == "exclude_same_label" else None
        features = {m: self.project[m](z) for m, z in output.features.items()}
        contrast = partial(matching.infonce, tau=self.tau, labels=labels)
        return matching.over_pairs(features, batch.present, contrast)

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """Take one step of a learned α; every rank computes it from the same rows."""
        if self.curve is not None:
            return
        parameters = [p for p in self.parameters() if p.requires_grad]
        with _frozen_statistics(self), parallel.replicated():
            batch = next(iter(ctx.held_out())) if self.inner_held_out else self.inner
            inner, outer = partial(self._inner_losses, batch), partial(self._outer_losses, ctx)
            value = self.solve(inner, outer, parameters, float(self.alpha))
        value = parallel.mean(value, 1)  # equal but for rounding
        ctx.log("hypergradient", value.item())
        self.alpha.sub_(self.eta_alpha * value).clamp_(*self.clip)

    def on_phase_end(self, ctx: Context) -> None:
        """Fit the head to frozen features if the kept weights are of an epoch that showed it no labels."""
        if self.curve is not None and self.alpha == 1:
            with _frozen_statistics(self), parallel.replicated():
                self._fit_head(ctx)

    def _inner_losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        output = self(batch)
        return self.task.loss(output.fused, batch.target), self.matching(output, batch)

    def _outer_losses(self, ctx: Context) -> Iterator[tuple[Tensor, int]]:
        for batch in ctx.held_out():
            yield self.task.loss(self(batch).fused, batch.target), len(batch)

    def _fit_head(self, ctx: Context, steps: int = 100) -> None:
        """Fit the fusion's parameters to all training rows, with the penalty ‖w‖²/2N, by L-BFGS."""
        with torch.no_grad():
            rows = [(self(batch).features, batch.target) for batch in ctx.train()]
        target = torch.cat([y for _, y in rows])
        features = {m: torch.cat([z[m] for z, _ in rows]) for m in rows[0][0]}
        head = list(self.net.fusion.parameters())
        optimizer = eager(torch.optim.LBFGS)(head, max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            penalty = sum(p.square().sum() for p in head) / (2 * len(target))
            loss = self.task.loss(self.net.fusion(features), target) + penalty
            loss.backward()
            return loss

        optimizer.step(closure)
        optimizer.zero_grad()


def _require(ok: bool, name: str, value: float | str, admissible: str) -> None:
    if not ok:
        raise UserError(f"method 'lfm': {name} is {value}; admissible: {admissible}")


def _whole(batch: Batch) -> Batch:
    """Return the rows of all ranks' parts of a batch."""
    inputs = {m: parallel.gather(x) for m, x in batch.inputs.items()}
    present = {m: parallel.gather(p.byte()).bool() for m, p in batch.present.items()}
    return Batch(inputs, parallel.gather(batch.target), parallel.gather(batch.index), present)


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode meanwhile; recurrent layers, whose gradients cuDNN then refuses, drop nothing."""
    modes = {m: m.training for m in module.modules()}
    dropouts = {m: m.dropout for m in modes if isinstance(m, nn.RNNBase)}
    for m in modes:
        m.training = m in dropouts
    for m in dropouts:
        m.dropout = 0.0
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode
        for m, dropout in dropouts.items():
            m.dropout = dropout
