"""A table as HTML: a part of a page, or one small page of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from sweeper.reports.cells import Cell
from sweeper.reports.tables import Table
from sweeper.reports.writers.style import Style, lines, spans

STYLE = Style(escape, "<b>{}</b>", "<u>{}</u>", "<sup>†</sup>", "<sup>?</sup>")
_CSS = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em}p{max-width:60em;color:#444}sup{line-height:0}"
    "table{border-collapse:collapse;border-block:2px solid}tbody{border-top:1px solid}"
    "th,td{padding:.25em .8em;text-align:right;white-space:nowrap}tbody th{font-weight:400}"
    ".l{text-align:left}.c{text-align:center}"
)


def page(table: Table, caption: Sequence[str], name: str = "") -> str:
    """Return one small HTML page without any other file; a cell's seeds show when the pointer rests on it."""
    written = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(name or 'Results')}</title>",
        f"<style>{_CSS}</style></head><body>{element(table)}",
        f"<p>{'<br>'.join(map(escape, caption))}</p></body></html>",
    ]
    return "\n".join(written) + "\n"


def element(table: Table, named: Callable[[str, str], str] = lambda _, name: name) -> str:
    """Return the table alone, its labels as `named` (axis, label) has them."""
    head = []
    for level, axis in enumerate(table.column_axes):
        last = level == len(table.column_axes) - 1
        texts = [f'<th class="l">{escape(own) if last else ""}</th>' for own in table.row_axes]
        for label, width in spans(table.columns, level):
            shape = f' class="c" colspan="{width}"' if width > 1 else ""
            texts.append(f"<th{shape}>{escape(named(axis, label))}</th>")
        head.append(f"<tr>{''.join(texts)}</tr>")
    body = []
    for row, cells in lines(table):
        named_row = map(named, table.row_axes, row)
        texts = [f'<th class="l">{escape(label)}</th>' for label in named_row]
        texts += [f'<td title="{escape(_seeds(cell))}">{STYLE.cell(cell)}</td>' for cell in cells]
        body.append(f"<tr>{''.join(texts)}</tr>")
    return "\n".join(["<table>", "<thead>", *head, "</thead>", "<tbody>", *body, "</tbody></table>"])


def _seeds(cell: Cell | None) -> str:
    """Return what every seed of a cell gave, for a tooltip."""
    if cell is None:
        return ""
    seeds = {seed: f"seed {seed}" if isinstance(seed, int) else seed for seed in cell.values}
    parts = [f"{seeds[seed]}: {value:.6g}" for seed, value in sorted(cell.values.items())]
    parts += [f"seed {seed}: {reason}" for seed, reason in sorted(cell.failed.items())]
    return ", ".join(parts) + (f" ({cell.note})" if cell.note else "")
