"""Late fusion by evidence-based ratio uncertainty: what each row's modalities weigh is read off their logits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.errors import UserError
from sweeper.models.maths.evidence import emc, fuse, mean_weights, present_in, trust
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.all import Task
from sweeper.models.values import Batch, Context, Output


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
    to weigh. Raises UserError unless 0 <= q <= 1.

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
        score: Literal["RC", "Evd", "PE", "LC", "MC", "ES"] = "RC",
        probability: Literal["dirichlet", "softmax"] = "dirichlet",
        q_right: float = 1.0,
        q_wrong: float = 0.1,
    ) -> None:
        super().__init__(net, task)
        for name, q in (("q_right", q_right), ("q_wrong", q_wrong)):
            if not 0 <= q <= 1:
                raise UserError(f"method 'eruw': {name} is {q}; admissible: 0 to 1")
        self.score, self.probability = score, probability
        self.q = {"right": q_right, "wrong": q_wrong}
        self.heads = nn.ModuleDict({m: nn.Linear(e.dim, task.n_outputs) for m, e in net.encoders.items()})
        self.register_buffer("trained", torch.tensor(False))

    def forward(self, batch: Batch) -> Output:
        """Return features, the weighted sum of the heads' logits as fused (B, C), and the heads as read-out."""
        features = {m: self.net.encode(m, batch) for m in self.net.encoders}
        logits = self.read_out(features)
        stacked, present = torch.stack(list(logits.values())), present_in(batch, logits)
        score = self.score if self.trained else "RC"
        found = trust(stacked, present, score, self.probability)
        fused, extra = fuse(logits, *found, score, self.probability)
        return Output(features, fused, self.read_out, extra)

    def read_out(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return every head's logits (B, C) on its modality's features."""
        return {m: self.heads[m](z) for m, z in features.items()}

    def loss(self, output: Output, batch: Batch, ctx: Context) -> dict[str, Tensor]:
        """Return the asymmetric loss of every head and of the fused logits."""
        for name, value in mean_weights(output.extra).items():
            ctx.log(name, value)
        present = present_in(batch, output.unimodal)
        return emc(output.unimodal, output.fused, batch.target, present, **self.q)

    def on_phase_end(self, ctx: Context) -> None:
        """From here on weigh by `score`."""
        self.trained.fill_(True)
