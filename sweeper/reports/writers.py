r"""Tables as text: Markdown, LaTeX, HTML and CSV writers of one table, which decide nothing.

Bold is the best cell, underlined the second, † as good as the best, ? where the seeds do not tell. Markdown is
aligned for terminals and underlines with <u>, which GitHub shows; LaTeX needs \usepackage{booktabs} and is plain
ASCII for every Greek letter and sign that tables use.
"""

from __future__ import annotations

import csv
import html
import io
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sweeper.models.errors import choose
from sweeper.reports.cells import NOTHING, Cell
from sweeper.reports.tables import Labels, Table

_SIGNS = {"±": "pm", "†": "dagger", "≥": "ge", "≤": "le", "×": "times", "↑": "uparrow", "↓": "downarrow"}
_TEXT = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "|": "bar"}


def _macro(letter: str) -> str:
    """Return the LaTeX macro of a Greek letter that has one of its own, lambda for λ and Lambda for Λ."""
    name = unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")
    return name.capitalize() if letter.isupper() else name


_LATEX = str.maketrans(
    {char: f"\\{char}" for char in "{}$&#_%"}
    | {char: f"{{{char}}}" for char in "[*"}  # else arguments of the line break before them
    | {char: f"\\text{name}{{}}" for char, name in _TEXT.items()}
    | {char: f"$\\{name}$" for char, name in _SIGNS.items()}
    | {letter: f"$\\{_macro(letter)}$" for letter in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"}
    | {"−": "$-$", NOTHING: "---", "\n": " "}
)
_MARKDOWN = str.maketrans({char: f"\\{char}" for char in "\\`*|"} | {"<": "&lt;", "\n": " "})
_CSS = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em}p{max-width:60em;color:#444}sup{line-height:0}"
    "table{border-collapse:collapse;border-block:2px solid}tbody{border-top:1px solid}"
    "th,td{padding:.25em .8em;text-align:right;white-space:nowrap}tbody th{font-weight:400}"
    ".l{text-align:left}.c{text-align:center}"
)


@dataclass(frozen=True)
class _Style:
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


def markdown(table: Table, caption: Sequence[str]) -> str:
    """Return a pipe table with aligned columns, its caption below, one sentence per line."""
    style = _Style(lambda text: text.translate(_MARKDOWN), "**{}**", "<u>{}</u>", "†")
    head = [*map(style.escape, (*table.row_axes, *map(" / ".join, table.columns)))]
    body = [[*map(style.escape, row), *map(style.cell, cells)] for row, cells in _lines(table)]
    widths = [max(3, *map(len, column)) for column in zip(head, *body, strict=True)]
    left = len(table.row_axes)
    rule = [":" + "-" * (w - 1) if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]

    def line(texts: Sequence[str]) -> str:
        aligned = [f"{text:{'<' if i < left else '>'}{widths[i]}}" for i, text in enumerate(texts)]
        return f"| {' | '.join(aligned)} |"

    lines = [line(texts) for texts in (head, rule, *body)]
    return "\n".join([*lines, "", *map(style.escape, caption)]) + "\n"


def latex(table: Table, caption: Sequence[str]) -> str:
    """Return a booktabs table with one header row per column axis, repeated row labels left out."""
    style = _Style(
        lambda text: text.translate(_LATEX), r"\textbf{{{}}}", r"\underline{{{}}}", r"$^\dagger$", r"$^?$"
    )
    left = len(table.row_axes)
    lines = []
    for level in range(len(table.column_axes)):
        last = level == len(table.column_axes) - 1
        texts = [style.escape(axis) if last else "" for axis in table.row_axes]
        rules, at = [], left + 1
        for label, width in _spans(table, level):
            text = style.escape(label)
            texts.append(text if width == 1 else rf"\multicolumn{{{width}}}{{c}}{{{text}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        lines += [" & ".join(texts) + r" \\", r"\midrule" if last else " ".join(rules)]
    previous: Labels = ()
    for row, cells in _lines(table):
        if left > 1 and previous and row[0] != previous[0]:
            lines.append(r"\addlinespace")
        labels = ["" if row[: i + 1] == previous[: i + 1] and i < left - 1 else row[i] for i in range(left)]
        lines.append(" & ".join([*map(style.escape, labels), *map(style.cell, cells)]) + r" \\")
        previous = row
    columns = "l" * left + "r" * len(table.columns)
    begin = [r"% \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    begin += [
        rf"\caption{{{style.escape(' '.join(caption))}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
    ]
    return "\n".join([*begin, *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def page(table: Table, caption: Sequence[str]) -> str:
    """Return one small HTML page without any other file; a cell's seeds show when the pointer rests on it."""
    style = _Style(html.escape, "<b>{}</b>", "<u>{}</u>", "<sup>†</sup>", "<sup>?</sup>")
    head = []
    for level in range(len(table.column_axes)):
        last = level == len(table.column_axes) - 1
        texts = [f'<th class="l">{style.escape(axis) if last else ""}</th>' for axis in table.row_axes]
        for label, width in _spans(table, level):
            shape = f' class="c" colspan="{width}"' if width > 1 else ""
            texts.append(f"<th{shape}>{style.escape(label)}</th>")
        head.append(f"<tr>{''.join(texts)}</tr>")
    body = []
    for row, cells in _lines(table):
        texts = [f'<th class="l">{style.escape(label)}</th>' for label in row]
        texts += [f'<td title="{html.escape(_seeds(cell))}">{style.cell(cell)}</td>' for cell in cells]
        body.append(f"<tr>{''.join(texts)}</tr>")
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Results</title>',
        f"<style>{_CSS}</style></head><body><table>",
        *("<thead>", *head, "</thead>", "<tbody>", *body, "</tbody></table>"),
        f"<p>{'<br>'.join(map(style.escape, caption))}</p></body></html>",
    ]
    return "\n".join(lines) + "\n"


def long_form(table: Table, caption: Sequence[str]) -> str:
    """Return CSV with one line per cell, in raw units and full precision.

    `values` and `failed` are `seed=value` pairs joined by semicolons; mean and std stand only where the table
    shows them; `against_best` is best, worse, equal (†), unclear (?) or untested. The caption is left out, as CSV has
    no place for it.
    """
    axes = [*table.row_axes, *table.column_axes]
    axes += sorted({axis for cell in table.cells.values() for axis in cell.axes} - set(axes))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*axes, "mean", "std", "n", "planned", "status", "values", "failed", "note", "against_best"]
    )
    for row, cells in _lines(table):
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


def _lines(table: Table) -> Iterator[tuple[Labels, list[Cell | None]]]:
    """Yield every row's labels and cells, None where nothing was planned."""
    for row in table.rows:
        yield row, [table.cells.get((row, column)) for column in table.columns]


def _spans(table: Table, level: int) -> list[tuple[str, int]]:
    """Return the labels of one header row, each with the number of columns that it spans."""
    runs = groupby(table.columns, key=lambda labels: labels[: level + 1])
    return [(labels[level], len(list(run))) for labels, run in runs]


def _seeds(cell: Cell | None) -> str:
    """Return what every seed of a cell gave, for a tooltip."""
    if cell is None:
        return ""
    seeds = {seed: f"seed {seed}" if isinstance(seed, int) else seed for seed in cell.values}
    parts = [f"{seeds[seed]}: {value:.6g}" for seed, value in sorted(cell.values.items())]
    parts += [f"seed {seed}: {reason}" for seed, reason in sorted(cell.failed.items())]
    return ", ".join(parts) + (f" ({cell.note})" if cell.note else "")


WRITERS: dict[str, Callable[[Table, Sequence[str]], str]] = {
    "md": markdown,
    "latex": latex,
    "html": page,
    "csv": long_form,
}


def render(table: Table, format: str, caption: Sequence[str] = ()) -> str:
    """Write a table as "md", "latex" (booktabs), "html" (one small page) or "csv" (long form, no caption).

    The caller's sentences in `caption` stand before those of the table. Raises UserError for another format.
    """
    write = WRITERS[choose("format", format, WRITERS)]
    return write(table, [text if text.endswith(".") else f"{text}." for text in (*caption, *table.caption)])
