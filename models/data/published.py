"""What is known of a published dataset beside its rows, and whether what lies there is all of it."""

from __future__ import annotations

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
