"""The records that no index holds, in memory: all of a small ledger, the latest of a large one."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeVar

from sweeper.ledger.lines import FIELDS, Row, Wanted
from sweeper.ledger.records import Record

Kind = TypeVar("Kind", bound=Record)


class Recent:
    """Records in their order, found by what they speak of."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._rows: list[list[Row]] = []
        self._places: dict[tuple[str, str], list[int]] = defaultdict(list)

    def add(self, record: Record, rows: list[Row]) -> None:
        """Add one that speaks of what is in these rows."""
        self._rows.append(rows)
        self.records.append(record)
        for place in {(field, text) for row in rows for field in FIELDS if (text := getattr(row, field))}:
            self._places[place].append(len(self.records) - 1)

    def find(self, kind: type[Kind], wanted: Wanted) -> list[Kind]:
        """Return the records of a kind that speak of anything wanted, in order."""
        return [self.records[place] for place in self._found(kind, wanted)]

    def rows(self, kind: type[Record], wanted: Wanted) -> list[Row]:
        """Return what the same records speak of."""
        return [row for place in self._found(kind, wanted) for row in self._rows[place]]

    def _found(self, kind: type[Record], wanted: Wanted) -> list[int]:
        places = {
            place
            for field, values in wanted.items()
            for value in values
            for place in self._places.get((field, value), ())
        }
        among = sorted(places) if wanted else range(len(self.records))
        return [place for place in among if isinstance(self.records[place], kind)]
