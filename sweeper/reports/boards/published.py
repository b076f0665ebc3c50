"""Published tables: what papers print, number by number, and what stands for their rows and columns here.

They are data, a file for each paper in search_spaces/published, checked when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, chain
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from sweeper.models.errors import UserError, choose
from sweeper.study import space, yamls
from sweeper.study.files import shipped
from sweeper.study.schema import Strict

FOLDER = space.SPACES / "published"
NOTHING, UNREADABLE, UNSTATED = "—", "unreadable", "unstated"
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))?")

Axis = Literal["dataset", "encoders", "fusion", "method", "condition", "metric", "modality"]
Labels = dict[str, str]  # by axis


class Data(Strict):
    """A dataset of a paper: its `name` here, none if it cannot be read; its modalities as here, in the paper's order.

    `nets` are words that the label of our encoders must hold to be those of the paper.
    """

    name: str = ""
    modalities: list[str] = Field(default_factory=list)
    nets: list[str] = Field(default_factory=list)


class StandIn(Strict):
    """The label of the dataset that a study has in place of a paper's, and what stands for the paper's modalities."""

    dataset: str
    modalities: list[str] = Field(default_factory=list)


class Ours(Strict):
    """The study that follows a table, and what it calls the table's labels; those not named here are the same.

    A map may name labels of any axis; `{1}` in what it gives is the first modality of the dataset. `fixed` is the same
    for all numbers, `missing` says which labels the study has not, and why. `modalities` are those of a dataset where
    this table has them in another order.
    """

    study: str
    stand_ins: dict[str, StandIn] = Field(default_factory=dict)
    modalities: dict[str, list[str]] = Field(default_factory=dict)
    fixed: dict[Axis, str] = Field(default_factory=dict)
    method: Labels = Field(default_factory=dict)
    condition: Labels = Field(default_factory=dict)
    metric: Labels = Field(default_factory=dict)
    modality: Labels = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict)

    @property
    def named(self) -> set[str]:
        """All labels of the table that it names."""
        maps = (self.stand_ins, self.modalities, self.method, self.condition, self.metric, self.modality)
        return set(chain(*maps, self.missing))


class PublishedTable(Strict):
    """A table as it is printed: `values` has lines of heads, one for each axis in columns, and a line for each row.

    Fields are parted by |; one that is empty says what the one above it, or in heads before it, says. Shares are
    printed in % if `percent`. `why` says why no study follows it.
    """

    where: str
    shows: str
    rows: list[Axis] = Field(min_length=1)
    columns: list[Axis] = Field(min_length=1)
    fixed: dict[Axis, str] = Field(default_factory=dict)
    nets: list[str] = Field(default_factory=list)
    condition: str = "clean"
    selection: Literal["test", "validation", "unstated"]
    seeds: int | Literal["unstated"] | dict[str, int]
    percent: bool = True
    notes: list[str] = Field(default_factory=list)
    values: list[str]
    ours: Ours | None = None
    why: str = ""


class Paper(Strict):
    """A paper: what it is, its metrics and datasets by the names they have here, and its tables."""

    paper: str
    title: str
    year: int
    cite: str
    metrics: Labels
    datasets: dict[str, Data]
    tables: dict[str, PublishedTable]


@dataclass(frozen=True)
class Number:
    """A cell of a published table: what is printed, its value and std in that unit, of how many seeds.

    None is what the paper does not give or what cannot be read.
    """

    labels: Labels
    text: str
    value: float | None
    std: float | None
    n: int | None

    @property
    def places(self) -> int:
        """Its decimals."""
        return len(self.text.split(" ")[0].partition(".")[2]) if self.value is not None else 2


def papers(folder: Path = FOLDER) -> list[Paper]:
    """Return every paper of which there is a file, by year; raise UserError for a file with a mistake."""
    return sorted(map(_read, sorted(folder.glob("*.yaml"))), key=lambda paper: paper.year)


def following(study: str) -> list[tuple[Paper, PublishedTable]]:
    """Return the published tables that a study follows; raise UserError if there is none."""
    every = [(paper, table) for paper in papers() for table in paper.tables.values()]
    choose("study", study, {table.ours.study for _, table in every if table.ours}, "the published tables")
    return [(paper, table) for paper, table in every if table.ours and table.ours.study == study]


def numbers(table: PublishedTable) -> list[Number]:
    """Return a table's cells, row by row; raise ValueError for lines that do not make a table."""
    lines = [[field.strip() for field in line.split("|")] for line in table.values]
    left, top = len(table.rows), len(table.columns)
    for line in lines:
        if len(line) != len(lines[0]):
            row = " ".join(line[:left])
            raise ValueError(f"the line of {row!r} has {len(line)} fields, the first {len(lines[0])}")
    heads, body = lines[:top], lines[top:]
    if not body or len(lines[0]) <= left or any(any(line[:left]) for line in heads):
        raise ValueError(
            f"its values should have {top} lines of heads, after {left} empty fields, and then rows"
        )
    columns = _labels([line[left:] for line in heads])
    rows = _labels(list(zip(*(line[:left] for line in body), strict=True)))
    found = []
    for row, line in zip(rows, body, strict=True):
        for column, text in zip(columns, line[left:], strict=True):
            axes = (*table.rows, *table.columns)
            found.append(_number(text, dict(zip(axes, row + column, strict=True)), table))
    return found


def _labels(axes: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the labels of each row, or column, from those of each axis; an empty one is as the one before."""
    filled = [list(accumulate(axis, lambda last, own: own or last)) for axis in axes]
    return list(zip(*filled, strict=True))


def _number(text: str, labels: Labels, table: PublishedTable) -> Number:
    labels = {"condition": table.condition, **table.fixed, **labels}
    if text in (NOTHING, UNREADABLE):
        return Number(labels, text, None, None, None)
    found = NUMBER.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no number, nor a number ± another, {NOTHING} or {UNREADABLE}")
    value, std = found.groups()
    return Number(labels, text, float(value), float(std) if std else None, _seeds(labels, table.seeds))


def _seeds(labels: Labels, seeds: int | str | Mapping[str, int]) -> int | None:
    if isinstance(seeds, Mapping):
        return next((seeds[label] for label in labels.values() if label in seeds), None)
    return seeds if isinstance(seeds, int) else None


@cache
def _read(path: Path) -> Paper:
    where = f"published file {path.name!r}"
    try:
        paper = Paper.model_validate(yamls.read(path.read_text(), where))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "it"
        raise UserError(f"{where}: {at} is {first['input']!r:.100}; {first['msg'].lower()}") from None
    for key, table in paper.tables.items():
        _check(paper, table, f"{where}, {key}")
    return paper


def _check(paper: Paper, table: PublishedTable, where: str) -> None:
    """Raise UserError unless the numbers make a table and all labels that are named are there."""
    try:
        found = numbers(table)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    places = [tuple(number.labels.items()) for number in found]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise UserError(f"{where}: {', '.join(label for _, label in twice)} stands twice")
    known = {label for number in found for label in number.labels.values()}
    own = table.ours.metric if table.ours else {}
    for axis, admissible in (("dataset", paper.datasets), ("metric", {**paper.metrics, **own})):
        for number in found:
            choose(axis, number.labels.get(axis), admissible, where)
    named = table.ours.named if table.ours else set()
    for label in sorted(named | set(table.seeds if isinstance(table.seeds, dict) else ())):
        choose("label", label, known, where)
    if table.ours:
        choose("study", table.ours.study, shipped(), where)
    elif not table.why:
        raise UserError(f"{where}: it has neither `ours`, the study that follows it, nor `why` there is none")
