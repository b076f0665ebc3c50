"""Channels of every modality's maps gated by what all modalities show."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from sweeper.models.fusions.base import Fusion
from sweeper.models.maths.heads import Heads
from sweeper.models.schema.ranges import Count

Gates = dict[str, Tensor]


class Mmtm(Fusion):
    """Squeeze and excite across modalities after each of the encoders' `last` stages; the mean of linear heads.

    Of maps F_m (B, C_m, ...), averaged over positions and frames that are there into s_m (B, C_m), come
    e = ReLU(W [s_1, …, s_M] + b) of width 2 Σ C_m / `ratio` and gates g_m = sigmoid(V_m e + c_m); F_m becomes
    F_m · g_m, the same in all places and frames. Encoders without maps exchange their features so. Then
    l = 1/M Σ_m l_m, l_m = W_m z_m + b_m; read-out l_m, in which the gates still carry what the others show.
    `steer`, if a method sets it, is given a stage's number and gates {m: (B, C_m)} and returns those to use.

    Source: MMTM (Joze et al., CVPR 2020), which LFM calls "Channel"; after the last three stages as in Wu et al.
    (ICML 2022) and Fan et al. (CVPR 2023). Deviations: the published programs train each l_m by its own loss, here the
    method says what is minimised; more than two modalities are ours.
    """

    reads = "stages"

    def __init__(
        self,
        dims: Mapping[str, int],
        n_outputs: int,
        *,
        stages: Mapping[str, Mapping[str, int]],
        ratio: Count = 4,
        last: Count = 3,
    ) -> None:
        super().__init__(dims, n_outputs)
        channels = [
            dict(zip(stages, own, strict=True))
            for own in zip(*(s.values() for s in stages.values()), strict=True)
        ]
        self.first = max(0, len(channels) - last)
        self.squeeze, self.excite = nn.ModuleList(), nn.ModuleList()
        for own in channels[self.first :]:
            width = sum(own.values())
            hidden = max(1, 2 * width // ratio)
            self.squeeze.append(nn.Linear(width, hidden))
            self.excite.append(nn.ModuleDict({m: nn.Linear(hidden, n) for m, n in own.items()}))
        self.heads = Heads(dims, n_outputs)
        self.steer: Callable[[int, Gates], Gates] | None = None

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return sum(self.unimodal(features).values()) / len(self.dims)

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits of each modality's own head, whose mean is the fused ones."""
        return self.heads({m: features[m] for m in self.dims})

    def exchange(self, stage: int, maps: dict[str, Tensor], mask: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the maps times their gates; those before the `last` stages as they are."""
        number = stage - self.first
        if number < 0:
            return maps
        like, heads = next(iter(maps.values())), self.excite[number]
        squeezed = [
            _mean(maps[m], mask.get(m)) if m in maps else like.new_zeros(len(like), head.out_features)
            for m, head in heads.items()
        ]
        excited = self.squeeze[number](torch.cat(squeezed, dim=-1)).relu()
        gates = {m: heads[m](excited).sigmoid() for m in maps}
        if self.steer:
            gates = self.steer(number, gates)
        return {m: z * gates[m].view(*z.shape[:2], *[1] * (z.dim() - 2)) for m, z in maps.items()}


def _mean(maps: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean (B, C) over all places, of a video (B, C, T, h, w) in the frames that are there."""
    if maps.dim() == 2:
        return maps
    everywhere = maps.flatten(2).mean(-1)
    if mask is None or maps.dim() < 5:
        return everywhere
    return everywhere * mask.shape[1] / mask.sum(1, keepdim=True).clamp_min(1)
