"""The kinds of values that a study file holds, checked: lists that one thing may stand for, seeds, conditions, axes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from sweeper.bridge import parse_condition
from sweeper.models.errors import choose
from sweeper.study import samplers

AXES = ("dataset", "encoders", "fusion", "method", "condition", "metric")


def named(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    """Let a name stand for a mapping that holds nothing else."""
    return {"name": value} if isinstance(value, str) else value


def _several(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    return value if isinstance(value, list) else [value]


def _distinct(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    if isinstance(value, list):
        for i, item in enumerate(value):
            if item in value[:i]:
                raise ValueError(f"it names {item!r} twice")
    return value


def _axis(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    return choose("axis", value, AXES)


def _condition(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - YAML value before validation
    return parse_condition(value, info.context["plugins"]).label


def one_or_several(one: Any) -> BeforeValidator:  # noqa: ANN401 - a type
    """Let one stand for a list of one."""
    return BeforeValidator(_several, json_schema_input_type=one | list[one])


Sampler = Annotated[
    samplers.Named,
    BeforeValidator(
        samplers.checked, json_schema_input_type=Literal[tuple(samplers.OPTIONS)] | dict[str, Any]
    ),
]
Distinct = BeforeValidator(_distinct)
Named = Annotated[dict[str, Any], BeforeValidator(named, json_schema_input_type=str | dict[str, Any])]
Several = Annotated[list[Named], one_or_several(Named), Field(min_length=1)]
Seeds = Annotated[list[int], Distinct, Field(min_length=1)]
Condition = Annotated[str, BeforeValidator(_condition, json_schema_input_type=str | dict[str, Any])]
Conditions = Annotated[
    list[Condition], one_or_several(Condition), AfterValidator(_distinct), Field(min_length=1)
]
Axis = Annotated[str, BeforeValidator(_axis, json_schema_input_type=Literal[AXES])]
Axes = Annotated[list[Axis], Distinct]
