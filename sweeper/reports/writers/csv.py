"""A table as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from sweeper.reports.tables import Table
from sweeper.reports.writers.style import lines


def long_form(table: Table, _caption: Sequence[str] = (), _name: str = "") -> str:
    """Return CSV with one line per cell, in raw units and full precision.

    `values` and `failed` are `seed=value` pairs joined by semicolons; mean and std stand only where the table
    shows them; `against_best` is best, worse, equal (†), unclear (?) or untested. Caption and name are left out, as CSV
    has no place for them.
    """
    axes = [*table.row_axes, *table.column_axes]
    axes += sorted({axis for cell in table.cells.values() for axis in cell.axes} - set(axes))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*axes, "mean", "std", "n", "planned", "status", "values", "failed", "note", "against_best"]
    )
    for row, cells in lines(table):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell is None:
                place = dict(zip(table.row_axes + table.column_axes, row + column, strict=True))
                writer.writerow(
                    [*(place.get(axis, "") for axis in axes), "", "", 0, 0, "missing", "", "", "", ""]
                )
                continue
            mean, std = cell.summary[:2] if cell.shown else ("", "")
            numbers = [mean, std, len(cell.values), len(cell.planned), cell.status]
            seeds = [
                ";".join(f"{seed}={x}" for seed, x in sorted(pairs.items()))
                for pairs in (cell.values, cell.failed)
            ]
            standing = "best" if cell.rank == 1 else cell.standing
            writer.writerow(
                [*(cell.axes.get(axis, "") for axis in axes), *numbers, *seeds, cell.note, standing]
            )
    return out.getvalue()
