"""The study file: what a researcher writes, checked before anything is done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sweeper.bridge import direction, parse_condition
from sweeper.models.errors import UserError, choose
from sweeper.study import samplers, space, yamls
from sweeper.study.places import place

STUDIES = space.SPACES / "studies"
AXES = ("dataset", "encoders", "fusion", "method", "condition", "metric")


class Strict(BaseModel):
    """Unknown keys are errors; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _named(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
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


def _condition(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    return parse_condition(value).label


def _one_or_several(one: Any) -> BeforeValidator:  # noqa: ANN401 - a type
    """Let one stand for a list of one."""
    return BeforeValidator(_several, json_schema_input_type=one | list[one])


Sampler = Annotated[
    samplers.Named,
    BeforeValidator(
        samplers.checked, json_schema_input_type=Literal[tuple(samplers.OPTIONS)] | dict[str, Any]
    ),
]
Distinct = BeforeValidator(_distinct)
Named = Annotated[dict[str, Any], BeforeValidator(_named, json_schema_input_type=str | dict[str, Any])]
Several = Annotated[list[Named], _one_or_several(Named), Field(min_length=1)]
Seeds = Annotated[list[int], Distinct, Field(min_length=1)]
Condition = Annotated[str, BeforeValidator(_condition, json_schema_input_type=str | dict[str, Any])]
Conditions = Annotated[
    list[Condition], _one_or_several(Condition), AfterValidator(_distinct), Field(min_length=1)
]
Axis = Annotated[str, BeforeValidator(_axis, json_schema_input_type=Literal[AXES])]
Axes = Annotated[list[Axis], Distinct]


class MethodEntry(Strict):
    """A method in a study: values in `space` are fixed, mappings are domains; `label` names its row in tables.

    `preset` names the settings of its search-space file that configuration 0 takes, `fusion` what it fuses by in
    place of the study's.
    """

    name: str
    label: str = ""
    preset: str = "published"
    fusion: Several | None = None
    space: dict[str, Any] = {}


class EncoderSet(Strict):
    """Encoders by modality or kind of input; `label` names the set in tables, `space` is what it fixes or searches."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Named]

    label: str = ""
    space: dict[str, Any] = {}

    @property
    def named(self) -> dict[str, dict[str, Any]]:
        """Each encoder by what it is for."""
        return self.__pydantic_extra__


NamedMethod = Annotated[MethodEntry, BeforeValidator(_named, json_schema_input_type=str | MethodEntry)]


class Search(Strict):
    """How configurations are proposed, over which seeds they are repeated, when they are dropped.

    `ahead`: configuration k is proposed knowing the first results of 0 … k - ahead, however many run at once,
    so a study's proposals do not depend on timing. `configurations` counts the published defaults as the first.
    """

    configurations: Annotated[int, Field(ge=1)] = 8
    seeds: Seeds = [0, 1]
    sampler: Sampler = "tpe"
    racing: Literal["none", "halving", "thirding", "paired"] = "halving"
    early_stopping: Literal["none", "asha", "median", "once"] = "none"
    ahead: Annotated[int, Field(ge=1)] = 4
    seed: int = 0


class Final(Strict):
    """The fresh seeds of the reported numbers."""

    seeds: Seeds = [100, 101, 102, 103, 104]


class Select(Strict):
    """The rule that freezes an arm's configuration: best mean of `metric` on validation."""

    metric: str = "accuracy"
    on: Literal["validation"] = "validation"


class Resources(Strict):
    """What one run uses: CPUs and GPUs of each of its workers; and how its net is computed on a GPU.

    A part of a GPU is the most that a run gets. A run that makes no step for `silence` seconds hangs: it is ended.
    """

    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    workers: Annotated[int, Field(ge=1)] = 1
    silence: Annotated[float, Field(gt=0)] = 1800.0
    channels_last: bool = False
    compile: bool = False


class Layout(Strict):
    """What stands where in the study's table; axes that differ between cells and stand nowhere are added."""

    rows: Axes = ["method"]
    columns: Axes = []
    metrics: Annotated[list[str], Distinct] = []


class Study(Strict):
    """One study file.

    `reuse`: a finished run stands for one that this study needs if it was done by the same code, or by any.
    """

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    dataset: Several
    methods: Annotated[list[NamedMethod], _one_or_several(NamedMethod), Field(min_length=1)]
    encoders: Annotated[list[EncoderSet], _one_or_several(EncoderSet), Field(min_length=1)] = [EncoderSet()]
    augment: dict[str, Several] = {}
    fusion: Several = [{"name": "concat"}]
    search: Search = Search()
    final: Final = Final()
    train: dict[str, Any] = {}
    space: dict[str, Any] = {}
    conditions: Conditions = ["clean"]
    select: Select = Select()
    resources: Resources = Resources()
    checkpoints: Literal["none", "best", "all"] = "best"
    reuse: Literal["code", "any"] = "code"
    report: Layout = Layout()
    plugins: list[str] = []


SECTIONS = {name: f.annotation for name, f in Study.model_fields.items() if isinstance(f.default, Strict)}


def find(name: str) -> Path:
    """Return the study file that `name` is, or names in search_spaces/studies; raise UserError if there is none."""
    path = place("study file", name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"study file {name!r} does not exist; give a file, or one of: {', '.join(shipped())}")
    return STUDIES / f"{choose('study', name, shipped())}.yaml"


def shipped() -> list[str]:
    """Return the names of the studies in search_spaces/studies."""
    return sorted(p.stem for p in STUDIES.glob("*.yaml"))


def load(name: str, overrides: Iterable[str] = ()) -> Study:
    """Read a study file, apply `--set a.b=c` overrides, and check it; raises UserError in one sentence."""
    path = find(name)
    where = f"study file {path.name!r}"
    try:
        raw = yamls.read(path.read_text(), where)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read ({error}); give a text file of YAML") from None
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else f"holds {type(raw).__name__}"
        raise UserError(f"{where} {found}; it must be a mapping that begins with `study:`")
    for override in overrides:
        _override(raw, override)
    return parse(raw, path.name)


def parse(raw: Mapping[str, Any], where: str = "study") -> Study:
    """Return the checked study; raises UserError in one sentence."""
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise UserError(_sentence(error, where)) from None
    both = sorted(set(study.search.seeds) & set(study.final.seeds))
    if both:
        raise UserError(
            f"{where}: seed {both[0]} is in search.seeds and in final.seeds; tuning and report seeds must differ"
        )
    for axis in study.report.rows:
        if axis in study.report.columns:
            raise UserError(
                f"{where}: axis {axis!r} is in report.rows and in report.columns; it belongs into one"
            )
    direction(study.select.metric)
    for metric in study.report.metrics:
        direction(metric)
    return study


def dump(study: Study) -> str:
    """Return the study as YAML, every default written out."""
    return yaml.safe_dump(study.model_dump(), sort_keys=False)


def _override(raw: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set {override!r} is not of the form a.b=c")
    # the keys of `space` are dotted themselves, as in space.train.lr
    *parents, last = path.split(".", 1 if path.startswith("space.") else -1)
    for key in parents:
        if raw.get(key) is None or isinstance(raw[key], str):
            raw[key] = {"name": raw[key]} if raw.get(key) else {}
        raw = raw[key]
        if not isinstance(raw, dict):
            raise UserError(f"--set {override!r}: {key!r} is not a mapping in this study")
    raw[last] = yamls.read(text, f"--set {override!r}")


def _sentence(error: ValidationError, where: str) -> str:
    """Return the first error as a sentence: where it is, what was found, what is admissible.

    An unknown key comes before one that is missing: it is often the same one, misspelt.
    """
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    path, kind, found = [str(part) for part in first["loc"]], first["type"], first["input"]
    place = ".".join(path)
    if kind == "missing":
        needed = [name for name, f in _fields(path).items() if f.is_required()]
        return f"{where}: {place} is missing; needed are {', '.join(needed)}"
    if kind == "extra_forbidden":
        return _unknown("key", path[-1], _fields(path), f"{where}, {'.'.join(path[:-1]) or 'the top level'}")
    if kind == "literal_error":
        return _unknown(place, found, re.findall("'([^']*)'", first["ctx"]["expected"]), where)
    if kind == "value_error":
        return f"{where}: {place} is {found!r}; {first['ctx']['error']}"
    keys = ", ".join(SECTIONS.get(path[-1], MethodEntry).model_fields)
    of_encoders = "modalities, or kinds of input, to encoders"
    wanted = {
        "model_type": f"should be a mapping of {of_encoders if path[0] == 'encoders' else keys}",
        "too_short": "must not be empty",
        "string_pattern_mismatch": "must be of letters, digits, '.', '_' and '-', beginning with one of the first two",
        "invalid_key": "should have text as its keys",
    }
    return f"{where}: {place} is {found!r}; it {wanted.get(kind, first['msg'].removeprefix('Input '))}"


def _fields(path: list[str]) -> Mapping[str, Any]:
    """Return the fields that are known where the last part of the path stands."""
    section = SECTIONS.get(path[0], MethodEntry) if len(path) > 1 else Study
    return section.model_fields


def _unknown(kind: str, name: object, known: Iterable[str], where: str) -> str:
    try:
        return choose(kind, name, known, where)
    except UserError as error:
        return str(error)
