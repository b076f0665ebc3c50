"""ReconBoost: boosting over modalities, one at a time learning what the others' ensemble gets wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.maths.evidence import full
from sweeper.models.maths.presence import present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Count, NonNegative, Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output, Phase

ALONE, TOGETHER = range(2)  # what the phases of a stage train, in turn


class Reconboost(Method):
    """Fuse F = ρ Σ_m l_m, l_m = h(z_m), over the modalities added so far; in stages add one, then train them together.

    Shapes: z_m (B, D), the shared head h a perceptron with `hidden` units, l_m and F (B, C), ρ a learned scalar from 1.
    Stage t is that of modality k = t mod M, in the dataset's order, on which the result depends.

    First, encoder k and the head train alone, `alone` epochs, on the mean over rows of
    (1/C) (`w1` - `w2` q_y) CE(l_k) + `agreement` mean_c (p_k - p_j)², y the row's class: q = softmax(F without k) and
    p_j = softmax(l_j), j the modality of the stage before, take no gradient, p_k = softmax(l_k) does. Where there is
    no other modality yet, q is 1 and there is no second term. Then all encoders added so far, head and ρ train
    `together` epochs on CE(F). Each phase has an optimiser, and a schedule of the learning rate, of its own.

    There are as many stages as fit into the run's epochs, one per modality at least; their epochs are stretched or cut
    in proportion, so that a run is as long as other methods' (published: 100 stages of 4 + 4 epochs). What is kept is
    the best epoch of the last phase. A modality that a row lacks does not vote there and has no loss. Unimodal
    read-out: h. With one modality it is that modality's perceptron. Raises UserError if `w2` is above `w1`, as losses
    would be negative.

    Source: Hua et al., ICML 2024, Algorithm 1, with the published program's settings for CREMA-D. Deviations from that
    program: it detaches p_k too, so that its second term trains nothing; it moves the others' batch statistics while
    k trains alone, which are in evaluation mode here; its learning rate falls every 30 stages. Its optional unimodal
    pre-training is left out.
    """

    fuses = False
    equal_widths = True

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        w1: Positive = 5.0,
        w2: NonNegative = 1.0,
        agreement: NonNegative = 0.5,
        alone: Count = 4,
        together: Count = 4,
        hidden: Count = 256,
    ) -> None:
        super().__init__(net, task)
        if w2 > w1:
            raise UserError(
                f"method 'reconboost': w2 is {w2}; admissible: a number from 0 to w1, which is {w1}"
            )
        self.w1, self.w2, self.agreement = w1, w2, agreement
        self.lengths = (alone, together)
        width = next(iter(net.dims.values()))
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, task.n_outputs))
        self.rho = nn.Parameter(torch.ones(()))
        self.stage.fill_(2 * len(net.encoders) - 1)

    def phases(self, epochs: int) -> list[Phase]:
        """Return two phases for each stage, of the run's epochs together; the last has one at least."""
        modalities = list(self.net.encoders)
        cycle = sum(self.lengths)
        stages = max(len(modalities), epochs // cycle)
        ends = [t * cycle + done for t in range(stages) for done in (self.lengths[0], cycle)]
        scaled = [min(math.ceil(end * epochs / (stages * cycle)), epochs - 1) for end in ends[:-1]] + [epochs]
        found = []
        for number, (start, end) in enumerate(zip([0, *scaled], scaled, strict=False)):
            t, part = divmod(number, 2)
            added = modalities[: t + 1] if part == TOGETHER else [modalities[t % len(modalities)]]
            train = (*(f"net.encoders.{m}" for m in added), "head", *["rho"] * part)
            keep = "best" if number == len(ends) - 1 else "last"
            found.append(Phase(f"{('alone', 'together')[part]} {t}", end - start, train, keep))
        return found

    def forward(self, batch: Batch) -> Output:
        """Return features, the ensemble's logits (B, C), and the head on every modality as read-out."""
        features = self.net.encode(batch)
        return Output(features, self.ensemble(self.read_out(features), batch), self.read_out)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the head's logits (B, C) on every modality's features."""
        return {m: self.head(z) for m, z in features.items()}

    def ensemble(self, logits: dict[str, Tensor], batch: Batch, without: str | None = None) -> Tensor:
        """Return ρ times the sum of logits (B, C) over the modalities added, of those that a row has."""
        there = dict(zip(logits, present_in(batch, logits).unsqueeze(-1), strict=True))
        return self.rho * sum(full(logits[m]) * there[m] for m in self._added if m != without)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the ensemble's loss, or those of the modality that trains alone."""
        t, part = divmod(int(self.stage), 2)
        if part == TOGETHER:
            return {"ensemble": super().loss(output, batch, ctx)}
        modalities = list(self.net.encoders)
        m, before = modalities[t % len(modalities)], modalities[(t - 1) % len(modalities)]
        logits = output.unimodal
        own, others = full(logits[m]), None
        if len(self._added) > 1:
            others = self.ensemble(logits, batch, without=m).detach()
        present = present_in(batch, [m, before])
        counted = present[0].to(own) * (1 if batch.weight is None else batch.weight)
        losses = {"boosting": (boosting(own, others, batch.target, self.w1, self.w2) * counted).mean()}
        if self.agreement and others is not None:
            apart = own.softmax(-1) - full(logits[before]).detach().softmax(-1)
            losses["agreement"] = self.agreement * (apart.square().mean(-1) * counted * present[1]).mean()
        return losses

    @property
    def _added(self) -> list[str]:
        return list(self.net.encoders)[: int(self.stage) // 2 + 1]


def boosting(own: Tensor, others: Tensor | None, target: Tensor, w1: float, w2: float) -> Tensor:
    """Return each row's loss (B,): cross-entropy of logits `own` (B, C) times (w1 - w2 q_y) / C.

    q is the softmax of the other modalities' logits `others` (B, C), 1 where there are none.
    """
    q = 1.0
    if others is not None:
        q = others.softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return (w1 - w2 * q) * cross_entropy(own, target, reduction="none") / own.shape[-1]
