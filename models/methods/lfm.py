"""LFM: classification and modality matching in a mixture whose weight is learned or follows a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.maths import matching, schedules
from sweeper.models.maths.eager import eager
from sweeper.models.maths.hypergradient import Solver, hypergradient
from sweeper.models.maths.modes import measuring
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, NonNegative, Positive, Share, ShareWithin, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.tasks.classification import Classification
from sweeper.models.values import Batch, Context, Metrics, Output, Phase

REFERENCE_EPOCHS = 200  # of the released program, for which `eta_alpha` is a step per epoch


class Lfm(Method):
    """Minimise (1 - α) L_cls + α L_match; neutral: `schedule="constant", alpha=0`, which is joint training.

    Source: Yang, Wan, Jiang, Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality Gap",
    NeurIPS 2024, equations 1-3 and Algorithm 1; docs/methods/lfm.md says how it was read.

    `match`: infonce (paper), the symmetric contrastive loss of the features at temperature `tau` (unpublished; 0.07
    is that of the first release), its `negatives` all other rows or without those of the same class; or posterior
    (released code), an alignment of the unimodal posteriors. Features of unequal widths are first projected to
    `projection_dim`, for this loss only (the paper does not say how).

    `schedule`: constant at `alpha`, stepwise from `start`, heuristic with `scale` (paper: 1), cubic, poly5
    (see schedules.py); `lag` 1 reads it an epoch late, as Algorithm 1 does, after a first epoch at `alpha0`. What is
    kept where α changes by schedule is the last epoch, where the schedule leads; elsewhere the best.

    `schedule` learned: α starts at `alpha0`, takes a step after each epoch down the hyper-gradient of L_cls on
    `held_out_fraction` of the training rows (paper: on all of them; released: on the first 8 of 16), and is clipped
    to [`clip_low`, `clip_high`] (released: 0.05, 0.95). The step is `eta_alpha` · 200 / epochs, so that α over the
    share of training done is alike however long that is (released: a step per epoch, halved every 20 epochs).
    `solver`, `solver_lr`, `solver_steps` and `damping` say how the hyper-gradient is approximated (hypergradient.py).

    Deviations: by default the hyper-gradient is normalised, so that `eta_alpha` is the most that α moves in one of
    200 epochs (`normalize` false: as printed, its scale is that of squared gradients), and its solver takes H for the
    identity; the inner gradients are taken on the epoch's first training batch at the epoch's last weights (solver
    released: on the first held-out batch, as the code does). A head that no epoch up to the one kept has shown labels
    (α = 1 throughout) is fitted to the frozen features in the end; the paper reports such cells without saying how.
    Tasks other than classification, which it does not report, take L_cls for their loss and match infonce alone. The
    released code also doubles both losses, which is double the learning rate, and averages two heads, which is fusion
    `mean`.
    """

    tasks = ("classification", "multilabel", "regression")
    modalities = (2, None)
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        match: Literal["infonce", "posterior"] = "infonce",
        tau: Positive = 0.07,
        negatives: Literal["all", "exclude_same_label"] = "all",
        projection_dim: Count = 256,
        schedule: Literal["learned", "constant", "stepwise", "heuristic", "cubic", "poly5"] = "learned",
        alpha: Share = 0.5,
        start: Share = 0.95,
        scale: Positive = 1.0,
        lag: Literal[0, 1] = 0,
        alpha0: Share = 0.95,
        eta_alpha: NonNegative = 0.03,
        held_out_fraction: ShareWithin = 0.05,
        solver: Solver = "identity",
        solver_lr: Positive = 0.1,
        solver_steps: Whole = 10,
        damping: NonNegative = 0.1,
        normalize: bool = True,
        clip_low: Share = 0.0,
        clip_high: Share = 1.0,
    ) -> None:
        super().__init__(net, task)
        if clip_low > clip_high:
            raise UserError(f"method 'lfm': clip_low {clip_low} lies above clip_high {clip_high}")
        if not isinstance(task, Classification) and (match, negatives) != ("infonce", "all"):
            raise UserError(
                f"method 'lfm': match {match} with negatives {negatives} needs one class per row; admissible:"
                " infonce with all"
            )
        self.match, self.tau, self.negatives = match, tau, negatives
        self.curve = {
            "learned": None,
            "constant": partial(schedules.constant, value=alpha),
            "stepwise": partial(schedules.stepwise, start=start),
            "heuristic": partial(schedules.heuristic, scale=scale),
            "cubic": schedules.cubic,
            "poly5": schedules.poly5,
        }[schedule]
        self.scheduled = schedule not in ("learned", "constant") or (schedule, alpha) == ("constant", 1)
        self.lag, self.alpha0 = lag, alpha0
        self.eta_alpha, self.clip = eta_alpha, (clip_low, clip_high)
        options = {"lr": solver_lr, "steps": solver_steps, "damping": damping, "normalize": normalize}
        self.solve = partial(hypergradient, solver=solver, **options)
        self.inner_held_out = solver == "released"
        if self.curve is None:
            self.held_out = held_out_fraction
        self.register_buffer("alpha", torch.tensor(alpha0))
        self.register_buffer("labelled", torch.tensor(False))
        if match == "infonce" and len(set(net.dims.values())) > 1:
            self.project = nn.ModuleDict({m: nn.Linear(d, projection_dim) for m, d in net.dims.items()})
        else:
            self.project = nn.ModuleDict({m: nn.Identity() for m in net.dims})
        self.inner: Tensor | None = None

    def phases(self, epochs: int) -> list[Phase]:
        """Return one phase; a schedule is kept at its end, and so is a head that validation cannot judge."""
        return [Phase("train", epochs, keep="last" if self.scheduled else "best")]

    def on_epoch_start(self, ctx: Context) -> None:
        """Set a scheduled α."""
        self.inner = None
        if self.curve is not None:
            late = ctx.epoch - self.lag
            self.alpha.fill_(self.alpha0 if late < 0 else self.curve(late, ctx.epochs))

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the two weighted losses; at α = 0 the classification loss alone."""
        if self.curve is None and self.inner is None:
            self.inner = parallel.gather(batch.index)
        alpha = float(self.alpha)
        if alpha < 1:
            self.labelled.fill_(True)
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
        with measuring(self), parallel.replicated():
            batch = next(iter(ctx.held_out())) if self.inner_held_out else ctx.rows(self.inner)
            inner, outer = partial(self._inner_losses, batch), partial(self._outer_losses, ctx)
            value = self.solve(inner, outer, parameters, float(self.alpha))
        value = parallel.mean(value, 1)  # equal but for rounding
        ctx.log("hypergradient", value.item())
        step = self.eta_alpha * REFERENCE_EPOCHS / ctx.epochs
        self.alpha.sub_(step * value).clamp_(*self.clip)

    def on_phase_end(self, ctx: Context) -> None:
        """Fit the head to frozen features if it has seen no labels."""
        if not self.labelled:
            with measuring(self), parallel.replicated():
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
            rows = [(self.net.encode(batch), batch.target) for batch in ctx.train()]
        target = torch.cat([y for _, y in rows])
        features = {m: torch.cat([z[m] for z, _ in rows]) for m in rows[0][0]}
        head = list(self.net.fusion.parameters())
        optimizer = eager(torch.optim.LBFGS)(head, max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            penalty = sum(p.square().sum() for p in head) / (2 * len(target))
            loss = self.task.loss(self.net.fuse(features), target) + penalty
            loss.backward()
            return loss

        optimizer.step(closure)
        optimizer.zero_grad()
