"""Quality-aware multimodal fusion: logits weighed by their energy, which is trained to fall where losses were high."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.evidence import full, fuse, mean_weights, trust, uncertainty
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.presence import present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, EpochRows, Output


class Qmf(Method):
    """Minimise CE(fused) + Σ_m CE(l_m) + `lam` Σ_m rank_m, with the fused logits Σ_m c_m l_m, c_m without gradient.

    Shapes: l_m (B, C), a linear head's logits; c_m (B,), the energy logsumexp(l_m) / 10. Weights are not normalised,
    and negative where the energy is. κ_m of a training row is the sum of its losses CE(l_m) over all epochs, this
    step's included; k is κ between its least, at 0, and its greatest, at 1, of all training rows, those not seen
    yet included; 0 where all are equal. Each row i of a batch and the next one j, the first after the last, give
    rank_m = mean_i max(0, s (c_i - c_j) + `margin` |k_i - k_j|), s = sign(k_i - k_j): what was hard is to have less
    energy. `margin` 1 asks for a distance of k's size; -1, as in the authors' program, allows a wrong order by it.
    A modality that a row lacks weighs 0 there, adds no loss, stands in no pair and leaves its κ.

    Logs `weight/<modality>`. Output.extra, by row (B,): `weight/<modality>`, c_m; `uncertainty/<modality>`, -c_m, and
    `uncertainty`, that of the fused logits.

    Source: Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data, ICML 2023; the paper's margin, for
    all else the authors' program for text and images, of which `lam` 1 is. Theirs for RGB-D has 0.1, lets the
    gradient through the weights and adds to κ after the step. Refuses one modality: there is nothing to weigh.
    """

    modalities = (2, None)
    fuses = False

    def __init__(self, net: Net, task: Task, *, lam: NonNegative = 1.0, margin: Literal[1, -1] = 1) -> None:
        super().__init__(net, task)
        self.lam, self.margin = lam, margin
        self.heads = Heads(net.dims, task.n_outputs)
        self.register_buffer("history", torch.zeros(len(net.encoders), net.spec.rows))
        self.rows: Tensor | slice = slice(None)

    def epoch_rows(self, rows: Tensor, ctx: Context) -> EpochRows:
        """Return all rows, and remember which they are: the history of the others stays 0."""
        self.rows = rows
        return super().epoch_rows(rows, ctx)

    def forward(self, batch: Batch) -> Output:
        """Return features, the logits weighed by energy as fused (B, C), and the heads as read-out."""
        features = self.net.encode(batch)
        logits = self.heads(features)
        found = trust(torch.stack(list(logits.values())), present_in(batch, logits), "ES")
        fused, extra = fuse(logits, *found, "ES")
        return Output(features, fused, self.heads, extra)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the loss of the fused logits and of every head, and the weighted rank loss."""
        for name, value in mean_weights(output.extra).items():
            ctx.log(name, value)
        logits = torch.stack([full(x) for x in output.unimodal.values()])
        present = present_in(batch, output.unimodal)
        losses = torch.stack([self.task.losses(x, batch.target) for x in logits]).where(present, 0.0)
        means = dict(zip(output.unimodal, losses.mean(1), strict=True))
        rank = self.rank(-uncertainty(logits, "ES"), losses, present, batch.index)
        return {
            "fused": self.task.loss(output.fused, batch.target, batch.weight),
            **{f"unimodal/{m}": mean for m, mean in means.items()},
            "rank": self.lam * rank,
        }

    def rank(self, energy: Tensor, losses: Tensor, present: Tensor, index: Tensor) -> Tensor:
        """Add the losses (M, B) to the history; return Σ_m rank_m of this rank's rows, the next one on any rank."""
        told = {"index": index, "losses": losses.detach().T, "present": present.T.byte()}
        every = parallel.gathered(told)
        self.history[:, every["index"]] += every["losses"].T.to(self.history)
        hard = normalised(self.history, self.rows)[:, every["index"]]
        there, energies = every["present"].T.bool(), parallel.gather(energy.T).T
        own = parallel.offset(len(index), index.device) + torch.arange(len(index), device=index.device)
        after = (own + 1) % len(every["index"])
        found = ranked(energy - energies[:, after], hard[:, own] - hard[:, after], self.margin)
        return found.where(present & there[:, after], 0.0).mean(1).sum()


def normalised(history: Tensor, rows: Tensor | slice) -> Tensor:
    """Return a history (M, N) shifted and scaled to run from 0 to 1 over `rows`; 0 if it is the same in all."""
    least, most = history[:, rows].aminmax(dim=1, keepdim=True)
    return (history - least) / torch.where(most > least, most - least, 1)


def ranked(energy: Tensor, hard: Tensor, margin: float) -> Tensor:
    """Return max(0, s Δc + margin |Δk|), s = sign(Δk), of the differences Δc = `energy` and Δk = `hard` of pairs."""
    return (hard.sign() * energy + margin * hard.abs()).relu().to(energy)
