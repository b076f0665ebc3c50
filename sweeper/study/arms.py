"""Arms and runs: a study unfolded into dataset × encoders × fusion × method, each with its own search space.

A run is a value: the JSON payload of everything that can change its result; its key is the payload's hash.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.bridge import Entry
from sweeper.models.errors import UserError, choose
from sweeper.study import space
from sweeper.study.schema import MethodEntry, Search, Study
from sweeper.study.space import Space, Values

Payload = dict[str, Any]


def digest(value: object) -> str:
    """Return a 16-digit hash of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def identity(payload: Payload) -> Payload:
    """Return the payload without what changes no weight: the paths in its dataset's options, the test conditions."""
    named = payload["dataset"]
    paths = bridge.entry("dataset", named["name"]).locations
    own = {k: v for k, v in payload.items() if k != "conditions"}
    return {**own, "dataset": {k: v for k, v in named.items() if k not in paths}} if paths else own


@dataclass(frozen=True)
class Run:
    """One configuration × seed × stage of an arm; `limits` {epoch: worst admissible value} may end it early."""

    arm: Arm
    configuration: int
    parameters: Values
    stage: str
    seed: int
    limits: dict[str, float] = field(default_factory=dict)

    @cached_property
    def payload(self) -> Payload:
        """Everything that can change the result."""
        return self.arm.payload(self.parameters, self.stage, self.seed)

    @cached_property
    def key(self) -> str:
        """The identity of the run: where its data lie does not count, their fingerprint does."""
        return digest(identity(self.payload))

    @cached_property
    def trunk(self) -> str | None:
        """The identity of the training that the run shares with those that differ in what is fitted after it."""
        after = self.arm.method.facts.get("after_training", ())
        method = {k: v for k, v in self.payload["method"].items() if k not in after}
        return digest(identity({**self.payload, "method": method})) if after else None

    def covered(self, record: Mapping[str, Any]) -> bool:
        """Return whether a finished record holds every test condition of the run."""
        return not bridge.uncovered(record, self.payload)


@dataclass(frozen=True)
class Arm:
    """One dataset × encoders × fusion × method of a study, its fixed values and the space that is searched."""

    axes: dict[str, str]
    dataset: Payload
    encoders: dict[str, Payload]
    fusion: Payload | None
    method: Entry
    fixed: Values
    space: Space
    published: Values
    conditions: tuple[str, ...]
    metric: str
    code: str
    proposer: tuple[str, int]

    @cached_property
    def name(self) -> str:
        """The arm in words, unique in its study."""
        return "/".join(v for v in self.axes.values() if v)

    @cached_property
    def key(self) -> str:
        """A hash of all that decides the arm's proposals."""
        domains = {name: repr(domain) for name, domain in self.space.items()}
        payload = identity(self.payload({}, "search", 0))
        return digest([payload, self.fixed, domains, self.published, self.proposer])

    @cached_property
    def base(self) -> Values:
        """Every parameter's value where no configuration says otherwise: fixed, published or of the signature."""
        settings = {f"train.{k}": p.default for k, p in bridge.settings.parameters().items()}
        return {**settings, **self.method.defaults(), **self.published, **self.fixed}

    def defaults(self) -> Values:
        """Return configuration 0: the published defaults, where the study fixes nothing else.

        A parameter that has no default takes the middle of its domain.
        """
        values = {name: self.base.get(name, domain.at(0.5)) for name, domain in self.space.items()}
        return space.restrict({**values, **self.fixed}, self.space)

    def size(self, search: Search) -> int:
        """Return how many configurations are tried: one if nothing is searched, no more than a grid has."""
        return space.size(search.sampler, search.configurations, self.space, self.fixed, self.defaults())

    def payload(self, parameters: Mapping[str, Any], stage: str, seed: int) -> Payload:
        """Return the run's value for a configuration of this arm."""
        values = {**self.base, **parameters}
        train = {k.removeprefix("train."): v for k, v in values.items() if k.startswith("train.")}
        method = {k: v for k, v in values.items() if not k.startswith("train.")}
        return {
            "dataset": self.dataset,
            "encoders": self.encoders,
            "fusion": self.fusion,
            "method": {"name": self.method.name, **method},
            "train": train,
            "metric": self.metric,
            "conditions": list(self.conditions) if stage == "final" else [],
            "stage": stage,
            "seed": seed,
            "code": self.code,
        }


def unfold(study: Study, data_root: Path | None = None, cache: Path | None = None) -> list[Arm]:
    """Return the study's arms in the order of its lists; raises UserError for anything that cannot be run."""
    plugins = tuple(study.plugins)
    methods = bridge.entries("method", plugins)
    settings = bridge.settings.parameters()
    for key in study.train:
        choose("setting", key, settings, "train")
    admitted = {k: settings[k].admit(v, f"train.{k}") for k, v in study.train.items()}
    bridge.settings.Settings(**admitted)  # which knows their ranges
    train = {f"train.{k}": v for k, v in admitted.items()}
    fusions = [_checked("fusion", named) for named in study.fusion]
    datasets = [_dataset(named, data_root) for named in study.dataset]
    everywhere = {m for _, modalities in datasets for m in modalities}
    named_encoders = {
        choose("modality", m, {*everywhere, *bridge.INPUT_KINDS}, "encoders"): _checked("encoder", e)
        for m, e in study.encoders.items()
    }
    proposer = (study.search.sampler, study.search.seed)
    arms: list[Arm] = []
    for options, modalities in datasets:
        name, rest = options["name"], {k: v for k, v in options.items() if k != "name"}
        own = {*modalities, *bridge.INPUT_KINDS}
        encoders = {m: named for m, named in named_encoders.items() if m in own}
        task = bridge.task_of(name, rest, root=data_root)
        for metric in (study.select.metric, *study.report.metrics):
            bridge.check_metric(metric, task)
            _, modal, modality = metric.partition("/")
            if modal and not modality.startswith("hit:"):
                selects = metric == study.select.metric
                place = "select.metric" if selects else "report.metrics"
                choose("modality", modality, modalities if selects else everywhere, f"{place} {metric!r}")
        data_entry = bridge.entry("dataset", name)
        for entry in study.methods:
            method = methods[choose("method", entry.name, methods)]
            method.check_modalities(modalities, name)
            method.check_task(task, name)
            fuse = fusions if method.facts.get("fuses", True) else [None]
            for fusion, (more, suffix) in itertools.product(fuse, _each(method, modalities, entry)):
                fixed, domains, published = _space(study, method, entry, train, more)
                _check_modality(method, fixed, domains, modalities)
                named = ", ".join(f"{m}: {_label('encoder', e)}" for m, e in encoders.items())
                axes = {
                    "dataset": _label("dataset", options),
                    "encoders": named or "default",
                    "fusion": _label("fusion", fusion) if fusion else "none",
                    "method": (entry.label or method.name) + suffix,
                }
                code = bridge.code_digest([method, data_entry])
                place = (tuple(study.conditions), study.select.metric, code, proposer)
                arms.append(Arm(axes, options, encoders, fusion, method, fixed, domains, published, *place))
    names = [arm.name for arm in arms]
    for twice in {n for n in names if names.count(n) > 1}:
        raise UserError(f"two arms are called {twice!r}; give each method entry a `label` of its own")
    found: dict[str, str] = {}  # last, because reading the data may take long and fills the cache
    for options, _ in datasets:
        rest = {k: v for k, v in options.items() if k != "name"}
        found[repr(options)] = bridge.fingerprint(options["name"], rest, root=data_root, cache=cache)
    return [replace(arm, dataset={**arm.dataset, "fingerprint": found[repr(arm.dataset)]}) for arm in arms]


def _checked(kind: str, named: Mapping[str, Any]) -> Payload:
    if not isinstance(named.get("name"), str):
        raise UserError(
            f"{kind} {dict(named)!r} has no name; write {kind}: NAME or {kind}: {{name: NAME, option: value}}"
        )
    entry = bridge.entry(kind, named["name"])
    return {
        "name": entry.name,
        **entry.defaults(),
        **entry.check({k: v for k, v in named.items() if k != "name"}),
    }


def _dataset(named: Mapping[str, Any], data_root: Path | None) -> tuple[Payload, list[str]]:
    """Return a dataset's options, their paths made absolute, and its modalities."""
    options = _checked("dataset", named)
    for key in bridge.entry("dataset", options["name"]).locations:
        options[key] = str((data_root or Path.cwd()) / Path(options[key]).expanduser())
    rest = {k: v for k, v in options.items() if k != "name"}
    return options, bridge.modalities(options["name"], rest, root=data_root)


def _each(method: Entry, modalities: list[str], entry: MethodEntry) -> list[tuple[Values, str]]:
    """Return what multiplies a method's arms: its space file may ask for one arm per modality."""
    parameter = space.read_file(method.name).get("per_modality")
    if parameter is None or parameter in entry.space:
        return [({}, "")]
    return [({parameter: m}, f" {m}") for m in modalities]


def _check_modality(method: Entry, fixed: Values, domains: Space, modalities: list[str]) -> None:
    """Raise UserError if a parameter that names a modality may name one that the dataset lacks."""
    parameter = space.read_file(method.name).get("per_modality")
    if parameter is None:
        return
    for value in domains[parameter].choices if parameter in domains else (fixed[parameter],):
        choose(parameter, value, modalities, f"method {method.name!r}")


def _space(
    study: Study, method: Entry, entry: MethodEntry, train: Values, more: Values
) -> tuple[Values, Space, Values]:
    """Return (fixed values, domains, published defaults) of an arm; the study overrides the method's file."""
    schema = {f"train.{k}": p for k, p in bridge.settings.parameters().items()} | method.parameters
    own = space.read_file(method.name)
    given = {
        **{f"train.{k}": v for k, v in space.read_file("common").get("space", {}).items()},
        **own.get("space", {}),
        **train,
        **study.space,
        **entry.space,
        **more,
    }
    where = f"method {method.name!r}"
    domains, fixed = {}, {}
    for name, value in given.items():
        choose("hyper-parameter", name, schema, where)
        if isinstance(value, Mapping):
            domains[name] = space.parse(name, value, schema[name], where)
        else:
            fixed[name] = schema[name].admit(value, f"{where}: {name}")
    published = {
        k: schema[choose("hyper-parameter", k, schema, where)].admit(v, k)
        for k, v in own.get("published", {}).items()
    }
    for name, parameter in method.parameters.items():
        if parameter.default is bridge.REQUIRED and name not in fixed and name not in domains:
            raise UserError(
                f"{where} needs {name!r} ({bridge.describe(parameter.type)}); set it in the method's space"
            )
    known = {**{k: p.default for k, p in schema.items()}, **published, **fixed}
    return fixed, _reachable(domains, known, schema, where), published


def _reachable(domains: Space, known: Values, schema: Mapping[str, Any], where: str) -> Space:
    """Return the domains whose conditions can hold, in an order in which those stand first that others depend on.

    Conditions on parameters that are not searched are decided here, by their `known` values, and dropped.
    """
    found: Space = {}
    for name, domain in space.ordered(domains):
        place = f"`when` of {name!r} ({where})"
        when = tuple(
            (
                choose("hyper-parameter", other, schema, place),
                tuple(schema[other].admit(v, place) for v in ok),
            )
            for other, ok in domain.when
        )
        if all(other in found or (other not in domains and known[other] in ok) for other, ok in when):
            found[name] = replace(domain, when=tuple(w for w in when if w[0] in found))
    return found


def _label(kind: str, named: Payload) -> str:
    entry = bridge.entry(kind, named["name"])
    changed = {k: v for k, v in named.items() if k in entry.parameters and v != entry.parameters[k].default}
    return named["name"] + (f" ({', '.join(f'{k} {v}' for k, v in changed.items())})" if changed else "")


def short_names(axes: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a name for each arm of a study: its method, and as many other axes as tell the arms apart."""
    shown = ["method"]
    for axis in dict.fromkeys(("dataset", "fusion", *axes[0])):
        if len({tuple(own[a] for a in shown) for own in axes}) == len(axes):
            break
        if axis != "method" and len({own[axis] for own in axes}) > 1:
            shown.append(axis)
    return [" ".join(own[axis] for axis in shown) for own in axes]
