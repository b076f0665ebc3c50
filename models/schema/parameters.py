"""One hyper-parameter: its type, range and default; what it admits, and in words."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sweeper.models.errors import UserError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

REQUIRED = object()
PLAIN = {
    "string": "text",
    "boolean": "true | false",
    "null": "null",
    "integer": "a whole number",
    "number": "a number",
}


@dataclass(frozen=True)
class Parameter:
    """Its type, an annotation that may carry a range, and its default (REQUIRED if it has none)."""

    type: Any
    default: Any

    def admit(self, value: Any, where: str) -> Any:  # noqa: ANN401 - any YAML value
        """Return `value` as plain data of this type; raise UserError in one sentence if it is not admissible."""
        adapter = _adapter(self.type)
        try:
            return adapter.dump_python(
                adapter.validate_json(json.dumps(value, default=os.fspath)), mode="json"
            )
        except (ValueError, TypeError):  # pydantic's own, or it is not what JSON can say, such as bytes
            raise UserError(f"{where} is {value!r}; admissible: {self.admissible}") from None

    def check(self, where: str) -> None:
        """Raise UserError unless a study can say values of the type, and the default is one."""
        from pydantic.errors import PydanticUserError

        try:
            admissible = self.admissible
        except (PydanticUserError, TypeError):  # what is no type of plain data, or no type at all
            raise UserError(
                f"{where} has a type that no study can say; admissible are int, float, bool, str, Path, Literal[…],"
                " lists, tuples and mappings of these, and | None"
            ) from None
        if self.default is not REQUIRED:
            try:
                self.admit(self.default, where)
            except UserError:
                raise UserError(
                    f"{where} has the default {self.default!r}; by its type admissible: {admissible}"
                ) from None

    @property
    def is_path(self) -> bool:
        """Whether it is the place of a file or folder."""
        return Path in (self.type, *get_args(self.type))

    @property
    def admissible(self) -> str:
        """What it admits, in words a user can act on."""
        return _words(_adapter(self.type).json_schema())


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any annotation
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def _words(schema: dict[str, Any]) -> str:
    """Return a JSON schema in words."""
    if "anyOf" in schema:
        return " | ".join(map(_words, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return " | ".join(map(_yaml, schema.get("enum", [schema.get("const")])))
    kind = schema.get("type")
    if kind == "array" and "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}: {', '.join(map(_words, schema['prefixItems']))}"
    if kind == "array":
        return f"a list of {_words(schema.get('items', {}))}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"a mapping to {_words(inner if isinstance(inner, dict) else {})}"
    if schema.get("format") == "path":
        return "a path"
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    low = f" from {least:g}" if least is not None else f" above {above:g}" if above is not None else ""
    high = f" to {most:g}" if most is not None else f" to below {below:g}" if below is not None else ""
    if above is not None and below is not None:
        high = f" and below {below:g}"
    return PLAIN.get(kind, "anything") + low + high


def _yaml(value: object) -> str:
    """Return a value that may be chosen as YAML writes it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
