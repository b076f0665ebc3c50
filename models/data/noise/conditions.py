"""Test-time corruptions of a dataset, named conditions: which samples are hit, and arrays corrupted as they are read.

Each modality of each row is hit with probability `share` by a coin of its own, and its noise comes from a generator
of its own, named by (seed, repeat, modality, row). So results depend neither on the order in which rows are read nor
on how many at once or by how many workers; a row's coin is the same at every kind and level, and the rows hit at one
share are among those hit at a greater one.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from typing import Any, Literal, get_type_hints

import numpy as np

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.noise.corruptions import CORRUPTIONS, FREQUENCIES, Statistics
from sweeper.models.errors import UserError, choose
from sweeper.models.schema.entries import Parameter
from sweeper.models.streams import numpy_stream, stream_seed
from sweeper.models.values import DataSpec, InputSpec

# the levels at which everything is struck
LARGEST = {"salt": 100.0, "words": 10.0, "time": 10.0, "dropout": 10.0}


@dataclass(frozen=True)
class Condition:
    """A corruption of test rows: its kind and level (corruptions.py) and the modalities, without any all that fit.

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
    share: float = 0.5
    mode: Literal["clean", "qmf"] = "clean"
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        where = f"condition {self.kind!r}"
        for name, kind in get_type_hints(Condition).items():
            value = Parameter(kind, None).admit(getattr(self, name), f"{where}: {name}")
            object.__setattr__(self, name, tuple(sorted(value)) if name == "modalities" else value)
        known = ["clean", *CORRUPTIONS[self.mode]]
        choose("condition", self.kind, known, "" if self.mode == "clean" else f"mode {self.mode!r}")
        if self.kind == "clean" and any(getattr(self, f.name) != f.default for f in fields(self)[1:]):
            raise UserError("condition 'clean' has a level or options; it takes none")
        most = LARGEST.get(self.kind, inf)
        distinct = len({*self.modalities}) == len(self.modalities)
        for name, ok, admissible in (
            ("level", isfinite(self.level) and 0 <= self.level <= most, f"numbers from 0 to {most}"),
            ("modalities", distinct and all(map(str.isidentifier, self.modalities)), "names, each once"),
            ("share", 0 <= self.share <= 1, "numbers from 0 to 1"),
            ("repeats", self.repeats >= 1, "whole numbers from 1"),
        ):
            if not ok:
                raise UserError(f"{where}: {name} is {getattr(self, name)!r}; admissible: {admissible}")

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


def parse(value: str | Mapping[str, Any]) -> Condition:
    """Return the condition of a label, such as gaussian-5 or salt-10@left+right, or of a mapping.

    A mapping gives the label as `name`, and modalities, share, mode, repeats or seed beside it. Raises UserError.
    """
    if isinstance(value, str):
        return Condition(**_fields(value))
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise UserError(
            f"condition {value!r} has no name; write one like gaussian-5, or a mapping with a name"
        )
    beside = dict(value)
    name = beside.pop("name")
    told = _fields(name)
    for key in beside:
        choose("key", key, ["modalities", *OPTIONS], f"condition {name!r}")
        if key in told:
            raise UserError(f"condition {name!r}: {key} is in the name already; say it once")
    return Condition(**told, **beside)


def _fields(label: str) -> dict[str, Any]:
    """Return the fields that a label names; raise UserError if it cannot be read."""
    match = LABEL.fullmatch(label.strip())
    if not match:
        raise UserError(
            f"condition {label!r} cannot be read; write it like gaussian-5 or salt-10@left (share 1)"
        )
    kind, level, modalities, bracket = match.groups()
    choose("condition", kind, ["clean", *CORRUPTIONS["clean"]])
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


def check(condition: Condition, spec: DataSpec) -> None:
    """Raise UserError if the condition names a modality that the dataset lacks or fits none that it is meant for."""
    if condition.kind == "clean":
        return
    where, fits = f"condition {condition.label!r}", CORRUPTIONS[condition.mode][condition.kind]
    for m in condition.modalities:
        kind = spec.modalities[choose("modality", m, spec.modalities, f"{where}, dataset {spec.name!r}")].kind
        if kind not in fits:
            raise UserError(f"{where}: modality {m!r} is of kind {kind}; admissible: {', '.join(fits)}")
    if not _targets(condition, spec):
        kinds = ", ".join(f"{m} ({s.kind})" for m, s in spec.modalities.items())
        raise UserError(
            f"{where} fits no modality of dataset {spec.name!r}: {kinds}; admissible: {', '.join(fits)}"
        )


def _targets(condition: Condition, spec: DataSpec) -> list[str]:
    """Return the modalities that the condition is for."""
    fits = CORRUPTIONS[condition.mode][condition.kind]
    named = condition.modalities or spec.modalities
    return [m for m, s in spec.modalities.items() if m in named and s.kind in fits]


def corrupted(
    dataset: Dataset, condition: Condition, repeat: int, rows: np.ndarray
) -> tuple[Dataset, dict[str, np.ndarray]]:
    """Return the dataset with `rows` under the condition's draw `repeat`, and hits {m: (len(rows),) bool}.

    Other rows stay as they are, and so does a modality that a row lacks. Under `dropout` a modality is hit if it
    is gone: it is missing from `present` and its numbers are 0 once standardised. Raises UserError as `check`, and
    if mode "qmf" meets an image that is not uint8.
    """
    hits = {m: np.zeros(len(rows), bool) for m in dataset.inputs}
    if not condition.level:
        return dataset, hits
    check(condition, dataset.spec)
    has = {m: dataset.present[m][rows] if m in dataset.present else ~hits[m] for m in hits}
    draws = {m: np.zeros(len(rows)) for m in hits}
    for m in _targets(condition, dataset.spec):
        if condition.mode == "qmf" and dataset.inputs[m].dtype != np.uint8:
            raise UserError(
                f"condition {condition.label!r}: modality {m!r} has type {dataset.inputs[m].dtype}; mode qmf is for"
                " images of type uint8"
            )
        hits[m] = has[m] & (_draws(condition, "hit", repeat, m, rows) < condition.share)
        if (condition.mode, condition.kind) in FREQUENCIES:
            draws[m] = _draws(condition, "frequency", repeat, m, rows)
            hits[m] &= draws[m] < condition.level / 10
    present = dict(dataset.present)
    if condition.kind == "dropout":
        hits = _spared(hits, has, draws)
        for m in hits:
            if hits[m].any():
                present[m] = np.array(present.get(m, np.ones(len(dataset.target), bool)))
                present[m][rows[hits[m]]] = False
    inputs, train = dict(dataset.inputs), _statistics(dataset)
    for m in hits:
        if hits[m].any():
            hit = np.zeros(len(dataset.target), bool)
            hit[rows[hits[m]]] = True
            inputs[m] = Corrupted(dataset.inputs[m], hit, train[m], condition, repeat, m)
    return replace(dataset, inputs=inputs, present=present), hits


def _draws(condition: Condition, purpose: str, repeat: int, modality: str, rows: np.ndarray) -> np.ndarray:
    """Return a uniform number (len(rows),) of each row's own for a purpose, whatever the kind and level."""
    words = (condition.seed, "noise", purpose, repeat, modality)
    return np.array([stream_seed(*words, row) for row in rows.tolist()], np.uint64) / 2**63


def _spared(
    hits: dict[str, np.ndarray], has: dict[str, np.ndarray], draws: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return `hits` without one in each row that would lose all it has.

    That modality stays which has the greatest draw, the last that a growing level would take.
    """
    lost = np.stack(list(hits.values()))
    bare = (lost == np.stack(list(has.values()))).all(0)
    last = np.where(lost, np.stack(list(draws.values())), -1.0).argmax(0)
    lost[last[bare], np.flatnonzero(bare)] = False
    return dict(zip(hits, lost, strict=True))


@dataclass(frozen=True, eq=False)
class Corrupted:
    """An array (N, ...) of which the rows in `hit` (N,) are corrupted as they are read; it is never changed itself.

    What is read is of type float32, of float64 if the array's numbers need it, and uint8 in mode "qmf", so that
    nothing is rounded.
    """

    array: np.ndarray
    hit: np.ndarray
    train: Statistics
    condition: Condition
    repeat: int
    modality: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of what is read."""
        given = self.array.dtype
        return given if self.condition.mode == "qmf" else np.result_type(given, np.float32)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows numbered `rows` (B,) as a new array (B, ...)."""
        block, own = np.array(self.array[rows], self.dtype), self.condition
        corrupt = CORRUPTIONS[own.mode][own.kind][InputSpec(self.shape[1:]).kind]
        for i in np.flatnonzero(self.hit[rows]):
            generator = numpy_stream(own.seed, "noise", self.repeat, self.modality, rows[i])
            block[i] = corrupt(block[i], own.level, generator, self.train)
        return block


_KNOWN: dict[int, dict[str, Statistics]] = {}


def _statistics(dataset: Dataset) -> dict[str, Statistics]:
    """Return the statistics {m: ...} of the train rows that have m, kept for as long as the dataset is."""
    if id(dataset) not in _KNOWN:
        train = dataset.rows["train"]
        _KNOWN[id(dataset)] = {
            m: Statistics(
                array,
                train[dataset.present[m][train]] if m in dataset.present else train,
                dataset.scale.get(m, (0.0, 1.0))[0],
            )
            for m, array in dataset.inputs.items()
        }
        weakref.finalize(dataset, _KNOWN.pop, id(dataset))
    return _KNOWN[id(dataset)]
