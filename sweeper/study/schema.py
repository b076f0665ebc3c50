"""The study file: what a researcher writes, checked before anything is done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sweeper.bridge import direction, full_metric
from sweeper.models.errors import UserError, choose
from sweeper.study import objectives
from sweeper.study.fields import (
    Axes,
    Conditions,
    Distinct,
    Named,
    Sampler,
    Seeds,
    Several,
    named,
    one_or_several,
)
from sweeper.study.files import change, override, read

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class Strict(BaseModel):
    """Unknown keys are errors; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


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


NamedMethod = Annotated[MethodEntry, BeforeValidator(named, json_schema_input_type=str | MethodEntry)]


class Search(Strict):
    """How configurations are proposed, over which seeds they are repeated, when they are dropped.

    `ahead`: configuration k is proposed knowing the first results of 0 … k - ahead, however many run at once,
    so a study's proposals do not depend on timing. `configurations` counts the published defaults as the first.
    """

    configurations: Annotated[int, Field(ge=1)] = 8
    """How many are tried of each arm, the published defaults first."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Of search runs, added up over all; arms share them equally."""
    seeds: Seeds = [0, 1]
    """The tuning seeds."""
    sampler: Sampler = "tpe"
    """What proposes configurations."""
    racing: Literal["none", "halving", "elimination", "cost"] = "halving"
    """How configurations earn further seeds."""
    early_stopping: Literal["none", "once", "asha"] = "none"
    """What ends runs that fall behind."""
    ahead: Annotated[int, Field(ge=1)] = 4
    """Configuration k is proposed from the first results of 0 … k - ahead."""
    seed: int = 0
    """What proposals are drawn by."""


class Final(Strict):
    """The fresh seeds of the reported numbers."""

    seeds: Seeds = [100, 101, 102, 103, 104]
    """The report seeds, none of them a tuning seed."""


class Select(Strict):
    """The rule that freezes an arm's configuration: best mean of `metric` on validation.

    The search goes by `beside` as well, if there is one; what is frozen goes by `metric` alone.
    """

    metric: str = "accuracy"
    """Its mean over tuning seeds decides; `sweeper metrics` lists all."""
    beside: str = ""
    """A second metric to search by, and to draw the front of both; it does not decide."""
    on: Literal["validation"] = "validation"
    """Test data never decide."""

    @property
    def metrics(self) -> list[str]:
        """What the search goes by: one metric, or two."""
        return [metric for metric in (self.metric, self.beside) if metric]


class Resources(Strict):
    """What one run uses: CPUs and GPUs of each of its workers; and how its net is computed on a GPU.

    A part of a GPU is the most that a run gets. A run that makes no step for `silence` seconds hangs: it is ended.
    """

    cpus: Annotated[float, Field(gt=0)] = 1.0
    """CPUs of each worker."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of each worker; a part of one is the most that a run gets."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train one run together."""
    silence: Annotated[float, Field(gt=0)] = 1800.0
    """Seconds without a step after which a run is ended and tried again."""
    channels_last: bool = False
    """Lay convolutions out for tensor cores, on GPUs alone."""
    compile: bool = False
    """Run encoders and fusion through `torch.compile`, on GPUs alone."""

    @model_validator(mode="after")
    def _whole(self) -> Resources:
        if self.workers > 1 and self.gpus % 1:
            raise ValueError(
                f"{self.gpus:g} GPU for each of {self.workers} workers; a run on several needs whole GPUs, or none"
            )
        return self


class Layout(Strict):
    """What stands where in the study's table; axes that differ between cells and stand nowhere are added."""

    rows: Axes = ["method"]
    """Axes that stand as rows."""
    columns: Axes = []
    """Axes that stand as columns."""
    metrics: Annotated[list[str], Distinct] = []
    """Which are shown; without, the one that selects, of each modality too."""


class Study(Strict):
    """One study file.

    `reuse`: a finished run stands for one that this study needs if it was done by the same code, or by any. `on_end`
    is a shell command that is run when `sweeper run` ends.
    """

    study: Annotated[str, Field(pattern=NAME, max_length=100)]
    """Its name: of its table, its folder, and its experiment in MLflow."""
    dataset: Several
    """What is learnt from, one or a list; `sweeper datasets` lists all, `table` reads files of your own."""
    methods: Annotated[list[NamedMethod], one_or_several(NamedMethod), Field(min_length=1)]
    """What is compared; `sweeper methods` lists all. An entry may have a label, a preset, a fusion and a space."""
    encoders: Annotated[list[EncoderSet], one_or_several(EncoderSet), Field(min_length=1)] = [EncoderSet()]
    """An encoder for each kind of input or modality, else its default; a list of labelled sets compares them."""
    augment: dict[str, Several] = {}
    """What is done to training rows, by kind of input or modality; `sweeper augmentations` lists all."""
    fusion: Several = [{"name": "concat"}]
    """How modalities are joined, one or a list; `sweeper fusions` lists all."""
    search: Search = Search()
    """How configurations are proposed, over which seeds they are repeated, and when they are dropped."""
    final: Final = Final()
    """The fresh seeds of the reported numbers."""
    train: dict[str, Any] = {}
    """Settings of training that are fixed, and not searched."""
    space: dict[str, Any] = {}
    """What is fixed or searched of hyper-parameters, for all arms; a method's entry may have its own."""
    conditions: Conditions = ["clean"]
    """What the finished weights are tested under, and never trained for; `sweeper conditions` lists all."""
    select: Select = Select()
    """The rule that chooses a configuration, on validation alone."""
    resources: Resources = Resources()
    """What one run uses; it is no part of what makes it the same run."""
    checkpoints: Literal["none", "best", "all"] = "best"
    """Which weights of a run are kept: none, the best, or its last state too."""
    reuse: Literal["code", "any"] = "code"
    """Whose finished runs stand for those that are needed: of the same code, or of any."""
    report: Layout = Layout()
    """What stands where in the table."""
    plugins: list[str] = []
    """Modules of your own, on PYTHONPATH, that bring methods or other parts."""
    on_end: str = ""
    """A shell command that `sweeper run` runs at its end."""

    @classmethod
    def of(
        cls, given: Study | Mapping[str, Any] | Path | str, changes: Mapping[str, Any] = MappingProxyType({})
    ) -> Study:
        """Return the study that a mapping is, or a file or the name of a shipped one, with `changes` {"a.b": value}.

        Raises UserError in one sentence.
        """
        if isinstance(given, str | Path):
            raw, where = read(str(given))
        elif isinstance(given, Study | Mapping):
            raw, where = given.model_dump() if isinstance(given, Study) else deepcopy(dict(given)), "study"
        else:
            raise UserError(
                f"study is {given!r}; give a Study, a mapping, a file or the name of a shipped one"
            )
        for key, value in changes.items():
            change(raw, key, value)
        return parse(raw, where)


SECTIONS = {name: f.annotation for name, f in Study.model_fields.items() if isinstance(f.default, Strict)}


def load(name: str, overrides: Iterable[str] = ()) -> Study:
    """Read a study file, apply `--set a.b=c` overrides, and check it; raises UserError in one sentence."""
    raw, where = read(name)
    for text in overrides:
        override(raw, text)
    return parse(raw, where)


def parse(raw: Mapping[str, Any], where: str = "study") -> Study:
    """Return the checked study; raises UserError in one sentence."""
    try:
        study = Study.model_validate(raw, context={"plugins": _plugins(raw)})
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
    study = _with_full_metrics(study)
    select, search = study.select, study.search
    objectives.check(select.metric, select.beside, search.sampler, search.early_stopping, where)
    return study


def _with_full_metrics(study: Study) -> Study:
    """Return the study with its metrics' names in full; raise UserError for one that there is not."""

    def full(metric: str) -> str:
        found = full_metric(metric, study.plugins)
        direction(found)
        return found

    select = {key: full(name) for key in ("metric", "beside") if (name := getattr(study.select, key))}
    report = {"metrics": [full(name) for name in study.report.metrics]}
    parts = {
        "select": study.select.model_copy(update=select),
        "report": study.report.model_copy(update=report),
    }
    return study.model_copy(update=parts)


def _plugins(raw: Mapping[str, Any]) -> list[str]:
    """Return the plug-ins of a study that is not checked yet."""
    named = raw.get("plugins")
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def dump(study: Study) -> str:
    """Return the study as YAML, every default written out."""
    return yaml.safe_dump(study.model_dump(), sort_keys=False)


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
