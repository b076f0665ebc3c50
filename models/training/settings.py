"""The trainer's settings: the `train:` section of a study and the `train.` hyper-parameters of a configuration."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from math import inf
from typing import Literal, get_type_hints

from sweeper.models.errors import UserError
from sweeper.models.schema.entries import REQUIRED, Parameter

LEAST = {"epochs": 1, "batch_size": 1, "lr": 0.0, "weight_decay": 0.0, "momentum": 0.0, "clip": 0.0}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long and how a run trains; defaults follow the audio-visual papers (SGD, momentum 0.9, decay 1e-4).

    `schedule`: constant, cosine to zero, step (×0.1 after 70 % of the epochs), plateau (×0.1 after 5 epochs
    without a lower training loss). `clip` bounds the gradient's norm. `precision` bf16 is autocast, no scaler.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.01
    weight_decay: float = 1e-4
    momentum: float = 0.9
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    clip: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < inf:
                raise UserError(f"train.{name} is {value}; admissible: numbers from {least}")


def parameters() -> dict[str, Parameter]:
    """Return the settings as a schema, like a method's signature."""
    hints = get_type_hints(Settings)
    return {
        f.name: Parameter(hints[f.name], REQUIRED if f.default is MISSING else f.default)
        for f in fields(Settings)
    }
