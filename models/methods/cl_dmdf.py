"""CL-DMDF: embeddings of a row's modalities drawn to their centroid, then fused by attention over both axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.maths.evidence import full, mean_weights, present_in
from sweeper.models.maths.matching import unit
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.all import Regression, Task
from sweeper.models.values import Batch, Context, Objective, Output

LEAST_MEAN = 1e-6

Features = dict[str, Tensor]


class ClDmdf(Method):
    """Minimise L_task + `lambda_con` L_contra on Σ_m γ_m a_m E_m, with γ over a row's modalities, a over features.

    F_m = BN(Linear(features of m)), of width `d`; E_m = F_m + e_m, e_m learned from uniform(-1/n, 1/n), `n` null
    meaning d; a_m = sigmoid(Linear(F_m)); γ = softmax_m(F_m · e_m / √d + b_m); a linear head on the sum.
    L_contra contrasts q_{i,m} = E_{i,m} / ‖E_{i,m}‖ with every row's centroid of the other modalities,
    c_{i,m} ∝ Σ_{k≠m} q_{i,k}: the mean of -log[e^s_ii / (Σ_t e^s_it + extra_i)], s_it = q_{i,m} · c_{t,m} / `tau`.

    Source: "CL-DMDF", AAAI 2026 (arXiv 2606.02659), of which only Algorithm 1 of the appendix was at hand. All
    above is our reading of it, because most lines leave something open: 1, 2, 5 (what is initialised, n), 13-15
    (what G+, the group U and its C are: here the row, its modalities and their centroid without the anchor),
    16, 17 (which m; τ is an input that is not used; a softmax stands in a sum of exponentials), 18 (only E_m is
    updated, no task loss, nothing trains the encoders: here all train on both losses), 21-23 (N is overwritten;
    γ has an inconsistent shape and a denominator that may vanish), 24 (γ_i in a sum over m). Batch norm, a_m, √d
    and b_m are not printed. Encoders average over positions, so that line 21's mean is F_m itself, and pixels
    cannot be told apart: segmentation is refused. No loss ties γ to how noisy a row's input is.

    Other readings. `positives` same_label: the centroids of all rows that share a label, whose terms are
    averaged; label_centroid: the entity is a label, its centroid that of all embeddings in the batch that have
    it. `centroid` incl_self keeps the anchor in. `modality_neg` is extra_i: prob, softmax_t(E_{t,m} · e_m / τ)
    at i, printed, next to nothing; exp, e^(E_{i,m} · e_m / τ); or none. `detached`: L_contra trains e_m alone
    (line 18). `attn` ratio: line 23, γ_m ∝ v_m / (v_m + mean_k v (Σ_k v_k + M)) in each feature, v =
    softplus(F), and no a_m; its factor Σ_k E_k cancels, and without softplus its denominator crosses 0. `fuse`
    features: F_m in place of E_m. `gate`: a perceptron on all F chooses, softly or hard (straight through),
    between the modality of largest γ, their mean and γ; the paper prints none and no cost, so there is none.
    `moddrop`: the probability that a row lacks a modality in a step of training, unless it would lack all.

    Absent modalities are left out of every mean, softmax, centroid and statistic; a row with fewer than two is
    no entity: neither anchor nor negative. So one modality alone has no L_contra, except by label_centroid.
    Batch norm is over the rows of all ranks; where fewer than two have m, it uses the running statistics.

    Output.features are F (B, d). Read-out of m alone: all other modalities absent, so head(a_m E_m). `extra`
    has `weight/<m>` (B,), γ after the gate, for ratio its mean over features; its mean is logged. `lambda_con` 0
    leaves the attention; nothing is joint training. Raises UserError for values out of range and for labels
    as positives in regression.
    """

    tasks = ("classification", "multilabel", "regression")
    fuses = False

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        d: int = 256,
        n: int | None = None,
        tau: float = 0.1,
        lambda_con: float = 0.1,
        positives: Literal["entity", "same_label", "label_centroid"] = "entity",
        centroid: Literal["loo", "incl_self"] = "loo",
        modality_neg: Literal["prob", "exp", "none"] = "prob",
        detached: bool = False,
        attn: Literal["softmax", "ratio"] = "softmax",
        fuse: Literal["embeddings", "features"] = "embeddings",
        gate: Literal["none", "soft", "hard"] = "none",
        moddrop: float = 0.0,
    ) -> None:
        super().__init__(net, task)
        n = d if n is None else n
        for name, size in {"d": d, "n": n}.items():
            _require(size >= 1, name, size, "from 1")
        _require(tau > 0, "tau", tau, "above 0")
        _require(lambda_con >= 0, "lambda_con", lambda_con, "from 0")
        _require(0 <= moddrop < 1, "moddrop", moddrop, "0 to below 1")
        labelled = not isinstance(task, Regression)
        _require(positives == "entity" or labelled, "positives", positives, "entity, as rows have no labels")
        self.tau, self.lambda_con, self.moddrop = tau, lambda_con, moddrop
        self.positives, self.leave_out, self.modality_neg = positives, centroid == "loo", modality_neg
        self.detached, self.attn, self.fuse, self.gate = detached, attn, fuse, gate
        self.members = nn.ModuleDict({m: Member(e.dim, d, n) for m, e in net.encoders.items()})
        self.feature_gates = nn.ModuleDict(
            {m: nn.Linear(d, d) for m in net.encoders} if attn == "softmax" else {}
        )
        self.choosers = nn.ModuleDict({m: nn.Linear(d, d) for m in net.encoders} if gate != "none" else {})
        self.choice = nn.Linear(d, 3) if gate != "none" else None
        self.head = nn.Linear(d, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return F as features, the head's logits of the fused features (B, C), and γ in `extra`."""
        present = present_in(batch, self.net.encoders).T
        columns = zip(self.net.encoders, present.unbind(-1), strict=True)
        features = {m: self.members[m](self.net.encode(m, batch), there) for m, there in columns}
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
        return _mean_over_ranks(losses, found & anchors)

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
        every, start = int(parallel.total(torch.tensor(rows, device=device))), parallel.offset(rows, device)
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


class BatchNorm(nn.Module):
    """Batch norm of (B, d), its statistics over the rows of all ranks that are present.

    As torch's in all else. With fewer than two such rows it uses the running statistics and leaves them.
    """

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return x normalised, scaled and shifted, in the precision of the statistics."""
        x = x.to(self.mean.dtype)
        mean, variance = self._statistics(x, present) if self.training else (self.mean, self.variance)
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias

    def _statistics(self, x: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        every, counted = parallel.gather(x), parallel.gather(present.to(x.dtype)).unsqueeze(-1)
        rows = counted.sum()
        mean = (every * counted).sum(0) / rows.clamp_min(1)
        squares = ((every - mean).square() * counted).sum(0)
        variance = squares / rows.clamp_min(1)
        enough = rows >= 2
        used = torch.where(enough, mean, self.mean), torch.where(enough, variance, self.variance)
        with torch.no_grad():
            rate = self.momentum * enough.to(x.dtype)
            self.mean.lerp_(mean, rate)
            self.variance.lerp_(squares / (rows - 1).clamp_min(1), rate)
        return used


def in_entities(present: Tensor) -> Tensor:
    """Return which members (B, M) are of a row that has at least two."""
    return present & (present.sum(1, keepdim=True) >= 2)


def centroids(members: Tensor, leave_out: bool) -> Tensor:
    """Return each row's centroid (B, M, d), length 1, as seen from m, of members (B, M, d), 0 where absent.

    It is the mean of the row's members, without m's own where that is to be left out.
    """
    counted = members.new_ones(members.shape[1], members.shape[1])
    return unit((counted.fill_diagonal_(0) if leave_out else counted) @ members)


def group_scores(
    own: Tensor,
    present: Tensor,
    labels: Tensor,
    every: Tensor,
    there: Tensor,
    groups: Tensor,
    leave_out: bool,
) -> tuple[Tensor, Tensor]:
    """Return the cosine of each member with each label's centroid, and of how many that is the centroid; (B, M, L).

    Members `own` (B, M, d), their `present` (B, M) and `labels` (B, L) are this rank's; `every` (T, M, d),
    `there` and `groups` those of all rows. A member is left out of the centroids of its labels if asked for.
    """
    total = torch.einsum("tl,tmd->ld", groups, every)
    number = groups.T @ there.sum(1).to(groups)
    if leave_out:
        total = total - torch.einsum("bl,bmd->bmld", labels, own)
        number = number - torch.einsum("bl,bm->bml", labels, present.to(labels))
    return (own.unsqueeze(2) * unit(total)).sum(-1), number.expand(*own.shape[:2], -1)


def contrast(
    scores: Tensor, positive: Tensor, usable: Tensor, extra: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return each anchor's loss, the mean of -log[e^s / (Σ_t e^s_t + e^extra)] over its positives, and if it has any.

    `scores` (…, K), those of `usable` (…, K) centroids count, `positive` (…, K) says which are the anchor's,
    `extra` (…,) is one more negative; both masks are broadcast.
    """
    scores = masked(full(scores), usable)
    every = scores if extra is None else torch.cat([scores, extra.unsqueeze(-1).to(scores)], -1)
    log_p = scores - every.logsumexp(-1, keepdim=True)
    positive = (positive & usable).expand_as(scores)
    number = positive.sum(-1)
    return -log_p.where(positive, 0.0).sum(-1) / number.clamp_min(1), number > 0


def ratio(features: Tensor, present: Tensor) -> Tensor:
    """Return line 23's γ (B, M, d) of features (B, M, d), made positive and summing to 1 over those present."""
    there = present.unsqueeze(-1)
    positive = (softplus(features) + LEAST_MEAN) * there
    total, number = positive.sum(1, keepdim=True), there.sum(1, keepdim=True)
    share = positive / (positive + total / number * (total + number))
    return share / share.sum(1, keepdim=True)


def mixed(gamma: Tensor, chosen: Tensor, present: Tensor) -> Tensor:
    """Return g_0 best + g_1 mean + g_2 γ, of γ (B, M, ·) and g = `chosen` (B, 3): a mixture of weights.

    Weighing values by it is the same mixture of the fusions that weigh by each of the three.
    """
    best = one_hot(gamma.mean(-1).argmax(-1), gamma.shape[1])
    mean = present.to(gamma) / present.sum(-1, keepdim=True)
    first, second, third = chosen.unsqueeze(-1).unbind(1)  # each (B, 1)
    return (first * best + second * mean).unsqueeze(-1) + third.unsqueeze(-1) * gamma


def masked(scores: Tensor, kept: Tensor) -> Tensor:
    """Return scores that are lowest where not kept; finite, so that a softmax over nothing has a gradient."""
    return scores.masked_fill(~kept, torch.finfo(scores.dtype).min)


def _mean_over_ranks(losses: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of all ranks' counted losses, as the part of a rank whose weight is own / all rows; or 0."""
    own = torch.tensor(len(losses), device=losses.device)
    number, rows = parallel.total(torch.stack([counted.sum(), own]))
    return losses.where(counted, 0.0).sum() / number.clamp_min(1) * (rows / own)


def _require(ok: bool, name: str, value: float | str, admissible: str) -> None:
    if not ok:
        raise UserError(f"method 'cl_dmdf': {name} is {value}; admissible: {admissible}")
