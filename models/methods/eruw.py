"""Late fusion by evidence-based ratio uncertainty: what each row's modalities weigh is read off their logits."""

from __future__ import annotations

import torch
from torch import Tensor

from sweeper.models.maths.evidence import Probability, Score, emc, fuse, mean_weights, trust
from sweeper.models.maths.heads import Heads
from sweeper.models.maths.presence import present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import Share
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, Output

TRAINED = 1


class Eruw(Method):
    """Fuse a linear head per modality as Σ_m w_m l_m, w_m ∝ 1 - u_m row by row; all heads and the sum are trained.

    u_m is the ratio of the two largest probabilities of the Dirichlet with evidence softplus(l_m); no gradient
    flows through the weights. The loss is the sum of the heads' and the fused logits' asymmetric losses
    (1 - p_y^q) / q, q = `q_right` in rows that are right and `q_wrong` in the others; 0 and 0 is cross-entropy.
    `score` names the uncertainty that weighs at prediction, once training is done: all scores judge the same
    weights, and the epoch kept is the best one under RC. `probability` is the p of all scores but Evd and ES.

    Source: Ge and Chen, two-stage dynamic fusion, INFORMS Journal on Computing (10.1287/ijoc.2023.0448), stage
    1 with the released code's formulas; the supplement names them only. The published learning rate 5e-5 is
    for pretrained encoders. Deviations: rows with ties in all modalities weigh them equally (0 / 0 in the
    code); a modality that a row lacks weighs 0 there and adds no loss. Refuses one modality: there is nothing
    to weigh.

    Logs `weight/<modality>`. Output.extra, by row (B,): `weight/<modality>`, `uncertainty/<modality>` and
    `uncertainty`, that of the fused logits.
    """

    modalities = (2, None)
    fuses = False
    after_training = ("score",)

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        score: Score = "RC",
        probability: Probability = "dirichlet",
        q_right: Share = 1.0,
        q_wrong: Share = 0.1,
    ) -> None:
        super().__init__(net, task)
        self.score, self.probability = score, probability
        self.q = {"right": q_right, "wrong": q_wrong}
        self.heads = Heads(net.dims, task.n_outputs)

    def forward(self, batch: Batch) -> Output:
        """Return features, the weighted sum of the heads' logits as fused (B, C), and the heads as read-out."""
        features = self.net.encode(batch)
        logits = self.heads(features)
        score = self.score if self.stage == TRAINED else "RC"
        found = trust(torch.stack(list(logits.values())), present_in(batch, logits), score, self.probability)
        fused, extra = fuse(logits, *found, score, self.probability)
        return Output(features, fused, self.heads, extra)

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the asymmetric loss of every head and of the fused logits."""
        for name, value in mean_weights(output.extra).items():
            ctx.log(name, value)
        present = present_in(batch, output.unimodal)
        return emc(output.unimodal, output.fused, batch.target, present, **self.q)

    def on_phase_end(self, ctx: Context) -> None:
        """From here on weigh by `score`."""
        self.stage.fill_(TRAINED)
