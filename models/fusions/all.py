"""Fusions: features {m: (B, D_m)} in, logits (B, C) out, the head included; no method, no encoder in them.

A `dense` one takes maps {m: (B, D_m, h_m, w_m)} and gives logits (B, C, H, W), for segmentation.
All take any number of modalities; with one, all but Lstm are a linear head on it. The order of modalities is
the dataset's, kept in `dims`; it matters to Film, Gated and Lstm only.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.errors import UserError


class Fusion(nn.Module):
    """Base of all fusions; `dims` are {m: D_m} in the dataset's order, `n_outputs` is C."""

    dense: bool = False

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__()
        self.dims = dict(dims)
        self.n_outputs = n_outputs

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return {m: (B, C, …)}: the fused head with the other modalities' features zeroed."""
        zeros = {m: torch.zeros_like(z) for m, z in features.items()}
        return {m: self({**zeros, m: features[m]}) for m in features}


class Concat(Fusion):
    """Linear head on concatenated features; read-out W_m z_m + b/M, whose sum over m is the fused logit.

    Source: LFM section 3.1; the split is OGM-GE's convention.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        self.head = nn.Linear(sum(dims.values()), n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return self.head(torch.cat([features[m] for m in self.dims], dim=-1))

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the exact split of the fused logits."""
        blocks = self.head.weight.split(list(self.dims.values()), dim=1)
        share = self.head.bias / len(self.dims)
        return {m: features[m] @ w.T + share for m, w in zip(self.dims, blocks, strict=True)}


class Sum(Fusion):
    """A linear head per modality, logits summed: l = Σ_m l_m, l_m = W_m z_m + b_m; read-out l_m.

    Source: OGM-GE's summation, LFM's "prediction summation". It expresses the same functions as Concat and
    differs in the number of biases and in the initial scale of the weights.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        self.heads = _heads(dims, n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return sum(self.unimodal(features).values())

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits of each modality's own head, which sum to the fused ones."""
        return {m: self.heads[m](features[m]) for m in self.dims}


class Mean(Fusion):
    """A linear head per modality, logits averaged: l = 1/M Σ_m l_m, l_m = W_m z_m + b_m; read-out l_m.

    Source: LFM's released model, which averages two heads.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        self.heads = _heads(dims, n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return sum(self.unimodal(features).values()) / len(self.dims)

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits of each modality's own head, whose mean is the fused ones."""
        return {m: self.heads[m](features[m]) for m in self.dims}


class Weighted(Fusion):
    """Modalities weighted by attention that depends on the sample; three readings of what is weighted.

    `predictions`: l = Σ_m A_m l_m with l_m = W_m z_m + b_m (LFM's "prediction weighting").
    `features_scalar`: l = W Σ_m A_m z_m + b (CMML, Yang et al., IJCAI 2019).
    In both A = softmax over m of a_m(z_m), and a_m is a multi-layer perceptron with hidden layers of 64, 32.
    `features_elementwise`: l = W Σ_m w_m ∘ z_m + b with w_m = s_m / Σ_j s_j, s_m = softmax of z_m over its
    features; no parameters but the head.

    Read-out: what the fusion gives where the softmax spans one modality alone, l_m or W z_m + b. The mean
    of the read-outs weighted by A is the fused logit, but for `features_elementwise`. Where features are
    weighted, those narrower than the widest are mapped to its width by a linear layer without bias.
    Deviations: each modality has its own perceptron, since widths may differ; CMML's further losses are
    left to a method.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        n_outputs: int,
        *,
        on: Literal["predictions", "features_scalar", "features_elementwise"] = "predictions",
    ) -> None:
        super().__init__(dims, n_outputs)
        width = max(dims.values())
        on_predictions = on == "predictions"
        self.values = _heads(dims, n_outputs) if on_predictions else _align(dims, width)
        self.head = nn.Identity() if on_predictions else nn.Linear(width, n_outputs)
        self.scorers = nn.ModuleDict() if on == "features_elementwise" else _scorers(dims)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        return self._mix({m: features[m] for m in self.dims})

    def unimodal(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the logits where each modality in turn has all the weight."""
        return {m: self._mix({m: features[m]}) for m in self.dims}

    def _mix(self, features: dict[str, Tensor]) -> Tensor:
        values = torch.stack([self.values[m](z) for m, z in features.items()])  # (M, B, C or D)
        if self.scorers:
            scores = torch.stack([self.scorers[m](z) for m, z in features.items()])  # (M, B, 1)
        else:
            scores = values.log_softmax(-1)
        return self.head((scores.softmax(0) * values).sum(0))


class Film(Fusion):
    """Each modality modulates the next: h_1 = z_1, h_k = γ_k ∘ z_k + β_k with [γ_k, β_k] = V_k h_{k-1} + c_k.

    l = W h_M + b. Source: FiLM (Perez et al., AAAI 2018) as OGM-GE and LFM ("Affine") use it for two
    modalities, the first the source; folding more from the left is ours. γ is predicted itself, not as 1 + γ.
    Read-out: the other modalities' features zeroed, so that biases stand in for them.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        steps = pairwise(dims.items())
        self.films = nn.ModuleDict({m: nn.Linear(source, 2 * d) for (_, source), (m, d) in steps})
        self.head = nn.Linear(list(dims.values())[-1], n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        first, *others = self.dims
        h = features[first]
        for m in others:
            gamma, beta = self.films[m](h).chunk(2, dim=-1)
            h = gamma * features[m] + beta
        return self.head(h)


class Gated(Fusion):
    """Each modality gates the next: h_1 = z_1, h_k = sigmoid(U_k h_{k-1} + c_k) ∘ (V_k z_k + e_k).

    l = W h_M + b. Source: OGM-GE's gated head for two modalities, the first the gate; folding more from the
    left is ours. Read-out: the other modalities' features zeroed, so that biases stand in for them.
    """

    def __init__(self, dims: Mapping[str, int], n_outputs: int) -> None:
        super().__init__(dims, n_outputs)
        steps = list(pairwise(dims.items()))
        self.gates = nn.ModuleDict({m: nn.Linear(source, d) for (_, source), (m, d) in steps})
        self.values = nn.ModuleDict({m: nn.Linear(d, d) for _, (m, d) in steps})
        self.head = nn.Linear(list(dims.values())[-1], n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        first, *others = self.dims
        h = features[first]
        for m in others:
            h = self.gates[m](h).sigmoid() * self.values[m](features[m])
        return self.head(h)


class Lstm(Fusion):
    """A stacked LSTM over modalities; a linear head on its last state.

    `modalities`: the features are a sequence of length M, those narrower than the widest mapped to its
    width by a linear layer without bias. `concat`: the concatenated features are a sequence of length 1.
    `hidden` is the width of the LSTM; None means that of the widest features, which gives the source's 512
    for ResNet-18 and stays in proportion for small encoders. `dropout` follows each layer. Read-out: the
    other modalities' features zeroed.

    Source: LFM's ML-LSTM, which cites Nie et al., 2021; no code of it was found, so `modalities` is our
    reading of the name; `concat` with one layer of 512 is what LFM's authors use elsewhere. Second
    derivatives need `gradients.twice_differentiable`. Raises UserError for layers or hidden below 1 and
    dropout outside [0, 1).
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        n_outputs: int,
        *,
        sequence: Literal["modalities", "concat"] = "modalities",
        layers: int = 2,
        hidden: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dims, n_outputs)
        width = max(dims.values())
        hidden = width if hidden is None else hidden
        if layers < 1 or hidden < 1 or not 0 <= dropout < 1:
            raise UserError(
                f"fusion 'lstm' got layers {layers}, hidden {hidden}, dropout {dropout};"
                " admissible: layers and hidden from 1, dropout from 0 to below 1"
            )
        self.sequence = sequence
        self.align = _align(dims, width) if sequence == "modalities" else nn.ModuleDict()
        n_inputs = width if sequence == "modalities" else sum(dims.values())
        between = dropout if layers > 1 else 0.0  # torch warns where there is no layer to drop between
        self.lstm = nn.LSTM(n_inputs, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, n_outputs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C)."""
        if self.sequence == "modalities":
            steps = torch.stack([self.align[m](features[m]) for m in self.dims], dim=1)  # (B, M, D)
        else:
            steps = torch.cat([features[m] for m in self.dims], dim=-1).unsqueeze(1)  # (B, 1, ΣD)
        return self.head(self.dropout(self.lstm(steps)[0][:, -1]))


class Decoder(Fusion):
    """Logits of every pixel from maps: concatenated at the finest one's size, mixed, read out, enlarged.

    A convolution of 3×3 to `hidden` channels with ReLU, one of 1×1 to the logits; both enlargements are
    bilinear. Read-out: the other modalities' maps zeroed. Source: the usual light decoder of encoder-decoder
    segmentation, such as Xie et al., SegFormer, NeurIPS 2021, with modalities in place of scales. Raises
    UserError for hidden below 1.
    """

    dense = True

    def __init__(
        self, dims: Mapping[str, int], n_outputs: int, height: int, width: int, *, hidden: int = 32
    ) -> None:
        super().__init__(dims, n_outputs)
        if hidden < 1:
            raise UserError(f"fusion 'decoder' got hidden {hidden}; admissible: whole numbers from 1")
        self.size = (height, width)
        self.mix = nn.Conv2d(sum(dims.values()), hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, n_outputs, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Return logits (B, C, H, W)."""
        finest = max((z.shape[-2:] for z in features.values()), key=prod)
        maps = torch.cat([_enlarged(features[m], finest) for m in self.dims], dim=1)
        return _enlarged(self.head(self.mix(maps).relu()), self.size)


def _enlarged(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear")


def _heads(dims: Mapping[str, int], n_outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({m: nn.Linear(d, n_outputs) for m, d in dims.items()})


def _align(dims: Mapping[str, int], width: int) -> nn.ModuleDict:
    # Without bias, so that the zeroed features of an absent modality stay zero.
    same, to_width = nn.Identity, lambda d: nn.Linear(d, width, bias=False)
    return nn.ModuleDict({m: same() if d == width else to_width(d) for m, d in dims.items()})


def _scorers(dims: Mapping[str, int]) -> nn.ModuleDict:
    def scorer(d: int) -> nn.Module:
        return nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    return nn.ModuleDict({m: scorer(d) for m, d in dims.items()})
