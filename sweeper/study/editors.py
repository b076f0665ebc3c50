"""A JSON schema of study files, by which an editor completes and checks them while they are written."""

from __future__ import annotations

from typing import Any

from sweeper.bridge import entries, installed
from sweeper.study.schema import Study

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
