"""Randomness from named streams: hash(seed, purpose…), so that adding a consumer shifts nobody."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed that depends on `seed` and on every word of `purpose`."""
    text = "/".join(str(word) for word in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_stream(seed: int, *purpose: object) -> np.random.Generator:
    """Return NumPy's generator for the named stream."""
    return np.random.default_rng(stream_seed(seed, *purpose))


def torch_stream(seed: int, *purpose: object) -> torch.Generator:
    """Return a CPU torch generator for the named stream."""
    import torch

    return torch.Generator().manual_seed(stream_seed(seed, *purpose))
