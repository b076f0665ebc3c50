"""UDML: each row's features weighted, the less the noisier they are and the more the prediction depends on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.maths import gaussian
from sweeper.models.maths.presence import Features, kept_only, per_row, present_in, times
from sweeper.models.maths.running import RunningMean
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, NonNegative, Positive, Share, ShareBelow1
from sweeper.models.tasks.base import Task
from sweeper.models.tasks.classification import Classification
from sweeper.models.values import Batch, Context, Metrics, Objective, Output, Phase

CLEAN, WARMUP, NOISY = range(3)  # the stages, by the number of their phase
LEAST_DEPENDENCY = 1e-3
LEAST_SPREAD = 0.1
LARGEST_EXPONENT = 6.0


class Udml(Method):
    """Fuse M w_m z_m with w_m ∝ 1 / (ρ_m α_m): ρ grows with m's noise in a row, α with how much hangs on m.

    Source: Wei et al., "Unbiased Dynamic Multimodal Fusion", equations 3 and 7-15; it stands before any fusion.
    z_m is drawn from N(μ_m, Σ_m) in training and is μ_m in evaluation, both linear in the encoder's features.
    `uncertainty` estimated: a perceptron E_m with `hidden` units reads Σ_m and learns the level σ of noise that was
    added to the input (L_est); ρ = (`floor` + E)². `dependency`: α = M d_m / Σ d, d_m the 1-norm of what leaving m out
    changes in the logits. Its `scope` is running: a mean over the rows and steps so far, fading by `momentum` a step,
    of the weighted features; or sample: the row's own, before it is weighted.

    Phases: clean, a share `split` of the epochs: equal weights, L = L_task + `gamma` Σ_m L(logits of m alone).
    Warm-up, a share `warmup` of the others: noise, weights by α, L + `lambda_est` L_est. Noisy: weights by ρ too.
    Noise: with probability `p_clean` a row is clean in all modalities, else each has a level σ from 0 to `levels` and
    Gaussian noise of std step · σ in standardised units, by kind of input (`vector_step`, …; of images step ·
    `levels` · (σ / `levels`)^`image_power`); tokens are taken away with probability σ / 10. `beta` weighs
    KL(z_m ‖ N(0, (1 + σ) I)), which is not in the paper.

    Ablations (Table 4): `uncertainty` variance (ρ is Σ_m's mean), energy (1 / Σ exp of m's logits, for
    classification) or none (ρ = 1); `dependency` false: α = 1; `progression` false: all from the first epoch. Neutral:
    `uncertainty` none, `dependency` and `progression` false, `gamma` 0, `p_clean` 1 is joint training to the bit.

    Deviations: ρ = E² as printed is `floor` towards 0; L_est is in units of `levels`, E reads standardised log Σ,
    L_task does not train E; absent modalities weigh nothing. `variant` released reads all of these as the published
    program does; docs/methods/udml.md has both side by side, and the preset `released` its settings.

    Not for data where one modality carries nearly all: 1 / α takes weight from it, and the fused output gets worse than
    that modality alone, 84 against 91 % (docs/results.md, `udml_changes`). Equal weights give 93 there, `joint` 94.

    The output's `extra` holds weight/m, dependency/m and uncertainty/m (w, α, ρ; ρ = 1 in the clean phase), each
    (B,); their means are logged. Raises UserError for energy outside of classification.
    """

    tasks = ("classification", "multilabel", "regression")
    modalities = (2, None)
    changes_inputs = True
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        variant: Literal["paper", "released"] = "paper",
        uncertainty: Literal["estimated", "variance", "energy", "none"] = "estimated",
        dependency: bool = True,
        progression: bool = True,
        split: ShareBelow1 = 0.5,
        warmup: ShareBelow1 = 0.2,
        levels: Count = 10,
        p_clean: Share = 0.5,
        vector_step: NonNegative = 0.2,
        sequence_step: NonNegative = 0.2,
        image_step: NonNegative = 0.2,
        image_power: Positive = 1.0,
        hidden: Count = 64,
        floor: Positive = 1.0,
        scope: Literal["running", "sample"] = "running",
        momentum: ShareBelow1 = 0.99,
        gamma: NonNegative = 1.0,
        lambda_est: NonNegative = 1.0,
        beta: NonNegative = 0.0,
    ) -> None:
        super().__init__(net, task)
        if uncertainty == "energy" and not isinstance(task, Classification):
            raise UserError(
                "method 'udml': uncertainty energy needs one class per row; admissible: estimated, variance or none"
            )
        self.released = variant == "released"
        self.uncertainty, self.dependency, self.scope = uncertainty, dependency, scope
        self.progression, self.split, self.warmup = progression, split, warmup
        self.levels, self.p_clean, self.image_power = levels, p_clean, image_power
        steps = {"vector": vector_step, "sequence": sequence_step, "audio": sequence_step}
        self.step = steps | {"image": image_step, "video": image_step}
        self.floor, self.gamma, self.lambda_est, self.beta = floor, gamma, lambda_est, beta
        drawn = net.dims if uncertainty in ("estimated", "variance") else {}
        estimated = net.dims if uncertainty == "estimated" else {}
        bend = nn.Identity if self.released else nn.ReLU
        self.mean = nn.ModuleDict({m: nn.Linear(d, d) for m, d in drawn.items()})
        self.spread = nn.ModuleDict({m: nn.Linear(d, d) for m, d in drawn.items()})
        for layer in self.spread.values():
            nn.init.constant_(layer.bias, -4.0)  # a std of 0.02: training starts with features that carry
        self.estimator = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(d, hidden), bend(), nn.Linear(hidden, 1))
                for m, d in estimated.items()
            }
        )
        self.moments = nn.ModuleDict({m: RunningMean(2, d, momentum=momentum) for m, d in estimated.items()})
        self.changes = RunningMean(len(net.dims), momentum=0.0 if self.released else momentum)
        self.stage.fill_(NOISY)
        self.seen: list[Tensor] = []

    def phases(self, epochs: int) -> list[Phase]:
        """Return the three phases; what is kept is the best of the noisy one."""
        clean = int(self.split * epochs) if self.progression else 0
        warmup = int(self.warmup * (epochs - clean)) if self.progression else 0
        name = "noisy" if self.progression else "train"
        first = [Phase("clean", clean, keep="last"), Phase("warmup", warmup, keep="last", optimizer="kept")]
        return [*first, Phase(name, epochs - clean - warmup, optimizer="kept")]

    def on_epoch_start(self, ctx: Context) -> None:
        """Begin to collect what is logged."""
        self.seen = []

    def on_epoch_end(self, ctx: Context, metrics: Metrics) -> None:
        """Log the epoch's means of w, α and ρ."""
        names = [f"{name}/{m}" for name in ("weight", "dependency", "uncertainty") for m in self.net.encoders]
        means = parallel.mean(torch.stack(self.seen).mean(0), 1)
        for name, value in zip(names, means.tolist(), strict=True):
            ctx.log(name, value)

    def forward(self, batch: Batch) -> Output:
        """Return the means as features (B, D_m) and the logits of their weighted fusion; nothing is random."""
        present = present_in(batch, self.net.encoders).T
        mean, log_variance = self._represent(batch, present)
        log_rho = self._log_rho(mean, log_variance, self._estimate(log_variance))
        return self._fuse(mean, log_rho, present)[0]

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, on noisy inputs and drawn features; every encoder runs once."""
        noisy, present = int(self.stage) != CLEAN, present_in(batch, self.net.encoders).T
        place = parallel.place(len(batch), batch.index.device)
        level = torch.zeros_like(present, dtype=torch.float)
        if noisy:
            batch, level = self._perturb(batch, ctx, place)
        mean, log_variance = self._represent(batch, present)
        features = mean
        if log_variance:
            normal = {m: gaussian.normal(z, ctx.generator("sample", m), *place) for m, z in mean.items()}
            drawn = {m: gaussian.sample(z, log_variance[m], normal[m]) for m, z in mean.items()}
            features = times(present, drawn)
        if self.estimator and (noisy or self.released):
            self._observe(log_variance, present)
        estimate = self._estimate(log_variance)
        output, weighted = self._fuse(features, self._log_rho(features, log_variance, estimate), present)
        if self.dependency and self.scope == "running" and not self.released:
            self.changes.update(self._change(weighted), present)
        losses = {"task": self.task.loss(output.fused, batch.target)}
        if self.gamma or self.released:
            alone = self._alone(weighted if self.released else features)
            losses["unimodal"] = self.gamma * sum(self.task.loss(x, batch.target) for x in alone)
            if self.dependency and self.released:
                self.changes.update(alone.detach().abs().sum(-1).T, present)
        if estimate is not None and (noisy or self.released):
            unit = self.levels if self.released else 1  # the program learns raw levels
            error = (unit * (estimate - level / self.levels)).square()
            losses["estimation"] = self.lambda_est * (error * present).mean(0).sum()
        if self.beta and log_variance:
            prior = dict(zip(mean, (1 + level).unbind(-1), strict=True))
            found = [gaussian.kl(z, log_variance[m], prior[m]) for m, z in mean.items()]
            losses["kl"] = self.beta * (torch.stack(found, -1) * present).mean(0).sum()
        self.seen.append(torch.stack(list(output.extra.values())).mean(-1))
        yield Objective(losses, output, batch)

    def _perturb(self, batch: Batch, ctx: Context, place: tuple[int, int]) -> tuple[Batch, Tensor]:
        """Return the batch with noise added, and its levels σ (B, M)."""
        rows, start = place
        clean = torch.rand(rows, generator=ctx.generator("clean")) < self.p_clean
        inputs, levels = {}, []
        for m in self.net.encoders:
            x, generator = batch.inputs[m], ctx.generator("noise", m)
            drawn = torch.randint(self.levels + 1, (rows,), generator=generator).masked_fill(clean, 0)
            level = drawn[start : start + len(batch)].to(batch.index.device)
            inputs[m] = self._noisy(m, x, level, generator, place)
            if m in batch.mask:
                inputs[m] = inputs[m] * batch.mask[m].view(*x.shape[:2], *[1] * (x.dim() - 2))
            levels.append(level.float())
        return replace(batch, inputs=inputs), torch.stack(levels, -1)

    def _noisy(
        self, modality: str, x: Tensor, level: Tensor, generator: torch.Generator, place: tuple[int, int]
    ) -> Tensor:
        """Return a modality's inputs (B, ...) with noise of the levels (B,)."""
        spec = self.net.spec.modalities[modality]
        kind, dtype = spec.kind, x.dtype if x.is_floating_point() else torch.float
        # as long as rows can be: how long those of this batch are differs between ranks
        longest = torch.empty((), dtype=dtype, device=x.device).expand(len(x), *spec.shape)
        normal = gaussian.normal(longest, generator, *place)[:, : x.shape[1]]
        if kind == "tokens":
            gone = torch.special.ndtr(normal) < per_row(level / 10, normal)
            return x.masked_fill(gone & ~torch.isin(x, x.new_tensor(spec.special)), spec.blank)
        power = self.image_power if kind in ("image", "video") else 1.0
        level = level.to(x)
        noise = per_row(self.step[kind] * self.levels * (level / self.levels) ** power, x) * normal
        return noise + (x * per_row(level < self.levels, x) if self.released else x)

    def _represent(self, batch: Batch, present: Tensor) -> tuple[Features, Features]:
        """Return means and log-variances {m: (B, D_m)}; plain features and {} where no variance is read."""
        features = self.net.encode(batch)
        if not self.mean:
            return features, {}
        mean = times(present, {m: self.mean[m](z) for m, z in features.items()})
        return mean, {m: gaussian.log_variance(self.spread[m](z)) for m, z in features.items()}

    def _observe(self, log_variance: Features, present: Tensor) -> None:
        for (m, moments), there in zip(self.moments.items(), present.unbind(-1), strict=True):
            values = log_variance[m].detach()
            moments.update(torch.stack([values, values.square()], 1), there[:, None, None])

    def _estimate(self, log_variance: Features) -> Tensor | None:
        """Return E in units of the highest level, (B, M), from variances that take no gradient."""
        if not self.estimator:
            return None
        columns = []
        for m, values in log_variance.items():
            mean, square = self.moments[m].mean
            spread = (square - mean.square()).clamp_min(LEAST_SPREAD**2).sqrt()
            columns.append(self.estimator[m]((values.detach() - mean) / spread))
        found = torch.cat(columns, -1)
        if self.released:
            bounded = found.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
            return ((bounded / 2).exp() - self.floor) / self.levels
        return found

    def _log_rho(self, features: Features, log_variance: Features, estimate: Tensor | None) -> Tensor:
        """Return log ρ (B, M)."""
        if self.uncertainty == "estimated":
            least = estimate if self.released else estimate.clamp_min(0)
            return 2 * (self.floor + self.levels * least).log()
        if self.uncertainty == "variance":
            return torch.stack([gaussian.log_mean_variance(v) for v in log_variance.values()], -1)
        if self.uncertainty == "energy":
            return -self._alone(features).logsumexp(-1).T
        return torch.stack([z.new_zeros(len(z)) for z in features.values()], -1)

    def _fuse(self, features: Features, log_rho: Tensor, present: Tensor) -> tuple[Output, Features]:
        """Return the output and the weighted features."""
        log_rho = log_rho.to(self.changes.total) * (self.stage != CLEAN)
        alpha = torch.ones_like(log_rho)
        if self.dependency:
            d = self._change(features) if self.scope == "sample" else self.changes.mean
            alpha = dependencies(d.to(log_rho).expand_as(log_rho), present)
        used = (log_rho if self.released else log_rho.detach()) * (self.stage == NOISY)
        weighing = (self.stage != CLEAN) | self.released
        w = weights(used, alpha.log() * weighing, present)
        weighted = times(present.sum(-1, keepdim=True) * w + self.released, features)
        extra = {
            f"{name}/{m}": column
            for name, values in {"weight": w, "dependency": alpha, "uncertainty": log_rho.exp()}.items()
            for m, column in zip(features, values.detach().unbind(-1), strict=True)
        }
        return Output(features, self.net.fuse(weighted), self.read_out, extra), weighted

    def read_out(self, features: Features) -> Features:
        """Return the logits (B, C) of each modality, the others left out."""
        return dict(zip(features, self._alone(features), strict=True))

    @torch.no_grad()
    def _change(self, features: Features) -> Tensor:
        """Return d (B, M): how much the logits change, in 1-norm, where each modality is left out."""
        alone = torch.eye(len(features), device=self.stage.device)
        logits = kept_only(self.net.fuse, features, torch.cat([torch.ones_like(alone[:1]), 1 - alone]))
        return (logits[0] - logits[1:]).abs().sum(-1).T

    def _alone(self, features: Features) -> Tensor:
        """Return the logits (M, B, C) of each modality, the others left out."""
        return kept_only(self.net.fuse, features, torch.eye(len(features), device=self.stage.device))


def weights(log_rho: Tensor, log_alpha: Tensor, present: Tensor) -> Tensor:
    """Return w (B, M), w_i / w_j = ρ_j α_j / (ρ_i α_i), which sum to 1 over the present modalities (eq. 7)."""
    return (-log_rho - log_alpha).masked_fill(~present, -math.inf).softmax(-1)


def dependencies(changes: Tensor, present: Tensor) -> Tensor:
    """Return α_m = M d_m / Σ d (B, M) from d (B, M), both over present modalities (eq. 13).

    It is at least LEAST_DEPENDENCY, so that w is finite, and 1 where all d are 0.
    """
    d = changes * present
    total = d.sum(-1, keepdim=True)
    alpha = present.sum(-1, keepdim=True) * d / torch.where(total > 0, total, 1)
    return torch.where(total > 0, alpha, 1).clamp_min(LEAST_DEPENDENCY)
