"""Joint training with one auxiliary unimodal loss per modality, all of weight one."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sweeper.models.maths.heads import Heads
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output


class Uniform(Method):
    """Minimise L(fused) + sum over modalities of L(head_m(z_m)); predict from the fused logits.

    Shapes: z_m (B, D_m), head logits (B, C). The heads are linear and apart from the fusion; the unimodal read-out
    is the heads, not a split of the fused logits. Source: the uniform baseline of MMPareto (Wei and Hu, ICML 2024),
    the neutral element of its gradient rule.
    """

    tasks = ("classification", "multilabel", "regression")
    reads = ("pooled",)

    def __init__(self, net: Net, task: Task) -> None:
        super().__init__(net, task)
        self.heads = Heads(net.dims, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return the net's output with the heads as unimodal read-out."""
        return replace(self.net(batch), read_out=self.heads)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the fused loss and the loss of every head."""
        heads = {f"unimodal/{m}": self.task.loss(x, batch.target) for m, x in output.unimodal.items()}
        return {"fused": super().loss(output, batch, ctx), **heads}
