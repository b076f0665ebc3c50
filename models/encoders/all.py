"""Encoders: one modality's input (B, ...) in, features (B, D) out; each module carries its width D as `dim`.

Those named in DENSE keep places apart, for segmentation: their features are maps (B, D, h, w).
Every public function is an encoder that a study can name. Encoders draw their initial weights from torch's
generator and nothing at random afterwards. Second derivatives need `gradients.twice_differentiable`.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd, prod
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.errors import UserError
from sweeper.models.values import InputSpec

DEFAULTS = {"vector": "mlp", "image": "convnet", "sequence": "sequence"}
DENSE = ("maps",)
TAKES = {
    "mlp": ("vector", "sequence", "image"),
    "convnet": ("image",),
    "resnet18": ("image",),
    "resnet34": ("image",),
    "resnet50": ("image",),
    "sequence": ("sequence",),
    "maps": ("image",),
}
AXES = {"vector": "(D,)", "sequence": "(T, D)", "image": "(C, H, W)"}


def mlp(spec: InputSpec, *, hidden: int = 64, layers: int = 1, dim: int = 32) -> nn.Module:
    """Return a multi-layer perceptron with ReLU on the flattened input of any kind; features (B, dim) ≥ 0.

    `layers` counts the hidden ones and may be 0.
    """
    _check("mlp", spec, hidden=hidden, dim=dim)
    widths = [prod(spec.shape)] + [hidden] * layers + [dim]
    body = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return _Encoder(dim, nn.Flatten(), *body)


def convnet(
    spec: InputSpec,
    *,
    width: int = 16,
    layers: int = 3,
    dim: int = 64,
    pool: int = 4,
    norm: Literal["none", "batch", "group"] = "none",
) -> nn.Module:
    """Return a small convolutional net for images (C, H, W), made for 8×8 and up; features (B, dim) ≥ 0.

    It has `layers` convolutions of 3×3, `width` channels in the first and twice as many in each that follows;
    all but the first halve the image. The last map is averaged over a grid of at most `pool` × `pool` cells (1:
    over the whole map, which forgets where in a spectrogram a sound is), a linear layer with ReLU follows. No
    batch norm unless asked for: its statistics are over a rank's own rows, so several ranks train unlike one.
    """
    _check("convnet", spec, width=width, layers=layers, pool=pool, dim=dim)
    channels = [spec.shape[0]] + [width * 2**k for k in range(layers)]
    norms = {
        "none": lambda n: [],
        "batch": lambda n: [nn.BatchNorm2d(n)],
        "group": lambda n: [nn.GroupNorm(gcd(8, n), n)],
    }
    body = []
    for stride, (a, b) in zip([1] + [2] * (layers - 1), pairwise(channels), strict=True):
        body += [nn.Conv2d(a, b, 3, stride=stride, padding=1), *norms[norm](b), nn.ReLU()]
    cells = [min(pool, -(-n // 2 ** (layers - 1))) for n in spec.shape[1:]]
    return _Encoder(
        dim,
        *body,
        nn.AdaptiveAvgPool2d(cells),
        nn.Flatten(),
        nn.Linear(channels[-1] * prod(cells), dim),
        nn.ReLU(),
    )


def resnet18(spec: InputSpec, *, width: int = 64) -> nn.Module:
    """Return ResNet-18 from scratch for images with any number of channels; features (B, 8·width) ≥ 0.

    Source: He et al., CVPR 2016, table 1, without the classifier; `width` scales all channels, the paper's
    is 64. Its batch norm takes statistics over a rank's own rows, so several ranks train unlike one, and it
    cannot train on a batch of one row where the last map is 1×1 (images up to 32×32).
    """
    return _resnet("resnet18", spec, width, "basic", [2, 2, 2, 2])


def resnet34(spec: InputSpec, *, width: int = 64) -> nn.Module:
    """Return ResNet-34 from scratch; as `resnet18`, features (B, 8·width) ≥ 0."""
    return _resnet("resnet34", spec, width, "basic", [3, 4, 6, 3])


def resnet50(spec: InputSpec, *, width: int = 64) -> nn.Module:
    """Return ResNet-50 from scratch; as `resnet18`, features (B, 32·width) ≥ 0.

    Deviation: a bottleneck halves the image in its 3×3 convolution, as libraries do, not in the paper's 1×1.
    """
    return _resnet("resnet50", spec, width, "bottleneck", [3, 4, 6, 3])


def sequence(
    spec: InputSpec,
    *,
    kind: Literal["gru", "transformer"] = "gru",
    dim: int = 64,
    layers: int = 1,
    heads: int = 4,
) -> nn.Module:
    """Return a recurrent or attention encoder of sequences (T, D), averaged over time; features (B, dim).

    `gru`: `layers` stacked GRUs (Cho et al., EMNLP 2014). `transformer`: a linear map to `dim`, sinusoidal
    positions and `layers` encoder blocks with `heads` heads (Vaswani et al., NeurIPS 2017). Deviations: layer
    norm stands before each sub-layer and once at the end, so that training needs no warm-up; no dropout.
    Raises UserError if `heads` does not divide `dim`.
    """
    _check("sequence", spec, dim=dim, layers=layers, heads=heads)
    if kind == "gru":
        return _Gru(spec.shape[1], dim, layers)
    if dim % heads:
        raise UserError(f"encoder 'sequence': dim {dim} with {heads} heads; dim must be a multiple of heads")
    blocks = [
        nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
        for _ in range(layers)
    ]
    tokens = (nn.Linear(spec.shape[1], dim), _Positions(spec.shape[0], dim))
    return _Encoder(dim, *tokens, *blocks, nn.LayerNorm(dim), _Mean((1,)))


def maps(spec: InputSpec, *, width: int = 16, layers: int = 3, dim: int = 32) -> nn.Module:
    """Return a small convolutional net that gives maps of an image (C, H, W); features (B, dim, h, w) ≥ 0.

    It has `layers` convolutions of 3×3, `width` channels in the first, twice as many in each that follows and
    `dim` in the last; all but the first halve the image, so h = H / 2^(layers - 1), rounded up.
    """
    _check("maps", spec, width=width, layers=layers, dim=dim)
    channels = [spec.shape[0], *(width * 2**k for k in range(layers - 1)), dim]
    body = []
    for number, (a, b) in enumerate(pairwise(channels)):
        body += [nn.Conv2d(a, b, 3, stride=min(number + 1, 2), padding=1), nn.ReLU()]
    return _Encoder(dim, *body)


def _check(encoder: str, spec: InputSpec, **sizes: int) -> None:
    if spec.kind not in TAKES[encoder]:
        takes = " or ".join(f"{kind} {AXES[kind]}" for kind in TAKES[encoder])
        fit = ", ".join(name for name, kinds in TAKES.items() if spec.kind in kinds and name not in DENSE)
        raise UserError(
            f"encoder {encoder!r} takes a sample of kind {takes}, not a {spec.kind} of shape {spec.shape};"
            f" encoders that fit: {fit}"
        )
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"encoder {encoder!r}: {name} is {size}; admissible: whole numbers from 1")


def _resnet(
    name: str, spec: InputSpec, width: int, layer: Literal["basic", "bottleneck"], depths: list[int]
) -> nn.Module:
    _check(name, spec, width=width)
    from transformers import ResNetConfig, ResNetModel

    first = width if layer == "basic" else 4 * width
    config = ResNetConfig(
        num_channels=spec.shape[0],
        embedding_size=width,
        hidden_sizes=[first * 2**k for k in range(4)],
        depths=depths,
        layer_type=layer,
    )
    return _ResNet(ResNetModel(config), dim=config.hidden_sizes[-1])


class _Encoder(nn.Module):
    def __init__(self, dim: int, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:  # (B, ...) -> (B, dim)
        return self.body(x)


class _Mean(nn.Module):
    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes)


class _ResNet(nn.Module):
    def __init__(self, body: nn.Module, dim: int) -> None:
        super().__init__()
        self.body = body
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, dim)
        return self.body(x).pooler_output.flatten(1)


class _Gru(nn.Module):
    def __init__(self, n_inputs: int, dim: int, layers: int) -> None:
        super().__init__()
        self.body = nn.GRU(n_inputs, dim, layers, batch_first=True)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, dim)
        return self.body(x)[0].mean(1)


class _Positions(nn.Module):
    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        time, channel = torch.arange(length).unsqueeze(1), torch.arange(dim)
        angle = time / 10000 ** (2 * (channel // 2) / dim)
        code = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("code", code, persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, dim), unchanged in shape
        return x + self.code
