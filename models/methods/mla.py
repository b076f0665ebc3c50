"""Alternating unimodal adaptation: one optimiser step per modality, one head shared by all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.all import Task
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
    update, not before the batch's first; entropy weights are per row, not per batch. Unimodal read-out: the
    shared head. A modality that a row lacks votes there with the head's bias. Raises UserError if the
    encoders' widths differ or `base` is not positive.
    """

    fuses = False

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        variant: Literal["paper", "released"] = "paper",
        base: float = 0.1,
        combine: Literal["entropy", "mean"] = "entropy",
    ) -> None:
        super().__init__(net, task)
        widths = [encoder.dim for encoder in net.encoders.values()]
        if len(set(widths)) > 1:
            found = ", ".join(f"{m} {d}" for m, d in zip(net.encoders, widths, strict=True))
            raise UserError(f"mla shares one head, so all encoders need one feature width; found: {found}")
        if base <= 0:
            raise UserError(f"mla: base is {base}; admissible: a positive number")
        self.variant, self.base, self.combine = variant, base, combine
        self.head = nn.Linear(widths[0], task.n_outputs)
        self.register_buffer("projection", torch.eye(widths[0]))
        self.register_buffer("rows", torch.tensor(0))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, batch: Batch) -> Output:
        """Return features, the modalities' weighted mean logits as fused (B, C), and the head as read-out."""
        features = {m: self.net.encode(m, batch) for m in self.net.encoders}
        logits = torch.stack(list(self.read_out(features).values()))
        if self.combine == "mean":
            return Output(features, logits.mean(0), self.read_out)
        return Output(features, (entropy_weights(logits).unsqueeze(-1) * logits).sum(0), self.read_out)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the shared head's logits (B, C) on every modality's features."""
        return {m: self.head(z) for m, z in features.items()}

    def on_epoch_start(self, ctx: Context) -> None:
        """Begin the epoch's count of rows seen; once, count the training rows."""
        self.seen.zero_()
        if self.variant == "paper" and not self.rows:
            self.rows.fill_(sum(len(batch) for batch in ctx.train()))

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective per modality; its output holds that modality's features alone."""
        for m in self.net.encoders:
            features = {m: self.net.encode(m, batch)}
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
        self.projection.copy_(absorb(self.projection, feature, self.base ** (1 + self.seen / self.rows)))


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
