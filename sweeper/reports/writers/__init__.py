"""Tables as text: writers of one table to several formats, which decide nothing.

Bold is the best cell, underlined the second, † as good as the best, ? where the seeds do not tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.models.errors import choose
from sweeper.reports.tables import Table
from sweeper.reports.writers.csv import long_form
from sweeper.reports.writers.html import page
from sweeper.reports.writers.latex import latex
from sweeper.reports.writers.markdown import markdown

WRITERS = {"md": markdown, "latex": latex, "html": page, "csv": long_form}


def render(table: Table, format: str, caption: Sequence[str] = (), *, name: str = "") -> str:
    """Write a table as "md", "latex" (booktabs), "html" (one small page) or "csv" (long form, no caption).

    The caller's sentences in `caption` stand before those of the table; `name` is its label, and the title of a page.
    Raises UserError for another format.
    """
    write = WRITERS[choose("format", format, WRITERS)]
    said = [text if text.endswith(".") else f"{text}." for text in (*caption, *table.caption)]
    return write(table, said, name)
