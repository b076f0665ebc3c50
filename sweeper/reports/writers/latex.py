r"""A table as LaTeX for a paper: floats of booktabs tables, as wide as a column or the text, with a note below.

Needs \usepackage{booktabs} alone. A table that is too wide for the text is cut between groups of columns (those of one
condition or dataset, whatever stands first in the columns), one that is too long between rows; its parts stand one
below the other. What fits is estimated from the number of characters: see COLUMN, TEXT and LINES.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from sweeper.reports.names import capital, label, titled
from sweeper.reports.ranks import MEAN_RANK
from sweeper.reports.tables import Labels, Table
from sweeper.reports.writers.ascii import breadth, escaped
from sweeper.reports.writers.style import Style, lines, spans

STYLE = Style(escaped, r"\textbf{{{}}}", r"\underline{{{}}}", r"\rlap{$^\dagger$}", r"\rlap{$^?$}")
COLUMN, TEXT = 54, 112  # characters of \footnotesize across 3.3 inches and 6.8 inches
GAP = 1.5  # characters between two columns, of 3 pt on either side
LINES = 60  # of a page, 9 inches high
SMALLER = 1.25  # as many characters of a note, in \scriptsize, on a line
SPACE = r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{3pt}"  # the caption stands above
Columns = tuple[Labels, ...]
Block = tuple[int, list[str]]  # lines that it takes of a page, and its LaTeX


def latex(table: Table, caption: Sequence[str], name: str = "") -> str:
    """Return the table's floats: a short caption and a label at the first, the sentences of `caption` as a note below.

    The label is `tab:<name>`, none without a name.
    """
    wide, parts = _parts(table)
    left = "l" * len(table.row_axes)
    blocks = [
        block
        for part in parts
        for block in stacked(left + "r" * len(part), _head(table, part), list(_body(table, part)))
    ]
    return floats(_title(table), [*blocks, note(caption, wide=wide)], name=name, wide=wide)


def note(sentences: Sequence[str], *, wide: bool) -> Block:
    """Return what stands below a table, a line of the source for each sentence."""
    height = math.ceil(len(" ".join(sentences)) / (SMALLER * (TEXT if wide else COLUMN)))
    begin = r"\begin{minipage}{\linewidth}\scriptsize\raggedright"
    return height, [begin, *map(escaped, sentences), r"\end{minipage}"]


def floats(title: str, blocks: Sequence[Block], *, name: str, wide: bool) -> str:
    """Return the blocks in as many floats of one number as they need pages, the title and a label at the first."""
    kind = "table*" if wide else "table"
    written = [r"% \usepackage{booktabs}"]
    for part in _packed([height for height, _ in blocks], LINES):
        if part[0] == 0:
            heading = [rf"\caption{{{escaped(title)}}}", *([rf"\label{{tab:{name}}}"] if name else [])]
        else:
            heading = [r"\addtocounter{table}{-1}\caption{Continued.}"]
        body = [line for i in part for line in (*blocks[i][1], r"\par\smallskip")][:-1]
        begin = [rf"\begin{{{kind}}}", r"\centering\footnotesize\setlength{\tabcolsep}{3pt}", SPACE]
        written += [*begin, *heading, *body, rf"\end{{{kind}}}"]
    return "\n".join(written) + "\n"


def _title(table: Table) -> str:
    """Return a caption of one line: metrics, datasets, conditions and seeds."""
    cells = [cell for cell in table.cells.values() if cell.metric != MEAN_RANK]
    metrics, datasets, conditions = (
        list(dict.fromkeys(cell.axes.get(axis, "") for cell in cells))
        for axis in ("metric", "dataset", "condition")
    )
    what = _listed([titled(metric, table.percent) for metric in metrics], "metrics")
    where = f" on {_listed(datasets, 'datasets')}" if any(datasets) else ""
    under = (
        f" under {_listed(conditions, 'test conditions')}"
        if conditions != ["clean"] and any(conditions)
        else ""
    )
    seeds = {len(cell.planned) for cell in cells}
    over = f"{max(seeds)} seeds" if len(seeds) == 1 else "seeds"
    spread = f"; mean ± std over {over}" if seeds != {1} else ""
    return capital(f"{what}{where}{under}{spread}.")


def _listed(names: Sequence[str], kind: str) -> str:
    """Return the names in words, more than three as a number."""
    if len(names) > 3:
        return f"{len(names)} {kind}"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _parts(table: Table) -> tuple[bool, list[Columns]]:
    """Return whether it is wider than a column of the paper, and the columns of each part that fits the width."""
    left = sum(
        max(breadth(own) for own in (axis, *(label(axis, row[i], table.percent) for row in table.rows))) + GAP
        for i, axis in enumerate(table.row_axes)
    )
    widths = {column: _width(table, column) + GAP for column in table.columns}
    if left + sum(widths.values()) <= COLUMN:
        return False, [table.columns]
    groups = [tuple(group) for _, group in groupby(table.columns, key=lambda labels: labels[:1])]
    room = TEXT - left
    if any(sum(map(widths.get, group)) > room for group in groups):
        groups = [(column,) for column in table.columns]
    sizes = [sum(map(widths.get, group)) for group in groups]
    parts = len(_packed(sizes, room))
    even = next(size for size in range(math.ceil(max(sizes)), 10**6) if len(_packed(sizes, size)) <= parts)
    return True, [sum((groups[i] for i in part), ()) for part in _packed(sizes, even)]


def _packed(sizes: Sequence[float], room: float) -> list[list[int]]:
    """Return the indices in their order, as many together as there is room for, one at least."""
    parts: list[list[int]] = []
    for i, size in enumerate(sizes):
        if parts and sum(sizes[j] for j in parts[-1]) + size <= room:
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts


def _width(table: Table, column: Labels) -> float:
    """Return the characters of a column: of its longest cell, its heading, and its share of headings above it."""
    cells = [table.cells[row, column] for row in table.rows if (row, column) in table.cells]
    texts, heads = [cell.text for cell in cells], _heading(table, table.column_axes[-1:], column[-1:])
    shares = []
    for level, axis in enumerate(table.column_axes[:-1]):
        beside = sum(other[: level + 1] == column[: level + 1] for other in table.columns)
        shares.append(breadth(label(axis, column[level], table.percent)) / beside)
    return max(1, *map(len, texts), *shares, *map(breadth, heads))


def _heading(table: Table, axes: Labels, labels: Labels) -> list[str]:
    """Return the lines of the lowest heading: a modality and the like stand below what they belong to."""
    return [
        line
        for axis, name in zip(axes, labels, strict=True)
        for line in (titled(name, table.percent).split(", ") if axis == "metric" else [name])
    ]


def stacked(columns: str, head: Sequence[str], rows: Sequence[Block]) -> list[Block]:
    """Return tables of the rows, below each other: as many as there need be for none to be longer than a page."""
    begin = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", *head]
    made = []
    for part in _packed([height for height, _ in rows], LINES - len(head)):
        body = [line for i in part for line in rows[i][1]]
        height = len(head) + sum(rows[i][0] for i in part)
        made.append((height, [*begin, *body, r"\bottomrule", r"\end{tabular}"]))
    return made


def _head(table: Table, columns: Columns) -> list[str]:
    """Return one row for each column axis."""
    left, written = len(table.row_axes), []
    for level, axis in enumerate(table.column_axes):
        last = level == len(table.column_axes) - 1
        texts = [escaped(capital(own)) if last else "" for own in table.row_axes]
        rules, at = [], left + 1
        for name, width in spans(columns, level):
            if last:
                broken = [*map(escaped, _heading(table, (axis,), (name,)))]
                stacked = r"\\".join(broken)
                text = rf"\shortstack[r]{{{stacked}}}" if len(broken) > 1 else stacked
            else:
                text = escaped(label(axis, name, table.percent))
            texts.append(text if width == 1 and last else rf"\multicolumn{{{width}}}{{c}}{{{text}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        written += [" & ".join(texts) + r" \\", r"\midrule" if last else " ".join(rules)]
    return written


def _body(table: Table, columns: Columns) -> Iterator[Block]:
    """Yield the rows, repeated labels left out."""
    left = len(table.row_axes)
    at = {column: i for i, column in enumerate(table.columns)}
    previous: Labels = ()
    for row, cells in lines(table):
        space = [r"\addlinespace"] if left > 1 and previous and row[0] != previous[0] else []
        labels = [
            "" if i < left - 1 and row[: i + 1] == previous[: i + 1] else label(axis, row[i], table.percent)
            for i, axis in enumerate(table.row_axes)
        ]
        texts = [*map(escaped, labels), *(STYLE.cell(cells[at[column]]) for column in columns)]
        yield 1, [*space, " & ".join(texts) + r" \\"]
        previous = row
