"""How a net is computed on a GPU: its layout in memory and its compiler. What it computes stays the same."""

from __future__ import annotations

import torch
from torch import nn

from sweeper.models.method import Method
from sweeper.models.net import Net

FORMS = 128


def place(method: Method, device: str, *, channels_last: bool = False, compile: bool = False) -> None:
    """Move a method to a device; the options count on a GPU alone."""
    method.to(device)
    if torch.device(device).type == "cuda":
        if channels_last:
            lay_channels_last(method)
        if compile:
            compile_parts(method.net)


def lay_channels_last(module: nn.Module) -> None:
    """Lay the weights of two-dimensional convolutions out with the channels last, as maps then are, too."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.to(memory_format=torch.channels_last)


def compile_parts(net: Net, backend: str = "inductor") -> None:
    """Compile the encoders and the fusion; names and values of their parameters stay as they are."""
    from torch._dynamo import config as compiler
    from torch._functorch import config as gradients

    # methods may differentiate several losses of one forward pass, which is not to be overwritten by the first
    gradients.donated_buffer = False
    # one compiled form for each modality, shape and mode, in every run of this process; beyond it nothing is compiled
    compiler.recompile_limit = FORMS
    for part in (*net.encoders.values(), net.fusion):
        if part is not None:
            part.compile(backend=backend)
