"""The contract of fusions: features of all modalities in, logits (B, C) out, the head included."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sweeper.models.values import Tokens


class Fusion(nn.Module):
    """Base of all fusions; `dims` are {m: D_m} in the dataset's order, `n_outputs` is C.

    `tasks` names the tasks whose logits it gives, `reads` how it reads encoders: pooled features {m: (B, D_m)},
    tokens {m: Tokens}, maps {m: (B, D_m, h_m, w_m)}, or stages: pooled, after `exchange`. A subclass that names them
    as keyword-only arguments is given `size`, the (H, W) of a target in segmentation, and `stages`, {m: {stage:
    channels}}. All take any number of modalities; with one, all but Lstm and Mmtm are a linear head on it. The order of
    modalities is the dataset's, kept in `dims`; it matters to Film, Gated and Lstm only.
    """

    tasks: tuple[str, ...] = ("classification", "multilabel", "regression")
    reads: str = "pooled"

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__()
        self.dims = dict(dims)
        self.n_outputs = n_outputs

    def unimodal(self, features: dict[str, Tensor | Tokens]) -> dict[str, Tensor]:
        """Return {m: (B, C, …)}: the fused head with the other modalities' features zeroed."""
        zeros = {m: _zeroed(z) for m, z in features.items()}
        return {m: self({**zeros, m: features[m]}) for m in features}

    def exchange(self, stage: int, maps: dict[str, Tensor], mask: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the encoders' maps {m: (B, C_m, ...)} after their stage number `stage`, from 0, become.

        `mask` {m: (B, T)} says which frames of a video (B, C_m, T, h, w) are there; the others are 0.
        """
        return maps


def aligned(dims: Mapping[str, int], width: int) -> nn.ModuleDict:
    """Return a map of each modality's features to `width`: the identity, or linear where they have another.

    Without bias, so that the zeroed features of an absent modality stay zero.
    """
    same, to_width = nn.Identity, lambda d: nn.Linear(d, width, bias=False)
    return nn.ModuleDict({m: same() if d == width else to_width(d) for m, d in dims.items()})


def _zeroed(features: Tensor | Tokens) -> Tensor | Tokens:
    if isinstance(features, Tokens):
        return Tokens(torch.zeros_like(features.values), torch.zeros_like(features.mask))
    return torch.zeros_like(features)
