"""DGL: encoders learn from the unimodal losses alone, the head from the fused loss alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sweeper.models.maths.presence import kept_only
from sweeper.models.method import Gradients, Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Positive
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Objective, Output


class Dgl(Method):
    """Train the encoders on `alpha` Σ_m L(l_m) and all else on L(l), so that neither disturbs the other.

    Shapes: z_m (B, D_m), logits (B, C). l is the fusion's of all z without gradient to them, l_m that of z_m, the
    other modalities' features zeroed: of a linear head W_m z_m + b, with all of its bias. The fusion takes no gradient
    from l_m, though l_m passes through it. A row that lacks m moves no parameter by its l_m. Prediction is from l; the
    unimodal read-out is the fusion's own, whose bias may be a share of b. With one modality this is joint training
    whose encoder's gradient is times `alpha`; there is no neutral setting otherwise.

    Source: Wei, Luo and Luo, ICCV 2025 (arXiv 2507.10213); `alpha` is 4 or 5 for CREMA-D and 2 to 3 for
    Kinetics-Sounds in the released program, which clips the norm of the gradient to 40. Deviations: none known; that
    program makes two backward passes and deletes the fusion's gradients between them.
    """

    tasks = ("classification", "multilabel", "regression")
    reads = ("pooled",)

    def __init__(self, net: Net, task: Task, *, alpha: Positive = 4.0) -> None:
        super().__init__(net, task)
        self.alpha = alpha

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective, of the fused loss and of the unimodal ones."""
        features = self.net.encode(batch)
        fused = self.net.fuse({m: z.detach() for m, z in features.items()})
        alone = kept_only(self.net.fuse, features, torch.eye(len(features), device=fused.device))
        losses = {
            "fused": self.task.loss(fused, batch.target, batch.weight),
            "unimodal": self.alpha * sum(self.task.loss(x, batch.target, batch.weight) for x in alone),
        }
        yield Objective(losses, Output(features, fused, self.net.fusion.unimodal), batch)

    def combine(self, gradients: Mapping[str, Gradients], ctx: Context) -> dict[str, Tensor]:
        """Return the encoders' gradients of the unimodal losses, and the others' of the fused one."""
        own = {n: g for n, g in gradients["unimodal"].items() if n.startswith("net.encoders.")}
        return {**gradients["fused"], **own}
