"""Checkpoints written atomically: a reader finds the old one or the new one, never half of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` through a temporary file and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # a link that lies there is not followed
    try:
        torch.save(state, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return the state at `path`, or None if there is none that can be read."""
    try:
        return torch.load(path, map_location=device, weights_only=True) if path.exists() else None
    except Exception:  # torch raises many kinds for a damaged file, and for one that holds more than data
        return None
