"""What is known of a published dataset beside its rows, and whether what lies there is all of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """Citation, licence, where to `get` it, the `layout` of its folder as it unpacks, samples by split, known flaws.

    A module of sources/ that reads one has it as PUBLISHED.
    """

    cite: str
    licence: str
    get: str
    layout: str
    counts: dict[str, int] = field(default_factory=dict)
    flaws: tuple[str, ...] = ()


def difference(name: str, published: Published, found: Mapping[str, int]) -> str:
    """Return in a sentence which splits hold more or fewer samples than published, "" if none does."""
    other = [
        f"{found.get(split, 0):,} of {count:,} in {split}"
        for split, count in published.counts.items()
        if found.get(split, 0) != count
    ]
    return f"dataset {name!r} holds other samples than published: {', '.join(other)}" if other else ""


def tell(name: str, published: Published, found: Mapping[str, int]) -> None:
    """Say on stderr where samples by split are others than published; the data are used as they are."""
    if sentence := difference(name, published, found):
        print(sentence, file=sys.stderr)
