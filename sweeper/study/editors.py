"""What helps to write a study file: a JSON schema for editors, and a commented file to begin with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import yaml

from sweeper.bridge import entries, installed
from sweeper.study import files
from sweeper.study.schema import Strict, Study

EXAMPLE = "quickstart"  # the shipped study whose values a new file begins with
WIDTH = 116
HEAD = """\
# A study: what is compared, and how. `sweeper plan {path}` checks it and says what it takes, `sweeper run {path}`
# carries it out. What stands behind a # is the default; docs/studies.md has more of every section.
"""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema, with the names of all that is installed; others stay admissible, since plug-ins bring some.

    It knows names, types and ranges of keys. Whether parts fit together, and what they take, `sweeper plan` says.
    """
    found = Study.model_json_schema()
    study, classes = found["properties"], found["$defs"]
    method = classes["MethodEntry"]["properties"]
    for kind, *places in (
        ("dataset", study["dataset"]),
        ("method", study["methods"], method["name"]),
        ("fusion", study["fusion"], method["fusion"]),
        ("encoder", classes["EncoderSet"]["additionalProperties"]),
        ("augmentation", study["augment"]["additionalProperties"]),
    ):
        for place in places:
            _offer([e.name for e in (*entries(kind).values(), *installed(kind))], place)
    return {"$schema": DIALECT, **found}


def _offer(names: list[str], node: Any) -> None:  # noqa: ANN401 - any part of a schema
    """Let names be proposed wherever in a part of a schema a text may stand."""
    if isinstance(node, list):
        for item in node:
            _offer(names, item)
    elif isinstance(node, dict):
        if node.get("type") == "string":
            node["anyOf"] = [{"enum": names}, {"type": node.pop("type")}]
        else:
            for item in list(node.values()):
                _offer(names, item)


def template(path: str, name: str) -> str:
    """Return a study file called `name` with every section, each explained as the schema does."""
    example = {**files.read(EXAMPLE)[0], "study": name}
    sections = [_section(key, field, example) for key, field in Study.model_fields.items()]
    return "\n".join([HEAD.format(path=path), *("\n".join(lines) + "\n" for lines in sections)])


def _section(key: str, field: Any, example: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401 - a FieldInfo
    """Yield a section's lines: what it is, the example's value, and commented out the default of what that lacks."""
    yield from textwrap.wrap(field.description, WIDTH, initial_indent="# ", subsequent_indent="# ")
    if not isinstance(field.default, Strict):
        yield _line(key, example[key]) if key in example else f"# {_line(key, _plain(field.default))}"
        return
    own = example.get(key, {})
    before = "  " if own else "#   "
    yield f"{key}:" if own else f"# {key}:"
    for inner, about in type(field.default).model_fields.items():
        line = _line(inner, own[inner]) if inner in own else _line(inner, _plain(about.default))
        admissible = " | ".join(map(str, _choices(about.annotation)))
        says = f"{admissible}: {about.description}" if admissible else about.description
        yield f"{before}{'# ' if own and inner not in own else ''}{line}  # {says}"


def _choices(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a type
    found = get_args(annotation)
    return found if all(isinstance(one, str) for one in found) else ()


def _plain(value: Any) -> Any:  # noqa: ANN401 - a default of the schema
    if isinstance(value, list):
        return [_plain(own) for own in value]
    return value.model_dump(exclude_defaults=True) if isinstance(value, Strict) else value


def _line(key: str, value: Any) -> str:  # noqa: ANN401 - any YAML value
    return f"{key}: {yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix('...' + chr(10)).strip()}"
