"""Prototypical modal rebalance: draw the slower modality's features to its class prototypes."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.evidence import full
from sweeper.models.maths.modes import measuring
from sweeper.models.maths.presence import present_in
from sweeper.models.maths.scores import mean_where
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, Share, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output, pooled


class Pmr(Method):
    """Add to the fused loss `alpha` Σ_m beta_m CE(sim_m): the further m is behind, the more it learns by itself.

    Shapes: z_m (B, D_m), pooled; prototypes c_m (C, D_m), the classes' mean z_m; sim_m = -‖z_m - c_m[k]‖ (B, C). s_m
    is the mean over the global batch's rows that have m of softmax(sim_m)(true class). beta_m =
    clip(max_j s_j / s_m - 1, 0, 1), a constant. In the first `per_epochs` epochs of a phase the entropy of
    softmax(sim_m) is rewarded by `mu` gamma_m, gamma_m = clip(s_m / min_j s_j - 1, 0, 1): it holds back who is ahead.

    Prototypes are renewed at the start of every epoch, in evaluation mode and without gradient, on a random share
    `subset` of each class's rows, at least one; c = `eps` c_old + (1 - eps) c_new. A class without rows that have m
    keeps its c_m; one that never had any is left out of the softmax, and its rows count in neither sum. Any fusion
    fits; the unimodal read-out is its own. Neutral: `alpha` and `mu` 0 are joint training to the bit. Logs
    `coefficient/<modality>`, the beta_m.

    Source: Fan et al., CVPR 2023 (arXiv 2211.07089). Deviations: the released program has 0 or 1 for the
    coefficient, no entropy term, and replaces the prototypes once more after the first epoch. For two modalities
    beta_m and gamma_m are the paper's; for more they are ours.
    """

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        alpha: NonNegative = 1.0,
        eps: Share = 0.2,
        mu: NonNegative = 0.01,
        per_epochs: Whole = 5,
        subset: Share = 0.1,
    ) -> None:
        super().__init__(net, task)
        self.alpha, self.eps, self.mu, self.per_epochs, self.subset = alpha, eps, mu, per_epochs, subset
        self.register_buffer("prototypes", torch.zeros(task.n_outputs, sum(net.dims.values())))
        self.register_buffer("known", torch.zeros(task.n_outputs, len(net.dims), dtype=torch.bool))
        self.labels: tuple[Tensor, Tensor, int] | None = None

    def on_epoch_start(self, ctx: Context) -> None:
        """Renew the prototypes; each rank embeds a part of the rows."""
        if self.labels is None:  # they do not change, and to read them may be to read all inputs
            batches = [(batch.index, batch.target) for batch in ctx.train()]
            index, target = (torch.cat(parts) for parts in zip(*batches, strict=True))
            self.labels = index, target, len(batches[0][0])
        index, target, size = self.labels
        chosen = index[stratified(target, self.subset, ctx.generator("subset")).to(index.device)]
        total = torch.zeros_like(self.prototypes)
        rows = self.prototypes.new_zeros(self.known.shape)
        with measuring(self), torch.no_grad():
            for part in chosen.split(size)[parallel.rank() :: parallel.world()]:
                batch = ctx.rows(part)
                features = torch.cat([pooled(z) for z in self.net.encode(batch).values()], 1)
                total.index_add_(0, batch.target, features.to(total))
                rows.index_add_(0, batch.target, present_in(batch, self.net.encoders).T.to(rows))
        self._renew(parallel.total(total), parallel.total(rows))

    def _renew(self, total: Tensor, rows: Tensor) -> None:
        """Blend in the means of summed features (C, ΣD) of so many rows (C, M)."""
        seen, widths = rows > 0, torch.tensor(list(self.net.dims.values()), device=rows.device)
        keep = torch.where(seen, torch.where(self.known, self.eps, 0.0), 1.0).repeat_interleave(widths, 1)
        means = total / rows.clamp_min(1).repeat_interleave(widths, 1)
        self.prototypes.copy_(keep * self.prototypes + (1 - keep) * means)
        self.known |= seen

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the fused loss, the weighted prototypical one, and early on the entropy's reward."""
        losses = {"fused": super().loss(output, batch, ctx)}
        mu = self.mu if ctx.epoch < self.per_epochs else 0.0
        if not (self.alpha or mu):
            return losses
        log_p = self.similarities(output.pooled).log_softmax(-1)
        counted = present_in(batch, self.net.encoders) & self.known[batch.target].T
        true = log_p.gather(-1, batch.target.expand(log_p.shape[:-1]).unsqueeze(-1)).squeeze(-1)
        beta, gamma = leads(mean_where(true.exp(), counted))
        for m, value in zip(self.net.encoders, beta.tolist(), strict=True):
            ctx.log(f"coefficient/{m}", value)
        weight = counted if batch.weight is None else counted * batch.weight
        losses["prototypes"] = self.alpha * (beta @ (-true * weight).mean(1))
        if mu:
            losses["entropy"] = -mu * (gamma @ (-(log_p.exp() * log_p).sum(-1) * weight).mean(1))
        return losses

    def similarities(self, features: dict[str, Tensor]) -> Tensor:
        """Return sim (M, B, C) of features {m: (B, D_m)}, lowest for a class without prototype."""
        prototypes = self.prototypes.split(list(self.net.dims.values()), 1)
        found = []
        for z, c, known in zip(features.values(), prototypes, self.known.T, strict=True):
            z = full(z)
            # computed from differences: exact where z is at c, and without gradient there
            distance = torch.cdist(z, c.to(z), compute_mode="donot_use_mm_for_euclid_dist")
            found.append((-distance).masked_fill(~known, torch.finfo(distance.dtype).min))
        return torch.stack(found)


def leads(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return beta and gamma (M,) of scores s (M,): how far a modality is behind the best and ahead of the worst."""
    tiny = torch.finfo(scores.dtype).tiny
    behind = scores.max() / scores.clamp_min(tiny) - 1
    ahead = scores / scores.min().clamp_min(tiny) - 1
    return behind.clamp(0, 1), ahead.clamp(0, 1)


def stratified(target: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return the places, in order, of a random share of each class's rows in target (N,), at least one of each."""
    target = target.cpu()
    order = torch.rand(len(target), generator=generator).argsort()
    order = order[target[order].argsort(stable=True)]  # class by class, at random within
    sizes = target.bincount()
    place = torch.arange(len(target)) - (sizes.cumsum(0) - sizes)[target[order]]
    wanted = (sizes * share).ceil().clamp_min(1)
    return order[place < wanted[target[order]]].sort().values
