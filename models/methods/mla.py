"""Alternating unimodal adaptation: one optimiser step per modality, one head shared by all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output


class Mla(Method):
    """Train encoder m and a shared head Linear(D, C) on modality m alone, each batch modality by modality.

    Each modality's forward pass comes after the previous one's update; the other encoders stay still
    meanwhile. The result depends on the order of the modalities, which is the dataset's. The head's weight
    gradient G (C, D) becomes G P; P (D, D) runs over all updates and blocks the mean features of the earlier
    ones (`absorb`), so that learning one modality spares what the head does on the others; the first update
    is free. The damping is `base`^(1 + share of the epoch's rows seen). `combine` weighs the modalities'
    logits at prediction: row by row with `entropy_weights`, or equally.

    Source: Zhang et al., CVPR 2024, section 3. `variant="released"` leaves G alone, as the published program
    does (it looks for the head under a name that no parameter has; its projection would block the modality's
    own mean as well). Deviations from that program in both variants: features are computed after the previous
    update, not before the batch's first; entropy weights are per row, not per batch; encoders of other widths
    than the widest are followed by a learned projection, as one head needs one width. Unimodal read-out: the
    shared head. A modality that a row lacks votes there with the head's bias.
    """

    fuses = False
    equal_widths = True

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        variant: Literal["paper", "released"] = "paper",
        base: Positive = 0.1,
        combine: Literal["entropy", "mean"] = "entropy",
    ) -> None:
        super().__init__(net, task)
        width = next(iter(net.dims.values()))
        self.variant, self.base, self.combined = variant, base, combine
        self.head = nn.Linear(width, task.n_outputs)
        self.register_buffer("projection", torch.eye(width))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, batch: Batch) -> Output:
        """Return features, the modalities' weighted mean logits as fused (B, C), and the head as read-out."""
        features = self.net.encode(batch)
        logits = torch.stack(list(self.read_out(features).values()))
        if self.combined == "mean":
            return Output(features, logits.mean(0), self.read_out)
        return Output(features, (entropy_weights(logits).unsqueeze(-1) * logits).sum(0), self.read_out)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shared head's logits (B, C) on every modality's features."""
        return {m: self.head(z) for m, z in features.items()}

    def on_epoch_start(self, ctx: Context) -> None:
        """Begin the epoch's count of rows seen."""
        self.seen.zero_()

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective per modality; its output holds that modality's features alone."""
        for m in self.net.encoders:
            features = self.net.encode(batch, [m])
            output = Output(features, self.head(features[m]), self.read_out)
            yield Objective({f"unimodal/{m}": self.loss(output, batch, ctx)}, output, batch)
        self.seen += parallel.total(self.seen.new_tensor(len(batch)))

    @torch.no_grad()
    def modulate(self, objective: Objective, ctx: Context) -> None:
        """Project the head's weight gradient, then absorb this modality's mean feature."""
        if self.variant == "released":
            return
        (features,) = objective.output.features.values()
        gradient = self.head.weight.grad
        gradient.copy_(gradient @ self.projection)
        feature = parallel.mean(features.to(gradient.dtype).mean(0), len(features))
        self.projection.copy_(
            absorb(self.projection, feature, self.base ** (1 + self.seen / self.net.spec.sizes["train"]))
        )


def absorb(projection: Tensor, feature: Tensor, damping: Tensor | float) -> Tensor:
    """Return P - (P r)(P r)' / (damping + r' P r), the projection (D, D) that also blocks the feature r (D,).

    Recursive least squares from P = I, symmetric; as the damping goes to 0, so does P r for every absorbed r.
    """
    gain = projection @ feature
    return projection - torch.outer(gain, gain) / (damping + feature @ gain)


def entropy_weights(logits: Tensor) -> Tensor:
    """Return weights (M, B), summing to 1 over modalities, from logits (M, B, C): the surer, the heavier.

    w_m = exp(max_j e_j - e_m) / sum_i exp(max_j e_j - e_i), e_m the entropy of softmax(logits_m) in nats.
    """
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * log_p).sum(-1).softmax(0)
