"""What all formats share: the marks of cells, and the order in which a table is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from sweeper.reports.cells import NOTHING, Cell
from sweeper.reports.tables import Labels, Table


@dataclass(frozen=True)
class Style:
    """How a format escapes text and marks the best, the second and tied cells."""

    escape: Callable[[str], str]
    best: str
    second: str
    tie: str
    unclear: str = "?"

    def cell(self, cell: Cell | None) -> str:
        """Return what a cell says, with its marks."""
        if cell is None:
            return self.escape(NOTHING)
        wrap = {1: self.best, 2: self.second}.get(cell.rank, "{}")
        return wrap.format(self.escape(cell.text)) + self.tie * cell.tied + self.unclear * cell.unclear


def lines(table: Table) -> Iterator[tuple[Labels, list[Cell | None]]]:
    """Yield every row's labels and cells, None where nothing was planned."""
    for row in table.rows:
        yield row, [table.cells.get((row, column)) for column in table.columns]


def spans(columns: tuple[Labels, ...], level: int) -> list[tuple[str, int]]:
    """Return the labels of one header row, each with the number of columns that it spans."""
    runs = groupby(columns, key=lambda labels: labels[: level + 1])
    return [(labels[level], len(list(run))) for labels, run in runs]
