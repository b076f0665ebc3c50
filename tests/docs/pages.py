"""README.md and the pages of docs/, and what can be read out of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pymdownx.slugs import slugify

from sweeper import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[str]:
    """Yield the page's indented blocks of code, without their indentation, and the fenced ones."""
    text = page.read_text()
    for fenced in re.finditer(r"^```[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield fenced[1]
    for block in re.finditer(r"(?:\A|\n\n)((?:(?: {4}[^\n]*)?(?:\n|\Z))+)", text):
        lines = [line[4:] for line in block[1].split("\n")]
        if any(lines):
            yield "\n".join(lines)


def prose(page: Path) -> str:
    """Return the page without its blocks of code."""
    return re.sub(r"^(?: {4}.*|```[\s\S]*?^```)$", "", page.read_text(), flags=re.MULTILINE)


def inline(page: Path) -> Iterator[str]:
    """Yield what stands in backticks in the page's text; a line may end within."""
    for code in re.finditer(r"(?<!`)`([^`]+)`(?!`)", prose(page)):
        yield " ".join(code[1].split())


def links(page: Path) -> Iterator[str]:
    """Yield where the page's links and images lead to."""
    yield from re.findall(r"\]\(([^)\s]+)", re.sub(r"`[^`]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub and the site make them."""
    make = slugify(case="lower")
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {make(heading.replace("`", ""), "-") for heading in headings}
