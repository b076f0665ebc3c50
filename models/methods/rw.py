"""Late fusion in two stages: ratio uncertainty weighs while training, a regressor of correctness afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.data.noise.conditions import parse
from sweeper.models.errors import UserError, choose
from sweeper.models.maths.evidence import Rows, collect, emc, fuse, mean_weights, normalized, trust
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.modes import measuring
from sweeper.models.maths.presence import present_in
from sweeper.models.maths.regressors import Kind, Regressor
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, NonNegative, Positive, Share, ShareBelow1, ShareWithin
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output

PUBLISHED_NOISE = ("gaussian-5", "gaussian-10")


class Rw(Method):
    """Stage 1 is eruw; stage 2 fits a regressor of whether a modality is right to its logits, and weighs by it.

    The frozen logits of every modality, pooled, and whether their largest is the target's: one regressor for
    all modalities, by squared error. Prediction: w_m = R(l_m) / Σ_j R(l_j), row by row, fused Σ_m w_m l_m.

    `regressor` (regressors.py): lr, rf, svr on sorted logits or emlp on logits in class order; `order` sorted
    or raw departs from that. `fit_rows`: both are all rows of the training split, as published (train and
    validation); held_out are those that stage 1 set aside (`held_out_fraction`), on which it is not right as
    often as on rows it has learnt; train are those it was trained on. The validation split never enters, so
    that the choice of hyper-parameters by it stays honest. `least` bounds R from below, since a regressor can
    be negative (None: no bound, as published). `q_right` and `q_wrong` are stage 1's, see eruw.

    `match` says under which test conditions (data/noise) those rows are seen: clean; pooled, clean and under
    every one of `noise` together; matched, one regressor for each of them, of which that of the batch's own
    condition weighs, as the authors refit for each level of test noise. `noise` None are their two levels,
    gaussian-5 and gaussian-10. Matched knows at test time what pooled does not; clean has never seen noise.

    Source: Ge and Chen, two-stage dynamic fusion, INFORMS Journal on Computing (10.1287/ijoc.2023.0448), with
    the released code's settings. The default emlp is the best in 9 of 12 cells of table F.1; table F.3's RW is
    rf. Deviations: a row's absent modalities weigh 0 and are not fitted to; SVR takes `svr_rows` rows at most.
    Refuses one modality, and test conditions that matched was not fitted to. Raises UserError where there is no row
    to fit to.

    Logs `weight/<modality>`, those of stage 1. Output.extra, by row (B,): `weight/<modality>`,
    `uncertainty/<modality>` (1 - R after stage 2), `uncertainty`, the ratio score of the fused logits.
    """

    modalities = (2, None)
    fuses = False
    after_training = (
        "regressor",
        "fit_rows",
        "order",
        "match",
        "noise",
        "least",
        "emlp_width",
        "emlp_dropout",
        "emlp_lr",
        "emlp_weight_decay",
        "rf_leaves",
        "svr_c",
        "svr_rows",
    )

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        regressor: Kind = "emlp",
        fit_rows: Literal["both", "held_out", "train"] = "both",
        held_out_fraction: ShareBelow1 = 0.1,
        order: Literal["published", "sorted", "raw"] = "published",
        match: Literal["clean", "pooled", "matched"] = "clean",
        noise: list[str] | None = None,
        least: ShareWithin | None = 1e-3,
        emlp_width: Count = 128,
        emlp_dropout: ShareBelow1 = 0.3,
        emlp_lr: Positive = 1e-3,
        emlp_weight_decay: NonNegative = 0.1,
        rf_leaves: Count = 50,
        svr_c: Positive = 1.0,
        svr_rows: Count = 20_000,
        q_right: Share = 1.0,
        q_wrong: Share = 0.1,
    ) -> None:
        super().__init__(net, task)
        if fit_rows == "held_out" and not held_out_fraction:
            raise UserError(
                "method 'rw': fit_rows is held_out, but held_out_fraction is 0; give it a share above 0"
            )
        options = {
            "emlp": {
                "width": emlp_width,
                "dropout": emlp_dropout,
                "lr": emlp_lr,
                "weight_decay": emlp_weight_decay,
            },
            "lr": {},
            "rf": {"leaves": rf_leaves},
            "svr": {"c": svr_c, "rows": svr_rows},
        }[regressor]
        ordered = {"published": None, "sorted": True, "raw": False}[order]
        noisy = [] if match == "clean" else PUBLISHED_NOISE if noise is None else noise
        self.match, self.seen = match, ["clean", *(parse(name).label for name in noisy)]
        self.conditions = tuple(self.seen) if match == "matched" else None
        count = len(self.seen) if match == "matched" else 1
        self.regressors = nn.ModuleList(
            Regressor(regressor, ordered=ordered, **options) for _ in range(count)
        )
        self.fit_rows, self.held_out, self.least = fit_rows, held_out_fraction, least
        self.q = {"right": q_right, "wrong": q_wrong}
        self.heads = Heads(net.dims, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return features, the weighted sum of the heads' logits as fused (B, C), and the heads as read-out."""
        features = self.net.encode(batch)
        logits = self.heads(features)
        stacked, present = torch.stack(list(logits.values())), present_in(batch, logits)
        if self.regressors[0].state:
            right = self._regressor(batch.condition)(stacked).where(present, 0.0)
            fused, extra = fuse(logits, 1 - right, normalized(right, present, self.least))
        else:
            fused, extra = fuse(logits, *trust(stacked, present))
        return Output(features, fused, self.heads, extra)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return stage 1's asymmetric loss of every head and of the fused logits."""
        for name, value in mean_weights(output.extra).items():
            ctx.log(name, value)
        present = present_in(batch, output.unimodal)
        return emc(output.unimodal, output.fused, batch.target, present, **self.q)

    def on_phase_end(self, ctx: Context) -> None:
        """Fit the regressors; every rank computes them from the same rows."""
        sources = {"both": (ctx.train, ctx.held_out), "train": (ctx.train,), "held_out": (ctx.held_out,)}
        seen = [[c] for c in self.seen] if self.match == "matched" else [self.seen]
        for regressor, conditions in zip(self.regressors, seen, strict=True):
            rows = (source(condition) for condition in conditions for source in sources[self.fit_rows])
            self._regress(regressor, chain.from_iterable(rows), ctx.generator("regressor"))

    def _regressor(self, condition: str) -> Regressor:
        if self.match != "matched":
            return self.regressors[0]
        choose("condition", condition, self.seen, "method 'rw', whose regressors are matched to noise")
        return self.regressors[self.seen.index(condition)]

    def _regress(self, regressor: Regressor, batches: Iterable[Batch], generator: torch.Generator) -> None:
        """Fit a regressor to stage 1's logits on `batches`."""
        with measuring(self), parallel.replicated():
            rows = collect(self._logits, batches)
        # equal on all ranks but for rounding, which a tree's threshold would magnify
        logits = parallel.mean(rows.logits, 1)
        regressor.fit(Rows(logits, rows.target, rows.present), generator)

    def _logits(self, batch: Batch) -> dict[str, Tensor]:
        """Return each modality's logits by name in alphabetical order, so that the dataset's does not matter."""
        return self.heads(self.net.encode(batch, sorted(self.net.encoders)))
