"""Evaluation mode for as long as something is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def measuring(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode meanwhile, such that gradients can be taken.

    Recurrent layers, whose gradients cuDNN refuses in that mode, stay in training mode and drop nothing.
    """
    modes = {m: m.training for m in module.modules()}
    dropouts = {m: m.dropout for m in modes if isinstance(m, nn.RNNBase)}
    for m in modes:
        m.training = m in dropouts
    for m in dropouts:
        m.dropout = 0.0
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode
        for m, dropout in dropouts.items():
            m.dropout = dropout
