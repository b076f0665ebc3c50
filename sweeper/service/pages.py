"""Pages and tables of plain text, no wider than WIDTH."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sweeper.bridge import REQUIRED, Parameter

WIDTH = 120


def pages(found: Iterable[Iterator[str]]) -> Iterator[str]:
    """Yield the lines of several pages, two empty ones between them."""
    for number, page in enumerate(found):
        yield from ["", ""] if number else []
        yield from page


def heading(name: str, text: str) -> Iterator[str]:
    """Yield a page's title and what it begins with."""
    yield from [name, "=" * len(name), text, ""]


def brief(name: str, text: str, more: str = "") -> Iterator[str]:
    """Yield what is said of one thing in a list of many, and below it `more`."""
    yield textwrap.fill(f"{name}: {text}", WIDTH, subsequent_indent="  ")
    if more:
        yield textwrap.fill(more, WIDTH, initial_indent="    ", subsequent_indent="    ")


def default(parameter: Parameter) -> str:
    """Return a parameter's default in words."""
    return "required" if parameter.default is REQUIRED else word(parameter.default)


def word(value: Any) -> str:  # noqa: ANN401 - any hyper-parameter value
    """Return a value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(list(value) if isinstance(value, tuple) else value)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row in aligned columns, with lines below it for what its last column does not hold within WIDTH."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)][:-1]
    below = " " * sum(widths)
    for *cells, last in rows:
        before = "".join(map(str.ljust, cells, widths))
        yield (
            textwrap.fill(last, WIDTH, initial_indent=before, subsequent_indent=below, break_long_words=False)
            or before.rstrip()
        )
