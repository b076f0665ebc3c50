"""Checkpoints written atomically: a reader finds the old one or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sweeper.models.atomic import written


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, whole or not at all."""
    with written(path) as new:
        torch.save(state, new)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return the state at `path`, or None if there is none that can be read."""
    try:
        return torch.load(path, map_location=device, weights_only=True) if path.exists() else None
    except Exception:  # torch raises many kinds for a damaged file, and for one that holds more than data
        return None
