"""The files that a page of the documentation shows."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from sweeper import ROOT

# a paragraph that ends with a file's name or begins with one, and the indented block behind it
SHOWN = re.compile(r"`(?P<path>[\w/]+\.\w+)`[^`\n]*:\n\n(?P<text>(?:    .*\n|\n)+)")


def files_of(page: str) -> dict[str, str]:
    """Return the files {path: text} that a page of docs/ shows."""
    text = (ROOT / "docs" / page).read_text()
    return {
        found["path"]: textwrap.dedent(found["text"]).strip("\n") + "\n" for found in SHOWN.finditer(text)
    }


def write(page: str, folder: Path) -> Path:
    """Write the files of a page below a folder, packages with an empty `__init__.py`; return the folder."""
    for path, text in files_of(page).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        if place.parent != folder:
            (place.parent / "__init__.py").touch()
    return folder
