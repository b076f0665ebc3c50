"""Evidence and trust: Dirichlet quantities of logits, uncertainty scores, weights of modalities, their losses.

Shapes: B rows, C classes, M modalities; logits are stacked (M, B, C), scores and weights (M, B), `present`
(M, B) bool. Logits become evidence e = softplus(l), concentrations α = e + 1, strength S = Σ_c α_c and the
Dirichlet mean p = α / S. All of it is computed in float32 at least.

Sources: two-stage dynamic fusion (Ge and Chen, INFORMS Journal on Computing, 10.1287/ijoc.2023.0448) for the
scores, the weights and their losses; trusted multi-view classification (Han et al., TPAMI 2023) for the
combination of opinions and the evidential losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.models.maths.presence import present_in
from sweeper.models.values import Batch

Score = Literal["RC", "Evd", "PE", "LC", "MC", "ES"]
SCORES: tuple[Score, ...] = ("Evd", "PE", "LC", "MC", "ES", "RC")
Probability = Literal["dirichlet", "softmax"]


def full(value: Tensor) -> Tensor:
    """Return `value` in float32 if its precision is lower."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def concentrations(logits: Tensor) -> Tensor:
    """Return α = softplus(l) + 1 of logits (…, C)."""
    return functional.softplus(full(logits)) + 1


def probabilities(logits: Tensor, kind: Probability = "dirichlet") -> Tensor:
    """Return the Dirichlet's mean α / S or the softmax of logits (…, C)."""
    if kind == "softmax":
        return full(logits).softmax(-1)
    alpha = concentrations(logits)
    return alpha / alpha.sum(-1, keepdim=True)


def uncertainty(logits: Tensor, score: Score = "RC", kind: Probability = "dirichlet") -> Tensor:
    """Return the uncertainty (…,) of logits (…, C), C ≥ 2, from the probabilities of that `kind`, p₁ ≥ p₂ ≥ ….

    Evd C / S, the evidence lacking; PE entropy over log C; LC (1 - p₁) C / (C - 1); MC 1 - (p₁ - p₂); RC
    p₂ / p₁; all from 0, or just above it, to 1. ES is -logsumexp(l) / 10, the energy score of QMF with its
    sign turned: any number. Evd and ES are of the logits, whatever `kind`.
    """
    classes = logits.shape[-1]
    if score == "Evd":
        return classes / concentrations(logits).sum(-1)
    if score == "ES":
        return -full(logits).logsumexp(-1) / 10
    p = probabilities(logits, kind)
    if score == "PE":
        return torch.special.entr(p).sum(-1) / math.log(classes)
    first, second = p.topk(2, dim=-1).values.unbind(-1)
    if score == "LC":
        return (1 - first) * classes / (classes - 1)
    return 1 - (first - second) if score == "MC" else second / first


def trust(
    logits: Tensor, present: Tensor, score: Score = "RC", kind: Probability = "dirichlet"
) -> tuple[Tensor, Tensor]:
    """Return uncertainties and weights (M, B) of logits (M, B, C), without gradient.

    w_m = (1 - u_m) / Σ_j (1 - u_j); for ES the energy -u_m itself, which is not normalised. A modality that a
    row lacks has the uncertainty (1; for ES 0) at which its weight is 0.
    """
    found = uncertainty(logits.detach(), score, kind)
    if score == "ES":
        found = found.where(present, 0.0)
        return found, -found
    found = found.where(present, 1.0)
    return found, normalized(1 - found, present)


def normalized(confidence: Tensor, present: Tensor, least: float | None = None) -> Tensor:
    """Return confidences (M, B) over their sum in the row; absent modalities weigh 0.

    `least` is a lower bound on the confidence, None for none. Where confidences sum to 0, as they do when all
    ratios are tied, those present weigh the same.
    """
    if least is not None:
        confidence = confidence.clamp_min(least)
    confidence = confidence.where(present, 0.0)
    total = confidence.sum(0)
    usable = total.abs() > 1e-8
    equal = present.to(confidence.dtype) / present.sum(0)
    return torch.where(usable, confidence / torch.where(usable, total, 1.0), equal)


def fuse(
    logits: Mapping[str, Tensor],
    uncertain: Tensor,
    weights: Tensor,
    score: Score = "RC",
    kind: Probability = "dirichlet",
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the fused logits (B, C), Σ_m w_m l_m, and what to say of each row, all (B,).

    `weight/<m>`, `uncertainty/<m>` as given, (M, B), and `uncertainty`, the score of the fused logits.
    """
    fused = sum(w.unsqueeze(-1) * full(x) for w, x in zip(weights, logits.values(), strict=True))
    said = {f"weight/{m}": w for m, w in zip(logits, weights, strict=True)}
    said |= {f"uncertainty/{m}": u for m, u in zip(logits, uncertain, strict=True)}
    return fused, said | {"uncertainty": uncertainty(fused.detach(), score, kind)}


def mean_weights(said: Mapping[str, Tensor]) -> dict[str, float]:
    """Return {weight/<m>: its mean over the rows} of what `fuse` says, in one transfer from the device."""
    found = {name: value.mean() for name, value in said.items() if name.startswith("weight/")}
    return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))


def lq(logits: Tensor, target: Tensor, right: float = 1.0, wrong: float = 0.1) -> Tensor:
    """Return each row's asymmetric loss (…,) of logits (…, C): (1 - p_y^q) / q with p their softmax.

    q is `right` where the largest logit is the target's and `wrong` elsewhere, without gradient; at q = 0
    the loss is cross-entropy. By default a right row has 1 - p_y, a wrong one almost cross-entropy.
    """
    logits = full(logits)
    target = target.expand(logits.shape[:-1])
    log_p = logits.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    q = torch.where(logits.argmax(-1) == target, right, wrong)
    positive = q > 0
    q = torch.where(positive, q, 1.0)
    return torch.where(positive, -torch.expm1(q * log_p) / q, -log_p)


def emc(
    logits: Mapping[str, Tensor], fused: Tensor, target: Tensor, present: Tensor, **q: float
) -> dict[str, Tensor]:
    """Return stage 1's losses by name, means over the rows: `lq` of every modality and of the fused logits.

    `logits` {m: (B, C)}, `fused` (B, C), `q` as in `lq`. A row that lacks a modality adds nothing there.
    """
    losses = lq(torch.stack([*map(full, logits.values()), fused]), target, **q)
    counted = torch.cat([present, torch.ones_like(present[:1])])
    means = losses.where(counted, 0.0).mean(1)
    return dict(zip([*(f"unimodal/{m}" for m in logits), "fused"], means, strict=True))


class Rows(NamedTuple):
    """What stage 1 says of N rows: logits (M, N, C), target (N,), present (M, N) bool."""

    logits: Tensor
    target: Tensor
    present: Tensor

    @property
    def correct(self) -> Tensor:
        """Whether each modality alone is right, (M, N) bool."""
        return self.logits.argmax(-1) == self.target


@torch.no_grad()
def collect(logits_of: Callable[[Batch], Mapping[str, Tensor]], batches: Iterable[Batch]) -> Rows:
    """Return the rows of all batches, in order; `logits_of` gives {m: (B, C)}."""
    parts = []
    for batch in batches:
        logits = logits_of(batch)
        parts.append((torch.stack(list(logits.values())), batch.target, present_in(batch, logits)))
    logits, target, present = zip(*parts, strict=True)
    return Rows(full(torch.cat(logits, 1)), torch.cat(target), torch.cat(present, 1))


def dempster(alpha: Tensor) -> Tensor:
    """Return the concentrations (…, C) of opinions (V, …, C) combined by Dempster's rule, in any order.

    Of two, with b = (α - 1) / S, u = C / S and the conflict K = Σ_{i≠j} b_i b'_j, the combined belief is
    (b b' + b u' + b' u) / (1 - K) and the combined u is u u' / (1 - K). In evidence e = α - 1 this is
    1 + e_f / C = Π_v (1 + e_v / C), without the division: no opinion takes evidence away, one without any
    changes nothing, and conflict alone creates no uncertainty.
    """
    alpha = full(alpha)
    classes = alpha.shape[-1]
    return classes * torch.expm1(torch.log1p((alpha - 1) / classes).sum(0)) + 1


def evidential(
    alpha: Tensor, target: Tensor, penalty: float = 0.0, kind: Literal["log", "square"] = "log"
) -> Tensor:
    """Return each row's evidential loss (…,) of concentrations (…, C).

    `log`: ψ(S) - ψ(α_y), the expected cross-entropy under the Dirichlet; `square`: Σ_c (y_c - p_c)² +
    p_c (1 - p_c) / (S + 1), the expected squared error. Both add `penalty` · KL(Dir(α̃) ‖ Dir(1)), α̃ being α
    with the target's set to 1; the published penalty grows as min(1, epoch / 10).
    """
    alpha = full(alpha)
    hot = functional.one_hot(target.expand(alpha.shape[:-1]), alpha.shape[-1]).to(alpha.dtype)
    strength = alpha.sum(-1, keepdim=True)
    if kind == "log":
        fit = (hot * (torch.digamma(strength) - torch.digamma(alpha))).sum(-1)
    else:
        p = alpha / strength
        fit = ((hot - p).square() + p * (1 - p) / (strength + 1)).sum(-1)
    return fit + penalty * kl_to_uniform(hot + (1 - hot) * alpha)


def kl_to_uniform(alpha: Tensor) -> Tensor:
    """Return KL(Dir(α) ‖ Dir(1)), (…,), of concentrations (…, C)."""
    alpha = full(alpha)
    strength = alpha.sum(-1, keepdim=True)
    spread = ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(strength))).sum(-1)
    return (
        torch.lgamma(strength).squeeze(-1)
        - torch.lgamma(alpha).sum(-1)
        - math.lgamma(alpha.shape[-1])
        + spread
    )
