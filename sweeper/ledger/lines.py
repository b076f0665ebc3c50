"""The lines of the ledger: how they are read, and what each speaks of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic_core import from_json

from sweeper.ledger.records import Announced, Record, RunRecord, Selected, typed

FIELDS = ("key", "study", "arm", "work")  # of a row, by which lines are looked up
Wanted = Mapping[str, Collection[str]]  # {field: values}, any of which a line is to speak of


class Row(NamedTuple):
    """What a line speaks of: `key` is its subject, of a run the run's; of a plan there is a row for each arm."""

    kind: str
    key: str
    study: str | None = None
    arm: str | None = None
    work: str | None = None
    stage: str | None = None
    status: str | None = None

    @property
    def done(self) -> bool:
        """Whether it is of a run that ran to its end."""
        return self.status == "done"


class Line(NamedTuple):
    """A line of the file: its number from 1, where it begins and how long it is, in bytes, and its record.

    Where it cannot be read the record is None; `rows` are what it speaks of, `whole` is whether it has its end.
    """

    number: int
    offset: int
    length: int
    whole: bool
    record: Record | None
    rows: list[Row]


def of(path: Path, offset: int = 0, number: int = 0) -> Iterator[Line]:
    """Yield the lines of a file, there or not, that begin at `offset`, after `number` others; empty ones only count."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for place, content in enumerate(file, number + 1):
            if content.strip():
                yield Line(place, offset, len(content), content.endswith(b"\n"), *parsed(content))
            offset += len(content)


def parsed(content: bytes) -> tuple[Record | None, list[Row]]:
    """Return the record that a line is, None if it cannot be read, and what it speaks of."""
    try:
        record = typed(from_json(content))
        return record, rows(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, []


def rows(record: Record) -> list[Row]:
    """Return what a record speaks of; raise TypeError or ValueError where that is no text."""
    hash(record.subject)
    kind, key = record.KIND, "/".join(map(str, record.subject[1:]))
    match record:
        case Announced(study=study):
            found = [Row(kind, key, study, arm.key, arm.work) for arm in record.arms] or [
                Row(kind, key, study)
            ]
        case Selected():
            found = [Row(kind, key, record.study, record.arm)]
        case RunRecord():
            found = [Row(kind, key, None, record.arm, record.work, record.stage, record.status)]
        case _:
            found = [Row(kind, key, arm=record.arm)]
    for row in found:
        "".join(text for text in row if text is not None).encode()
    return found
