"""ResNets for images and videos, from scratch or with given weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from sweeper.models.encoders.base import ImageEncoder
from sweeper.models.errors import UserError, one_line
from sweeper.models.pretrained import loaded, located
from sweeper.models.schema.ranges import Count
from sweeper.models.values import InputSpec

if TYPE_CHECKING:
    from transformers import ResNetModel


class _Resnet(ImageEncoder):
    """A ResNet without its classifier, for images with any number of channels (He et al., CVPR 2016, table 1).

    `width` scales all channels, the paper's is 64. `weights` is a ResNet as Hugging Face keeps it, by its folder or its
    name on the hub, which decides the architecture: `width` counts no more. Where images have another number of
    channels than it was trained with, as spectrograms do, its first convolution shares the sum of its weights evenly
    among theirs: a grey image of one channel gives the features that it gives as RGB. Unless it is synchronised, batch
    norm takes its statistics over a rank's own rows, and it cannot train on a batch of one row where the last map is
    1×1 (images up to 32×32). Raises UserError for weights that cannot be read.
    """

    reads = ("pooled", "tokens", "maps", "stages")
    layer = "basic"
    depths = (2, 2, 2, 2)

    def __init__(self, spec: InputSpec, *, width: Count = 64, weights: Path | None = None) -> None:
        from transformers import ResNetConfig, ResNetModel

        channels = spec.shape[-3]
        if weights:
            net = _loaded(str(weights), channels)
        else:
            first = width if self.layer == "basic" else 4 * width
            config = ResNetConfig(
                num_channels=channels,
                embedding_size=width,
                hidden_sizes=[first * 2**k for k in range(4)],
                depths=list(self.depths),
                layer_type=self.layer,
            )
            net = ResNetModel(config)
        super().__init__(net.config.hidden_sizes[-1])
        names = [f"layer{k}" for k in range(1, 1 + len(net.encoder.stages))]
        self.begin = net.embedder
        self.blocks = nn.ModuleDict(dict(zip(names, net.encoder.stages, strict=True)))
        self.stages = dict(zip(names, net.config.hidden_sizes, strict=True))
        self.end = nn.Sequential(net.pooler, nn.Flatten())


class Resnet18(_Resnet):
    """ResNet-18; features (B, 8·width) ≥ 0."""


class Resnet34(_Resnet):
    """ResNet-34; features (B, 8·width) ≥ 0."""

    depths = (3, 4, 6, 3)


class Resnet50(_Resnet):
    """ResNet-50; features (B, 32·width) ≥ 0.

    Deviation: a bottleneck halves the image in its 3×3 convolution, as libraries do, not in the paper's 1×1.
    """

    layer = "bottleneck"
    depths = (3, 4, 6, 3)


def _loaded(model: str, channels: int) -> ResNetModel:
    from transformers import ResNetModel

    try:
        net = loaded(ResNetModel, located(model))
    except Exception as error:  # whatever reading a foreign or damaged folder raises
        raise UserError(
            f"weights {model!r} are no ResNet ({one_line(error)[:200]}); give a folder with"
            " config.json and model.safetensors"
        ) from error
    if net.config.num_channels != channels:
        _adapt(net, channels)
    return net


def _adapt(net: ResNetModel, channels: int) -> None:
    """Make a net take images of another number of channels."""
    first = net.embedder.embedder.convolution
    shared = first.weight.detach().sum(1, keepdim=True) / channels
    first.weight, first.in_channels = nn.Parameter(shared.repeat(1, channels, 1, 1)), channels
    net.embedder.num_channels = net.config.num_channels = channels  # which its forward pass checks
