"""A study unfolded into its arms; whatever cannot be run is refused here, before anything is done."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.bridge import Entry, InputSpec
from sweeper.models.errors import Misfit, UserError, choose
from sweeper.study import searched, space
from sweeper.study.arms import OF_ENCODER, Arm
from sweeper.study.payloads import Payload, added
from sweeper.study.places import place
from sweeper.study.schema import EncoderSet, MethodEntry, Study
from sweeper.study.space import Values

MOST_FILES = 1000  # of pre-trained weights


@dataclass(frozen=True)
class Data:
    """A dataset of a study: what its payload says, and its modalities and task, found without loading it.

    `space` is what the study fixes or searches on this dataset alone.
    """

    payload: Payload
    inputs: dict[str, InputSpec]
    task: str
    space: Values

    @property
    def name(self) -> str:
        """The dataset's name, not its label."""
        return self.payload["name"]


@dataclass(frozen=True)
class Unfit:
    """An arm that cannot be run, and why."""

    axes: dict[str, str]
    reason: str


def unfold(
    study: Study, data_root: Path | None = None, cache: Path | None = None, unfit: list[Unfit] | None = None
) -> list[Arm]:
    """Return the study's arms in the order of its lists; raises UserError for anything that cannot be run.

    With a list `unfit`, an arm whose parts do not fit together is noted there instead, if there is another.
    """
    entries = [(bridge.find("method", entry.name, study.plugins), entry) for entry in study.methods]
    fusions = [_checked("fusion", named, study.plugins) for named in study.fusion]
    datasets = [_data(named, data_root, study.plugins) for named in study.dataset]
    everywhere = {m for data in datasets for m in data.inputs}
    _check_names(study, everywhere)
    for data in datasets:
        _check_metrics(study, data, everywhere)
        for condition in study.conditions:
            bridge.check_condition(bridge.parse_condition(condition), data.inputs, data.name)
    arms: list[Arm] = []
    for data, encoders, (method, entry) in itertools.product(datasets, study.encoders, entries):
        without = not method.facts["encodes"] and len(study.encoders) > 1  # it is there once beside all sets
        if without and encoders is not study.encoders[0]:
            continue
        fuse = _fusions(method, entry, fusions, study.plugins)
        for fusion, (more, suffix) in itertools.product(fuse, _each(method, data, entry)):
            axes = {
                "dataset": _label("dataset", data.payload),
                "encoders": "none" if without else _encoder_label(encoders, data, study.plugins),
                "fusion": _label("fusion", fusion) if fusion else "none",
                "method": (entry.label or method.name) + suffix,
            }
            try:
                arms.append(_arm(study, data, encoders, method, entry, fusion, more, axes))
            except Misfit as error:
                if unfit is None:
                    raise UserError(f"arm {'/'.join(axes.values())}: {error}") from None
                unfit.append(Unfit(axes, str(error)))
    if not arms and unfit:
        raise UserError(f"no arm can be run; {'/'.join(unfit[0].axes.values())}: {unfit[0].reason}")
    if study.select.beside and not any(arm.beside for arm in arms):
        raise UserError(f"no arm of the study has select.beside {study.select.beside!r}; leave it out")
    names = [arm.name for arm in arms]
    for twice in {n for n in names if names.count(n) > 1}:
        raise UserError(
            f"two arms are called {twice!r}; give methods, datasets or encoders a `label` of their own"
        )
    return _fingerprinted(
        arms, data_root, cache
    )  # last, because reading the data may take long and fills the cache


def _fusions(
    method: Entry, entry: MethodEntry, fusions: Sequence[Payload], plugins: Sequence[str]
) -> Sequence[Payload | None]:
    """Return what an entry fuses by: its own choice, the one its method is made for, or the study's; or nothing."""
    if not method.facts["fuses"]:
        if entry.fusion is not None:
            raise UserError(f"method {method.name!r} uses no fusion; leave `fusion` out of its entry")
        return [None]
    made_for = space.read_file(method.full).get("fusion")
    own = entry.fusion or ([{"name": made_for}] if made_for else [])
    return [_checked("fusion", named, plugins) for named in own] or fusions


def _arm(
    study: Study,
    data: Data,
    encoders: EncoderSet,
    method: Entry,
    entry: MethodEntry,
    fusion: Payload | None,
    more: Values,
    axes: dict[str, str],
) -> Arm:
    """Return one arm; raise Misfit if its parts do not go together, UserError for what is wrong in itself."""
    method.check_modalities(data.inputs, data.name)
    method.check_task(data.task, data.name)
    parts = [method, bridge.entry("dataset", data.name), bridge.entry("task", data.task)]
    reads = "pooled"
    if fusion:
        chosen = bridge.entry("fusion", fusion["name"])
        bridge.check_fusion(chosen, data.task, data.name)
        bridge.check_method(method, chosen)
        parts.append(chosen)
        reads = chosen.facts["reads"]
    own = {**data.space, **encoders.space, **entry.space, **more}
    fixed, domains, published, used = searched.space_of(study, method, entry, encoders, data.inputs, own)
    always = searched.always_read(method, domains, used)
    bridge.check_measured(study.select.metric, always)
    inputs = {m: spec for m, spec in data.inputs.items() if m in used}
    there = {*inputs, *(spec.kind for spec in inputs.values())}
    named = {m: _found("encoder", e, study.plugins) for m, e in encoders.named.items() if m in there}
    read = bridge.chosen_encoders(inputs, named, reads, data.name) if method.facts["encodes"] else {}
    encoded = {m: _checked("encoder", e) for m, e in read.items()}
    augment = _augmented(study, method, inputs, data.name)
    parts += [bridge.entry("encoder", e["name"]) for e in encoded.values()]
    parts += [bridge.entry("augmentation", e["name"]) for own in augment.values() for e in own]
    arm = Arm(
        axes=axes,
        dataset=data.payload,
        reads=tuple(inputs),
        encoders=encoded,
        augment=augment,
        fusion=fusion,
        method=method,
        fixed=fixed,
        space=domains,
        published=published,
        conditions=tuple(study.conditions),
        metric=study.select.metric,
        beside=_had(study.select.beside, always),
        code="",
        metrics=tuple(m for m in study.report.metrics if "." in m.partition("/")[0]),
        proposer=(study.search.sampler, study.search.seed),
        any_code=study.reuse == "any",
    )
    search, final = (added(arm.payload({}, stage, 0)) for stage in ("search", "final"))
    tested = bridge.code_digest([*parts, *final]) if final != search else ""
    return replace(arm, code=bridge.code_digest([*parts, *search]), tested_code=tested)


def _augmented(
    study: Study, method: Entry, inputs: Mapping[str, InputSpec], dataset: str
) -> dict[str, list[Payload]]:
    """Return what is done to training rows of each modality or axis of a dataset."""
    kinds = {*inputs, *bridge.AXES}
    changed = study.augment if method.facts["trains"] else {}
    wanted = {
        m: [_checked("augmentation", e, study.plugins) for e in own]
        for m, own in changed.items()
        if m in kinds
    }
    return bridge.chosen_augmentations(inputs, wanted, dataset)


def _had(metric: str, modalities: Sequence[str]) -> str:
    """Return the metric if whoever always reads these modalities is measured by it, else nothing."""
    try:
        bridge.check_measured(metric, modalities)
    except Misfit:
        return ""
    return metric


def _check_names(study: Study, everywhere: set[str]) -> None:
    """Raise UserError for a setting, or a modality in encoders, augment or learning rates, that there is not."""
    for m in (*(m for encoders in study.encoders for m in encoders.named), *study.augment):
        choose("modality", m, {*everywhere, *bridge.AXES}, "encoders and augment")
    settings = bridge.settings.parameters(everywhere)
    for key, value in study.train.items():
        settings[choose("setting", key, settings, "train")].admit(value, f"train.{key}")
    for name in sorted({name for own in (study, *study.encoders, *study.methods) for name in own.space}):
        if name.startswith(OF_ENCODER):  # all else is looked up by arm
            choose("hyper-parameter", name, [f"train.{key}" for key in settings], "space")


def _check_metrics(study: Study, data: Data, everywhere: set[str]) -> None:
    named = [("select.metric", study.select.metric), ("select.beside", study.select.beside)]
    named += [("report.metrics", metric) for metric in study.report.metrics]
    for key, metric in named:
        if not metric:
            continue
        bridge.check_metric(metric, data.task)
        _, modal, modality = metric.partition("/")
        if modal and (key != "report.metrics" or not modality.startswith("hit:")):
            known = data.inputs if key == "select.metric" else everywhere
            choose("modality", modality, known, f"{key} {metric!r}")


def _found(kind: str, named: Mapping[str, Any], plugins: Sequence[str]) -> Payload:
    """Return what a study says of a part, its name in full."""
    if not isinstance(named.get("name"), str):
        raise UserError(
            f"{kind} {dict(named)!r} has no name; write {kind}: NAME or {kind}: {{name: NAME, option: value}}"
        )
    return {**named, "name": bridge.full_name(kind, named["name"], plugins)}


def _checked(kind: str, named: Mapping[str, Any], plugins: Sequence[str] = ()) -> Payload:
    """Return a part's name in full and all its options, defaults filled in."""
    options = _found(kind, named, plugins)
    entry = bridge.entry(kind, options.pop("name"))
    return {"name": entry.full, **entry.defaults(), **entry.check(options)}


def _data(named: Mapping[str, Any], data_root: Path | None, plugins: Sequence[str]) -> Data:
    """Return a dataset of the study, its paths made absolute."""
    label, own = named.get("label"), named.get("space", {})
    for key, value, kind, admissible in (
        ("label", label, str | None, "text"),
        ("space", own, dict, "a mapping"),
    ):
        if not isinstance(value, kind):
            raise UserError(f"dataset {named.get('name')!r}: {key} is {value!r}; admissible: {admissible}")
    payload = _checked("dataset", {k: v for k, v in named.items() if k not in ("label", "space")}, plugins)
    for key in bridge.entry("dataset", payload["name"]).locations:
        payload[key] = str(place(f"{key} of dataset {payload['name']!r}", payload[key], data_root))
    options = bridge.options_of(payload)
    inputs = bridge.inputs(payload["name"], options, root=data_root)
    task = bridge.task_of(payload["name"], options, root=data_root)
    settings = [f"train.{key}" for key in bridge.settings.parameters(inputs)]
    for key in own:
        if str(key).startswith("train."):
            choose("hyper-parameter", key, settings, f"space of dataset {payload['name']!r}")
    return Data(payload | ({"label": label} if label else {}), inputs, task, own)


def _fingerprinted(arms: Sequence[Arm], data_root: Path | None, cache: Path | None) -> list[Arm]:
    """Return the arms with what their data and pre-trained weights hold, by hash."""
    found: dict[str, str] = {}
    done = []
    for arm in arms:
        named = arm.dataset
        if repr(named) not in found:
            options = bridge.options_of(named)
            found[repr(named)] = bridge.fingerprint(named["name"], options, root=data_root, cache=cache)
        encoders = {m: _weighed(e, cache) for m, e in arm.encoders.items()}
        done.append(replace(arm, dataset={**named, "fingerprint": found[repr(named)]}, encoders=encoders))
    return done


def _weighed(encoder: Payload, cache: Path | None) -> Payload:
    """Return an encoder with a hash of the pre-trained weights that its options name, its revision pinned.

    A folder is named in full, a model of the hub stays as it is: whoever carries a run out finds it there again.
    """
    found = dict(encoder)
    for key in bridge.entry("encoder", encoder["name"]).locations:
        if encoder[key] is None:
            continue
        try:
            weights = bridge.located(encoder[key], encoder.get("revision") or "main")
        except UserError as error:
            raise UserError(f"{key} of encoder {encoder['name']!r}: {error}") from None
        if bridge.local(encoder[key]):
            found[key] = str(weights)
        elif "revision" in encoder:
            found["revision"] = weights.name  # of the hub's folders, that of the commit
        files = [weights]
        if weights.is_dir():
            within = (path for path in weights.rglob("*") if path.is_file())
            files = sorted(itertools.islice(within, MOST_FILES + 1))
        if len(files) > MOST_FILES:  # of a home folder, say
            raise UserError(
                f"weights {str(weights)!r} are more than {MOST_FILES} files; name their own folder"
            )
        found["fingerprint"] = bridge.fingerprint_files(files, cache)
    return found


def _each(method: Entry, data: Data, entry: MethodEntry) -> Iterator[tuple[Values, str]]:
    """Yield what multiplies a method's arms: its space file may ask for one per modality, and one on all together."""
    own = space.read_file(method.full)
    parameter = own.get("per_modality")
    if parameter is None or parameter in entry.space:
        yield {}, ""
        return
    if own.get("together"):
        yield {parameter: None}, ""
    if len(data.inputs) > 1 or not own.get("together"):
        for m in data.inputs:
            yield {parameter: m}, f" {m}"


def _label(kind: str, named: Payload) -> str:
    """Return a part in words: its label, or its name and what differs from the defaults; of a path its last part."""
    if "label" in named:
        return named["label"]
    entry = bridge.entry(kind, named["name"])
    changed = {k: v for k, v in named.items() if k in entry.parameters and v != entry.parameters[k].default}
    said = [Path(v).stem if k in entry.locations else f"{k} {v}" for k, v in changed.items()]
    return entry.name + (f" ({', '.join(said)})" if said else "")


def _encoder_label(encoders: EncoderSet, data: Data, plugins: Sequence[str]) -> str:
    """Return the encoders that a set names for a dataset, in words."""
    used = {m if m in encoders.named else spec.kind for m, spec in data.inputs.items()}
    named = {m: e for m, e in encoders.named.items() if m in used}
    return encoders.label or (
        ", ".join(f"{m}: {_label('encoder', _checked('encoder', e, plugins))}" for m, e in named.items())
        or "default"
    )
