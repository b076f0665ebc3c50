"""The study file: what a researcher writes, checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sweeper import space
from sweeper.bridge import UserError, choose, direction

STUDIES = space.HOME / "studies"


class Strict(BaseModel):
    """Unknown keys are errors; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _named(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    return {"name": value} if isinstance(value, str) else value


def _several(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    return value if isinstance(value, list) else [value]


def _seeds(value: Any) -> Any:  # noqa: ANN401 - YAML value before validation
    if isinstance(value, list) and len(set(map(str, value))) != len(value):
        raise ValueError(f"{value} names a seed twice")
    return value


Named = Annotated[dict[str, Any], BeforeValidator(_named)]
Several = Annotated[list[Named], BeforeValidator(_several), Field(min_length=1)]
Seeds = Annotated[list[int], BeforeValidator(_seeds), Field(min_length=1)]


class MethodEntry(Strict):
    """A method in a study: values in `space` are fixed, mappings are domains; `label` names its row in tables."""

    name: str
    label: str = ""
    space: dict[str, Any] = {}


class Search(Strict):
    """How configurations are proposed, over which seeds they are repeated, when they are dropped.

    `ahead`: configuration k is proposed knowing the first results of 0 … k - ahead, however many run at once,
    so a study's proposals do not depend on timing. `configurations` counts the published defaults as the first.
    """

    configurations: Annotated[int, Field(ge=1)] = 8
    seeds: Seeds = [0, 1]
    sampler: Literal["tpe", "random", "grid", "qmc"] = "tpe"
    racing: Literal["none", "halving", "paired"] = "halving"
    early_stopping: Literal["none", "asha", "median"] = "none"
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
    """What one run uses: CPUs and GPUs of each of its workers."""

    cpus: Annotated[float, Field(gt=0, strict=False)] = 1.0
    gpus: Annotated[float, Field(ge=0, strict=False)] = 0.0
    workers: Annotated[int, Field(ge=1)] = 1


class Layout(Strict):
    """What stands where in the study's table."""

    rows: list[str] = ["method"]
    columns: list[str] = []
    metrics: list[str] = []


class Study(Strict):
    """One study file."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    dataset: Several
    methods: Annotated[list[MethodEntry | str], Field(min_length=1)]
    encoders: dict[str, Named] = {}
    fusion: Several = [{"name": "concat"}]
    search: Search = Search()
    final: Final = Final()
    train: dict[str, Any] = {}
    space: dict[str, Any] = {}
    conditions: Annotated[list[Literal["clean"]], Field(min_length=1)] = ["clean"]
    select: Select = Select()
    resources: Resources = Resources()
    checkpoints: Literal["none", "best", "all"] = "best"
    report: Layout = Layout()
    plugins: list[str] = []

    @property
    def entries(self) -> list[MethodEntry]:
        """The methods, a bare name being an entry without a space of its own."""
        return [MethodEntry(name=m) if isinstance(m, str) else m for m in self.methods]


def find(name: str) -> Path:
    """Return the study file that `name` is, or names in search_spaces/studies; raise UserError if there is none."""
    path = Path(name)
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
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        raise UserError(
            f"study file {path.name!r} is not valid YAML{line}: {getattr(error, 'problem', error)}"
        ) from None
    if not isinstance(raw, dict):
        raise UserError(
            f"study file {path.name!r} holds {type(raw).__name__}; it must be a mapping that begins with `study:`"
        )
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
    *parents, last = path.split(".")
    for key in parents:
        if isinstance(raw.get(key), str):
            raw[key] = {"name": raw[key]}
        raw = raw.setdefault(key, {})
        if not isinstance(raw, dict):
            raise UserError(f"--set {override!r}: {key!r} is not a mapping in this study")
    raw[last] = yaml.safe_load(text)


def _sentence(error: ValidationError, where: str) -> str:
    first = error.errors(include_url=False)[0]
    path = [
        str(p) for p in first["loc"] if not (isinstance(p, str) and ("[" in p or p in ("str", "MethodEntry")))
    ]
    place = ".".join(path)
    if first["type"] == "extra_forbidden":
        owner = _model_at(path[:-1])
        try:
            choose("key", path[-1], owner.model_fields, f"{where}, {'.'.join(path[:-1]) or 'the top level'}")
        except UserError as unknown:
            return str(unknown)
    if first["type"] == "missing":
        return f"{where}: {place!r} is missing; a study needs study, dataset and methods"
    found = "" if isinstance(first["input"], dict) else f" is {first['input']!r};"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{where}: {place}{found} {message}"


def _model_at(path: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Study
    for part in path:
        if part == "methods":
            return MethodEntry
        field = model.model_fields.get(part)
        if (
            field is None
            or not isinstance(field.annotation, type)
            or not issubclass(field.annotation, BaseModel)
        ):
            break
        model = field.annotation
    return model
