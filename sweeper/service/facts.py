"""What the catalogue tells, as plain data for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sweeper.bridge import (
    REQUIRED,
    Entry,
    Parameter,
    condition_parameters,
    find,
    hooks_of,
    published,
)
from sweeper.models.errors import choose
from sweeper.service import terms
from sweeper.service.catalogue import every
from sweeper.study import space

Facts = dict[str, Any]


def parts(kind: str, names: Sequence[str]) -> list[Facts]:
    """Return what is known of the named methods, datasets, …, of all without names; raise UserError as the pages do."""
    chosen = [find(kind, name) for name in names] if names else every(kind)
    return [_part(e) for e in chosen]


def conditions(names: Sequence[str]) -> list[Facts]:
    """Return the same of kinds of noise."""
    options = {name: _parameter(p) for name, p in condition_parameters().items()}
    known = terms.kinds()
    return [
        {"name": choose("condition", name, known), **known[name], "parameters": options}
        for name in names or known
    ]


def metrics(names: Sequence[str]) -> list[Facts]:
    """Return the same of metrics."""
    known = terms.measures()
    return [{"name": choose("metric", name, known), **known[name]} for name in names or known]


def _part(e: Entry) -> Facts:
    found: Facts = {"name": e.full, "kind": e.kind, "doc": e.doc}
    found["parameters"] = {name: _parameter(p) for name, p in e.parameters.items()}
    if e.kind == "method":
        return found | _method(e)
    known = published(e.name) if e.kind == "dataset" and e.full == e.name else None
    return found | ({"published": asdict(known)} if known else {})


def _method(e: Entry) -> Facts:
    own = space.read_file(e.name)
    return {
        "paper": own.get("cite"),
        "tasks": list(e.facts["tasks"]),
        "modalities": list(e.facts["modalities"]),
        "fuses": e.facts["fuses"],
        "hooks": list(hooks_of(e)),
        "presets": {name: values or {} for name, values in own.items() if name not in space.OF_FILE},
        "space": own.get("space") or {},
        "common_space": space.read_file("common").get("space", {}) if e.facts["trains"] else {},
    }


def _parameter(parameter: Parameter) -> Facts:
    required = parameter.default is REQUIRED
    return {
        "required": required,
        "default": None if required else parameter.default,
        "admissible": parameter.admissible,
    }
