"""A table as Markdown, aligned for terminals; <u> underlines on GitHub."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.reports.tables import Table
from sweeper.reports.writers.style import Style, lines

_SIGNS = str.maketrans({char: f"\\{char}" for char in "\\`*|"} | {"<": "&lt;", "\n": " "})
STYLE = Style(lambda text: text.translate(_SIGNS), "**{}**", "<u>{}</u>", "†")


def markdown(table: Table, caption: Sequence[str], _: str = "") -> str:
    """Return a pipe table with aligned columns, its caption below, one sentence per line."""
    head = [*map(STYLE.escape, (*table.row_axes, *map(" / ".join, table.columns)))]
    body = [[*map(STYLE.escape, row), *map(STYLE.cell, cells)] for row, cells in lines(table)]
    widths = [max(3, *map(len, column)) for column in zip(head, *body, strict=True)]
    left = len(table.row_axes)
    rule = [":" + "-" * (w - 1) if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]

    def line(texts: Sequence[str]) -> str:
        aligned = [f"{text:{'<' if i < left else '>'}{widths[i]}}" for i, text in enumerate(texts)]
        return f"| {' | '.join(aligned)} |"

    written = [line(texts) for texts in (head, rule, *body)]
    return "\n".join([*written, "", *map(STYLE.escape, caption)]) + "\n"
