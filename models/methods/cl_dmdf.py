"""CL-DMDF: embeddings of a row's modalities drawn to their centroid, then fused by attention over both axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.maths.attention import mixed, ratio
from sweeper.models.maths.contrast import (
    centroids,
    contrast,
    group_scores,
    in_entities,
    masked,
    mean_over_ranks,
)
from sweeper.models.maths.evidence import full, mean_weights
from sweeper.models.maths.matching import unit
from sweeper.models.maths.presence import Features, present_in
from sweeper.models.maths.running import BatchNorm
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, NonNegative, Positive, ShareBelow1
from sweeper.models.tasks.base import Task
from sweeper.models.tasks.regression import Regression
from sweeper.models.values import Batch, Context, Objective, Output


class ClDmdf(Method):
    """Minimise L_task + `lambda_con` L_contra on Σ_m γ_m a_m E_m, with γ over a row's modalities, a over features.

    F_m = BN(Linear(features of m)), of width `d`; E_m = F_m + e_m, e_m learned from uniform(-1/n, 1/n), `n` null
    meaning d; a_m = sigmoid(Linear(F_m)); γ = softmax_m(F_m · e_m / √d + b_m); a linear head on the sum.
    L_contra contrasts q_{i,m} = E_{i,m} / ‖E_{i,m}‖ with every row's centroid of the other modalities,
    c_{i,m} ∝ Σ_{k≠m} q_{i,k}: the mean of -log[e^s_ii / (Σ_t e^s_it + extra_i)], s_it = q_{i,m} · c_{t,m} / `tau`.

    Source: "CL-DMDF", AAAI 2026 (arXiv 2606.02659), of which only Algorithm 1 of the appendix was at hand. All of the
    above is our reading of it; docs/methods/cl_dmdf.md goes through its lines, says what each of them leaves open,
    and what the options `positives`, `centroid`, `modality_neg`, `detached`, `attn`, `fuse` and `gate` read instead.
    `moddrop` is the probability that a row lacks a modality in a step of training, unless it would lack all.

    Absent modalities are left out of every mean, softmax, centroid and statistic; a row with fewer than two is
    no entity: neither anchor nor negative. So one modality alone has no L_contra, except by label_centroid.
    Batch norm is over the rows of all ranks; where fewer than two have m, it uses the running statistics.

    Output.features are F (B, d). Read-out of m alone: all other modalities absent, so head(a_m E_m). `extra`
    has `weight/<m>` (B,), γ after the gate, for ratio its mean over features; its mean is logged. `lambda_con` 0
    leaves the attention; nothing is joint training. Raises UserError for labels as positives in regression.
    """

    tasks = ("classification", "multilabel", "regression")
    fuses = False

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        d: Count = 256,
        n: Count | None = None,
        tau: Positive = 0.1,
        lambda_con: NonNegative = 0.1,
        positives: Literal["entity", "same_label", "label_centroid"] = "entity",
        centroid: Literal["loo", "incl_self"] = "loo",
        modality_neg: Literal["prob", "exp", "none"] = "prob",
        detached: bool = False,
        attn: Literal["softmax", "ratio"] = "softmax",
        fuse: Literal["embeddings", "features"] = "embeddings",
        gate: Literal["none", "soft", "hard"] = "none",
        moddrop: ShareBelow1 = 0.0,
    ) -> None:
        super().__init__(net, task)
        n = d if n is None else n
        if positives != "entity" and isinstance(task, Regression):
            raise UserError(
                f"method 'cl_dmdf': positives is {positives}; admissible: entity, as rows have no labels"
            )
        self.tau, self.lambda_con, self.moddrop = tau, lambda_con, moddrop
        self.positives, self.leave_out, self.modality_neg = positives, centroid == "loo", modality_neg
        self.detached, self.attn, self.fuse, self.gate = detached, attn, fuse, gate
        self.members = nn.ModuleDict({m: Member(dim, d, n) for m, dim in net.dims.items()})
        self.feature_gates = nn.ModuleDict(
            {m: nn.Linear(d, d) for m in net.encoders} if attn == "softmax" else {}
        )
        self.choosers = nn.ModuleDict({m: nn.Linear(d, d) for m in net.encoders} if gate != "none" else {})
        self.choice = nn.Linear(d, 3) if gate != "none" else None
        self.head = nn.Linear(d, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return F as features, the head's logits of the fused features (B, C), and γ in `extra`."""
        present = present_in(batch, self.net.encoders).T
        columns = zip(self.net.encode(batch).items(), present.unbind(-1), strict=True)
        features = {m: self.members[m](z, there) for (m, z), there in columns}
        gamma = self._gamma(features, present)
        values = torch.stack([self._value(m, f) for m, f in features.items()], 1)
        weights = gamma.detach().mean(-1).unbind(-1)
        extra = {f"weight/{m}": w for m, w in zip(features, weights, strict=True)}
        return Output(features, self.head((gamma * values).sum(1)), self.read_out, extra)

    def read_out(self, features: Features) -> Features:
        """Return the logits (B, C) of each modality, all others absent: γ is 1 whatever the reading."""
        return {m: self.head(self._value(m, f)) for m, f in features.items()}

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, on a batch that may have lost modalities."""
        return super().objectives(self._dropped(batch, ctx) if self.moddrop else batch, ctx)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the task's and the weighted contrastive loss."""
        for name, value in mean_weights(output.extra).items():
            ctx.log(name, value)
        losses = {"task": self.task.loss(output.fused, batch.target)}
        if self.lambda_con:
            losses["contrast"] = self.lambda_con * self.contrastive(output.features, batch)
        return losses

    def contrastive(self, features: Features, batch: Batch) -> Tensor:
        """Return L_contra, the mean over the anchors of all ranks in the convention of parallel.py."""
        present = present_in(batch, features).T
        shifts = torch.stack([self.members[m].embedding for m in features])
        stacked = torch.stack(list(features.values()), 1)
        embeddings = (stacked.detach() if self.detached else stacked) + shifts  # (B, M, d)
        own = unit(embeddings) * present.unsqueeze(-1)
        every, there = parallel.gather(own), parallel.gather(present.byte()).bool()
        labels = None if self.positives == "entity" else self._labels(batch.target).to(own)
        if self.positives == "label_centroid":
            anchors, anchors_there = present, there
            groups = parallel.gather(labels)
            scores, others = group_scores(own, present, labels, every, there, groups, self.leave_out)
            positive, usable = labels.bool().unsqueeze(1), others > 0
        else:
            anchors, anchors_there = in_entities(present), in_entities(there)
            scores = torch.einsum("bmd,tmd->bmt", own, centroids(every, self.leave_out))
            at = torch.arange(len(own), device=own.device) + parallel.offset(len(own), own.device)
            positive = one_hot(at, len(every)).bool()
            if labels is not None:
                positive = positive | (labels @ parallel.gather(labels).T > 0)
            positive, usable = positive.unsqueeze(1), anchors_there.any(1)
        extra = None if self.modality_neg == "none" else (embeddings * shifts).sum(-1) / self.tau
        if self.modality_neg == "prob":
            extra = extra - masked(parallel.gather(extra), anchors_there).logsumexp(0)
        losses, found = contrast(scores / self.tau, positive, usable, extra)
        return mean_over_ranks(losses, found & anchors)

    def _gamma(self, features: Features, present: Tensor) -> Tensor:
        """Return γ (B, M, 1), or (B, M, d) where it differs between features; 0 where absent."""
        stacked = torch.stack(list(features.values()), 1)
        if self.attn == "ratio":
            gamma = ratio(stacked, present)
        else:
            scores = torch.stack([self.members[m].score(f) for m, f in features.items()], -1)
            gamma = masked(scores, present).softmax(-1).unsqueeze(-1)
        if self.gate == "none":
            return gamma
        hidden = sum(self.choosers[m](f) for m, f in features.items()).relu()
        chosen = full(self.choice(hidden)).softmax(-1)
        if self.gate == "hard":
            chosen = one_hot(chosen.argmax(-1), 3) + chosen - chosen.detach()
        return mixed(gamma, chosen, present)

    def _value(self, modality: str, features: Tensor) -> Tensor:
        """Return what γ weighs of a modality, (B, d)."""
        value = features + self.members[modality].embedding if self.fuse == "embeddings" else features
        return self.feature_gates[modality](features).sigmoid() * value if self.feature_gates else value

    def _labels(self, target: Tensor) -> Tensor:
        """Return (B, L), 1 where a row has a label."""
        return target if target.dim() == 2 else one_hot(target, self.task.n_outputs)

    def _dropped(self, batch: Batch, ctx: Context) -> Batch:
        """Return the batch with modalities declared absent at random; a row that would lose all keeps all."""
        rows, device = len(batch), batch.index.device
        every, start = parallel.place(rows, device)
        names = list(self.net.encoders)
        draws = torch.stack([torch.rand(every, generator=ctx.generator("moddrop", m)) for m in names], -1)
        present = present_in(batch, names).T
        kept = present & (draws[start : start + rows].to(device) >= self.moddrop)
        kept = torch.where(kept.any(-1, keepdim=True), kept, present)
        return replace(batch, present=dict(zip(names, kept.unbind(-1), strict=True)))


class Member(nn.Module):
    """A modality's features (B, D_m) as F_m (B, d), 0 in rows that lack it, with its e_m and b_m."""

    def __init__(self, dim: int, d: int, n: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, d, bias=False)  # batch norm brings the bias
        self.norm = BatchNorm(d)
        self.embedding = nn.Parameter(torch.empty(d).uniform_(-1 / n, 1 / n))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Return F_m, given which rows (B,) have the modality."""
        return self.norm(self.project(features), present) * present.unsqueeze(-1)

    def score(self, features: Tensor) -> Tensor:
        """Return F_m · e_m / √d + b_m, (B,)."""
        return (features * self.embedding).sum(-1) / features.shape[-1] ** 0.5 + self.bias
