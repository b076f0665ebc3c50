"""Named conditions of test rows: how a study writes them, and whether they fit a dataset."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from inspect import getdoc
from math import inf
from typing import Any, Literal, get_type_hints

from sweeper.models.data.noise.corruptions import CORRUPTIONS
from sweeper.models.errors import UserError, choose
from sweeper.models.schema.entries import entry
from sweeper.models.schema.parameters import Parameter
from sweeper.models.schema.plugins import full_name
from sweeper.models.schema.ranges import Count, Share
from sweeper.models.values import InputKind, InputSpec

# the levels at which everything is struck; of decibels, those at which either sound or noise is all that is heard
LARGEST = {"salt": 100.0, "words": 10.0, "time": 10.0, "dropout": 10.0, "white": 100.0}
LEAST = {"white": -100.0}
LONGEST = 200  # bytes of a label, which files are named after


def levels(kind: str) -> tuple[float, float]:
    """Return the least and the largest level that a kind of noise takes; infinite where there is no largest."""
    if "." in kind:
        largest = entry("condition", kind).facts["largest"]
        return 0.0, inf if largest is None else largest
    return LEAST.get(kind, 0.0), LARGEST.get(kind, inf)


@dataclass(frozen=True)
class Condition:
    """A corruption of test rows: its kind and level (corruptions.py) and the modalities, without any all that fit.

    Level 0 changes nothing, but for `white`, whose level is a signal-to-noise ratio in dB: 0 is noise as strong as the
    sound, and white--5 (level -5) is stronger.
    The coins and noise of `repeats` draws, numbered from 0, come from `seed`. Mode "qmf" is the protocol published
    with QMF (Zhang et al., Provable Dynamic Fusion for Low-Quality Multimodal Data, ICML 2023, release of 2024) as
    it runs, for uint8 images: Gaussian noise of one pattern for all images of a size, negative pixels wrapping to
    bright ones; salt on a tenth of pixels, the level saying how often. Not reproduced: the release draws its coins
    from a process-wide generator, which the noise itself seeds anew, so they vary with workers and passes, and adds
    noise before cropping; here coins are as in mode "clean" and images are corrupted as the dataset has them.

    Raises UserError for what is not admissible.
    """

    kind: str
    level: float = 0.0
    modalities: tuple[str, ...] = ()
    share: Share = 0.5
    mode: Literal["clean", "qmf"] = "clean"
    repeats: Count = 5
    seed: int = 0

    def __post_init__(self) -> None:
        where = f"condition {self.kind!r}"
        if isinstance(self.modalities, list):
            object.__setattr__(self, "modalities", tuple(self.modalities))
        for name, kind in get_type_hints(Condition, include_extras=True).items():
            admitted = Parameter(kind, None).admit(getattr(self, name), f"{where}: {name}")
            object.__setattr__(self, name, tuple(sorted(admitted)) if name == "modalities" else admitted)
        added = self.mode == "clean" and "." in self.kind
        known = [self.kind] if added else ["clean", *CORRUPTIONS[self.mode]]
        choose("condition", self.kind, known, "" if self.mode == "clean" else f"mode {self.mode!r}")
        if self.kind == "clean" and any(getattr(self, f.name) != f.default for f in fields(self)[1:]):
            raise UserError("condition 'clean' has a level or options; it takes none")
        least, most = levels(self.kind)
        distinct = len({*self.modalities}) == len(self.modalities)
        for name, ok, admissible in (
            (
                "level",
                least <= self.level <= most,
                f"a number from {least:g}" + (f" to {most:g}" if most < inf else ""),
            ),
            ("modalities", distinct and all(map(str.isidentifier, self.modalities)), "names, each once"),
        ):
            if not ok:
                raise UserError(f"{where}: {name} is {getattr(self, name)!r}; admissible: {admissible}")
        if len(self.label.encode()) > LONGEST:
            raise UserError(
                f"{where}: its label {self.label[:40]!r}… has more than {LONGEST} bytes; name less"
            )

    @property
    def changes(self) -> bool:
        """Whether anything is done to rows at all."""
        return self.level != 0 or self.kind in LEAST

    @property
    def label(self) -> str:
        """Its one name, which `parse` turns back into it, like "gaussian-10@spoken (share 1, repeats 3)"."""
        name = self.kind if self.kind == "clean" else f"{self.kind}-{_brief(self.level)}"
        name += "@" + "+".join(self.modalities) if self.modalities else ""
        values = {
            f.name: getattr(self, f.name) for f in fields(self)[3:] if getattr(self, f.name) != f.default
        }
        return name + (f" ({', '.join(f'{k} {_brief(v)}' for k, v in values.items())})" if values else "")


CLEAN = Condition("clean")
LABEL = re.compile(r"([^-@( ]+)(?:-([^@( ]+))?(?:@([^( ]+))?(?: \((.+)\))?")
OPTIONS = {"share": float, "mode": str, "repeats": int, "seed": int}


def parameters() -> dict[str, Parameter]:
    """Return what a condition takes beside its kind and level."""
    hints = get_type_hints(Condition, include_extras=True)
    return {f.name: Parameter(hints[f.name], f.default) for f in fields(Condition)[2:]}


def effects(kind: str) -> dict[str, dict[str, str]]:
    """Return what a kind of noise does, {mode: {kind of input: a sentence}}, as its functions tell."""
    found = {mode: known[kind] for mode, known in CORRUPTIONS.items() if kind in known}
    return {mode: {on: _sentence(does) for on, does in own.items()} for mode, own in found.items()}


def _sentence(function: object) -> str:
    return (getdoc(function) or "").partition("\n")[0]


def parse(value: str | Mapping[str, Any], plugins: Sequence[str] | None = None) -> Condition:
    """Return the condition of a label, such as gaussian-5 or salt-10@left+right, or of a mapping.

    A mapping gives the label as `name`, and modalities, share, mode, repeats or seed beside it. Noise that these
    plug-ins or distributions bring may be called by its own name; without `plugins`, by its name in full alone. Raises
    UserError.
    """
    if isinstance(value, str):
        return Condition(**_fields(value, plugins))
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise UserError(
            f"condition {value!r} has no name; write one like gaussian-5, or a mapping with a name"
        )
    beside = dict(value)
    name = beside.pop("name")
    told = _fields(name, plugins)
    for key in beside:
        choose("key", key, ["modalities", *OPTIONS], f"condition {name!r}")
        if key in told:
            raise UserError(f"condition {name!r}: {key} is in the name already; say it once")
    return Condition(**told, **beside)


def _fields(label: str, plugins: Sequence[str] | None) -> dict[str, Any]:
    """Return the fields that a label names; raise UserError if it cannot be read."""
    match = LABEL.fullmatch(label.strip())
    if not match:
        raise UserError(
            f"condition {label!r} cannot be read; write it like gaussian-5 or salt-10@left (share 1)"
        )
    kind, level, modalities, bracket = match.groups()
    own = ["clean", *CORRUPTIONS["clean"]]
    if plugins is not None:
        kind = full_name("condition", kind, plugins, own)
    choose("condition", kind, [entry("condition", kind).full] if "." in kind else own)
    if level is None and kind != "clean":
        raise UserError(f"condition {label!r} has no level; write it like {kind}-5")
    options = dict(option.partition(" ")[::2] for option in bracket.split(", ")) if bracket else {}
    for name in options:
        choose("option", name, OPTIONS, f"condition {label!r}")
    texts = options if level is None else {"level": level, **options}
    found: dict[str, Any] = {"kind": kind}
    for name, text in texts.items():
        try:
            found[name] = OPTIONS.get(name, float)(text)
        except ValueError:
            raise UserError(f"condition {label!r}: {name} is {text!r}; a number is needed") from None
    return found | ({"modalities": modalities.split("+")} if modalities else {})


def _brief(value: float | str) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def check(condition: Condition, inputs: Mapping[str, InputSpec], dataset: str) -> None:
    """Raise UserError if the condition names a modality that the dataset lacks or fits none that it is meant for."""
    if condition.kind == "clean":
        return
    where, fits = f"condition {condition.label!r}", fitting(condition)
    for m in condition.modalities:
        kind = inputs[choose("modality", m, inputs, f"{where}, dataset {dataset!r}")].kind
        if kind not in fits:
            raise UserError(f"{where}: modality {m!r} is of kind {kind}; admissible: {', '.join(fits)}")
    if not targets(condition, inputs):
        kinds = ", ".join(f"{m} ({s.kind})" for m, s in inputs.items())
        raise UserError(
            f"{where} fits no modality of dataset {dataset!r}: {kinds}; admissible: {', '.join(fits)}"
        )


def targets(condition: Condition, inputs: Mapping[str, InputSpec]) -> list[str]:
    """Return the modalities that the condition is for."""
    fits = fitting(condition)
    named = condition.modalities or inputs
    return [m for m, s in inputs.items() if m in named and s.kind in fits]


def fitting(condition: Condition) -> Collection[InputKind]:
    """Return the kinds of input that a condition fits."""
    if "." in condition.kind:
        return entry("condition", condition.kind).facts["takes"]
    return CORRUPTIONS[condition.mode][condition.kind]
