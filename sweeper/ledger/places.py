"""Data without places: what leaves a machine says nothing of its folders, and so of who uses them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

Data = TypeVar("Data")

# embedded data are no path; a quoted path may hold spaces, and one in running text ends where they begin
PLACE = re.compile(
    r"(?P<kept>data:\S*)"
    r"|(?P<quote>['\"])(?:file://)?(?P<quoted>(?:~[\w.-]*)?/[^'\"\n]*)(?P=quote)"
    r"|(?:file://|(?<![\w.:/~<#+-]))(?P<plain>(?:~[\w.-]*)?/[^\s'\",;:()<>|]+)"
)


def placeless(data: Data, roots: Sequence[Path] = ()) -> Data:
    """Return JSON's data in which an absolute path is what it is below one of `roots`, or else its last part."""
    if isinstance(data, dict):
        return {name: placeless(value, roots) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(placeless(value, roots) for value in data)
    if isinstance(data, str):
        if data.startswith(("/", "~")) and "\n" not in data:
            return _below(data, roots)
        return PLACE.sub(lambda found: _replaced(found, roots), data)
    return data


def _replaced(found: re.Match[str], roots: Sequence[Path]) -> str:
    if found["kept"]:
        return found["kept"]
    quote = found["quote"] or ""
    return f"{quote}{_below(found['quoted'] or found['plain'], roots)}{quote}"


def _below(text: str, roots: Sequence[Path]) -> str:
    path = Path(text)
    root = next((root for root in roots if path.is_relative_to(root) and path != root), path.parent)
    return path.relative_to(root).as_posix() if path != path.parent else "."
