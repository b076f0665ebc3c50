"""The trainer's settings: the `train:` section of a study and the `train.` hyper-parameters of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_type_hints

from sweeper.models.schema.parameters import REQUIRED, Parameter
from sweeper.models.schema.ranges import Count, NonNegative, Positive, Share, ShareBelow1, Whole

OF_ENCODER = "lr."  # the beginning of the name of a modality's own learning rate


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long and how a run trains; defaults follow the audio-visual papers (SGD, momentum 0.9, decay 1e-4).

    `epochs` is how often all is measured, and how often the rows are passed over, unless they are so few that an epoch
    has to pass over them several times for `least_steps` in all of them. `patience` ends a phase after that many epochs
    without a better value on validation, if its best epoch is kept; null: none does.
    `schedule`: constant, cosine to zero, step (×0.1 after 70 % of the epochs), plateau (×0.1 after 5 epochs
    without a lower training loss); `warmup` is the number of epochs in which the rate first rises from 0.
    `lr.<modality>` is the learning rate of that modality's encoder, `lr` that of all else; `layer_decay` multiplies
    the rate of an encoder's layer for each that lies above it. `decay` weights leaves biases and norms out of weight
    decay. `clip` bounds the gradient's norm, `clip_value` each of its entries. `accumulate` parts of a batch go
    through the net one after another, for one step. `keep` is the epoch whose weights count, the best on validation
    or the last; null: as the method says. `precision` bf16 is autocast, no scaler. `batch_norm` takes its statistics
    over each rank's own rows, or synchronised, over those of all ranks, so that several train as one.
    """

    epochs: Count = 30
    least_steps: Whole = 0
    patience: Count | None = None
    batch_size: Count = 64
    lr: NonNegative = 0.01
    weight_decay: NonNegative = 1e-4
    momentum: ShareBelow1 = 0.9
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    warmup: NonNegative = 0.0
    layer_decay: Share = 1.0
    decay: Literal["all", "weights"] = "all"
    clip: NonNegative | None = None
    clip_value: Positive | None = None
    accumulate: Count = 1
    keep: Literal["best", "last"] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    batch_norm: Literal["local", "synchronised"] = "local"
    encoder_lr: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, parameter in parameters().items():
            parameter.admit(getattr(self, name), f"train.{name}")
        for m, rate in self.encoder_lr.items():
            Parameter(NonNegative, None).admit(rate, f"train.{OF_ENCODER}{m}")


def parameters(modalities: Iterable[str] = ()) -> dict[str, Parameter]:
    """Return the settings as a schema, like a method's signature; with those of modalities, none of which is set."""
    hints = get_type_hints(Settings, include_extras=True)
    own = {
        f.name: Parameter(hints[f.name], REQUIRED if f.default is MISSING else f.default)
        for f in fields(Settings)
        if f.name != "encoder_lr"
    }
    return own | {f"{OF_ENCODER}{m}": Parameter(NonNegative, None) for m in modalities}


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the settings that a run's `train` values are."""
    rates = {name.removeprefix(OF_ENCODER): v for name, v in values.items() if name.startswith(OF_ENCODER)}
    return Settings(**{k: v for k, v in values.items() if not k.startswith(OF_ENCODER)}, encoder_lr=rates)
