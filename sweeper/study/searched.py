"""What an arm fixes and searches: the study says it, then the files of its method, of its encoders, and of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sweeper import bridge
from sweeper.bridge import Entry, InputSpec, Parameter
from sweeper.models.errors import Misfit, UserError, choose
from sweeper.study import space
from sweeper.study.arms import OF_ENCODER
from sweeper.study.schema import EncoderSet, MethodEntry, Study
from sweeper.study.space import Cases, Space, Values


def space_of(
    study: Study,
    method: Entry,
    entry: MethodEntry,
    encoders: EncoderSet,
    inputs: Mapping[str, InputSpec],
    more: Values,
) -> tuple[Values, Space, Values, list[str]]:
    """Return (fixed values, domains, published defaults, modalities used) of an arm on a dataset's `inputs`.

    `more` is what the study says of this dataset and this method.
    """
    own, where, modalities = space.read_file(method.full), f"method {method.name!r}", list(inputs)
    settings = bridge.settings.parameters(modalities)
    schema = {f"train.{k}": p for k, p in settings.items()} | method.parameters
    given = {
        **own.get("space", {}),
        **{f"train.{k}": v for k, v in study.train.items()},
        **study.space,
        **more,
    }
    common = space.read_file("common").get("space", {})
    if "train.epochs" in given:  # who counts epochs means them
        common = {name: value for name, value in common.items() if name != "train.least_steps"}
    encoding, begin = _of_encoders(encoders, method, inputs)
    given = {**common, **encoding, **given}
    domains, fixed = {}, {}
    for name, value in given.items():
        if name.startswith(OF_ENCODER) and name not in schema:
            continue  # of a modality that another dataset has
        choose("hyper-parameter", name, schema, where)
        if space.is_domain(value):
            domains[name] = space.parse(name, value, schema[name], where)
        else:
            fixed[name] = schema[name].admit(value, f"{where}: {name}")
    if not method.facts["trains"]:
        fixed, domains = (
            {k: v for k, v in values.items() if not k.startswith("train.")} for values in (fixed, domains)
        )
    used = _modalities(method, fixed, domains, modalities)
    unused = {f"{OF_ENCODER}{m}" for m in modalities if m not in used}
    fixed, domains = ({k: v for k, v in values.items() if k not in unused} for values in (fixed, domains))
    published = {
        k: schema[choose("hyper-parameter", k, schema, where)].admit(v, k)
        for k, v in {**_preset(own, entry, where), **begin}.items()
    }
    for name, parameter in method.parameters.items():
        if parameter.default is bridge.REQUIRED and name not in fixed and name not in domains:
            raise UserError(f"{where} needs {name!r} ({parameter.admissible}); set it in the method's space")
    meant = {**{k: p.default for k, p in schema.items()}, **published}
    known = {**meant, **fixed}
    for name, domain in domains.items():
        own = domain.given(known)
        if isinstance(domain, Cases) and own and own != domain.given(meant):
            published[name] = own.at(0.5)  # what is published is for another optimiser, say
    return fixed, _reachable(domains, known, schema, where), published, used


def _of_encoders(
    encoders: EncoderSet, method: Entry, inputs: Mapping[str, InputSpec]
) -> tuple[Values, Values]:
    """Return (what is fixed and searched, where configuration 0 begins) by the files of the encoders.

    A file says `when` it counts, by the encoder's options; a `*` stands for each modality that is so encoded.
    """
    found: Values = {}
    begin: Values = {}
    for m, spec in inputs.items() if method.facts["encodes"] and method.facts["trains"] else ():
        named = encoders.named.get(m) or encoders.named.get(spec.kind) or {}
        own = space.read_file(f"encoders/{named.get('name')}")
        if not own:
            continue
        options = {**bridge.entry("encoder", named["name"]).defaults(), **named}
        if all(options[name] in admissible for name, admissible in own.get("when", {}).items()):
            found |= {name.replace("*", m): value for name, value in own["space"].items()}
            begin |= {name.replace("*", m): value for name, value in own.get("published", {}).items()}
    return found, begin


def _preset(own: Mapping[str, Any], entry: MethodEntry, where: str) -> Mapping[str, Any]:
    """Return the settings that configuration 0 begins with: those published, or another set that the file brings."""
    sets = {"published": {}} | {k: v for k, v in own.items() if k not in space.OF_FILE}
    return sets[choose("preset", entry.preset, sets, where)] or {}


def _modalities(method: Entry, fixed: Values, domains: Space, modalities: list[str]) -> list[str]:
    """Return the modalities that a method reads: all, unless a parameter of it names one."""
    parameter = space.read_file(method.full).get("per_modality")
    if parameter is None:
        return modalities
    named = domains[parameter].choices if parameter in domains else (fixed[parameter],)
    if None in named:
        return modalities
    try:
        return [choose(parameter, value, modalities, f"method {method.name!r}") for value in named]
    except UserError as error:  # another dataset may have it
        raise Misfit(str(error)) from None


def always_read(method: Entry, domains: Space, used: list[str]) -> list[str]:
    """Return which of the modalities that an arm reads all of its configurations do."""
    parameter = space.read_file(method.full).get("per_modality")
    named = {value for value in domains[parameter].choices if value} if parameter in domains else set()
    return used if not named else [m for m in used if named == {m}]


def _reachable(domains: Space, known: Values, schema: Mapping[str, Parameter], where: str) -> Space:
    """Return the domains whose conditions can hold, in an order in which those stand first that others depend on.

    Conditions on parameters that are not searched are decided here, by their `known` values, and dropped.
    """
    found: Space = {}
    for name, given in space.ordered(domains):
        place, can_hold = f"`when` of {name!r} ({where})", []
        for domain in given.domains if isinstance(given, Cases) else (given,):
            when = tuple(
                (
                    choose("hyper-parameter", other, schema, place),
                    tuple(schema[other].admit(v, place) for v in ok),
                )
                for other, ok in domain.when
            )
            if all(other in found or (other not in domains and known[other] in ok) for other, ok in when):
                can_hold.append(replace(domain, when=tuple(w for w in when if w[0] in found)))
        if can_hold:
            found[name] = Cases(tuple(can_hold)) if len(can_hold) > 1 else can_hold[0]
    return found
