"""On-the-fly prediction modulation: drop the features of the modality that is ahead, row by row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.maths.presence import present_in, times
from sweeper.models.maths.scores import mean_where, true_class
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, Share, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output

LEAST_LEAD = 1e-6  # less is rounding: where the mean of the others stands for a modality that no row has, say


class Opm(Method):
    """Drop the dominant modality's features from each row with a probability that grows with its lead.

    Shapes: z_m (B, D_m), logits (B, C). s_m is the mean over the global batch's rows that have m of p_m(true class),
    p_m = softmax of the unimodal read-out (of a linear head W_m z_m + b/M) of undropped z; `drop_rates` turns the
    scores into q_m, 0 for all that lead nothing. Each row's z_m becomes mask z_m / (1 - theta), mask 0 with
    probability q_m and else 1, theta = Σ D_m q_m / Σ D_m: the scale is that of all modalities alike. A row that is
    left without any modality does not count in the mean; a batch without any other row makes no step. This is done to
    a batch with probability `p_exe`, from epoch `warmup` of the phase on, counted from 0; elsewhere, and at
    prediction, training is joint. Neutral: `p_exe` 0 is joint training to the bit. Logs `drop/<modality>`, the q_m of
    batches that it is done to.

    Source: Wei et al., TPAMI 2024, the feature-modulating half of balanced multimodal learning; defaults are those of
    the released script. Deviations: for more than two modalities s_m is compared with the mean of the others, ours.
    """

    modalities = (2, None)
    reads = ("pooled",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        q_base: Share = 0.5,
        lam: NonNegative = 0.5,
        p_exe: Share = 0.7,
        warmup: Whole = 6,
    ) -> None:
        super().__init__(net, task)
        self.q_base, self.lam, self.p_exe, self.warmup = q_base, lam, p_exe, warmup

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, of the rows that keep a modality; none if there are no such rows on any rank."""
        drawn = torch.rand((), generator=ctx.generator("execute"))
        if ctx.epoch < self.warmup or drawn >= self.p_exe:
            yield from super().objectives(batch, ctx)
            return
        features = self.net.encode(batch)
        present = present_in(batch, features)
        q = self._drop_rates(features, batch, present, ctx)
        kept = present.T & ~self._dropped(q, batch, ctx)
        left, (rows, _) = kept.any(1), parallel.place(len(batch), q.device)
        number = parallel.total(left.sum())
        if not number:
            return
        widths = torch.tensor([float(self.net.dims[m]) for m in features], device=q.device)
        theta = (widths * q).sum() / widths.sum()
        fused = self.net.fuse(times(kept / (1 - theta), features))
        weight = left * (rows / number) * (1 if batch.weight is None else batch.weight)
        loss = self.task.loss(fused, batch.target, weight)
        yield Objective(loss, Output(features, fused, self.net.fusion.unimodal), batch)

    @torch.no_grad()
    def _drop_rates(self, features: dict[str, Tensor], batch: Batch, present: Tensor, ctx: Context) -> Tensor:
        """Return q (M,), the same on all ranks."""
        logits = torch.stack(list(self.net.fusion.unimodal(features).values()))
        q = drop_rates(mean_where(true_class(logits, batch.target), present), self.q_base, self.lam)
        for m, value in zip(features, q.tolist(), strict=True):
            ctx.log(f"drop/{m}", value)
        return q

    def _dropped(self, q: Tensor, batch: Batch, ctx: Context) -> Tensor:
        """Return which rows are to lose which modality, (B, M) bool."""
        rows, start = parallel.place(len(batch), q.device)
        drawn = [torch.rand(rows, generator=ctx.generator("drop", m)) for m in self.net.encoders]
        return torch.stack(drawn, 1)[start : start + len(batch)].to(q.device) < q


def drop_rates(scores: Tensor, base: float, lam: float) -> Tensor:
    """Return q (M,) from scores s (M,), M >= 2: base (1 + lam r_m), at most 1, where m has a lead r_m, else 0.

    r_m = tanh(s_m / mean of the other modalities' scores - 1) where that is above LEAST_LEAD.
    """
    others = (scores.sum() - scores) / (len(scores) - 1)
    lead = torch.tanh((scores / others - 1).relu())
    return torch.where(lead > LEAST_LEAD, (base * (1 + lam * lead)).clamp(max=1.0), 0.0)
