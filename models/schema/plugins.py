"""What installed distributions and the plug-ins of a study bring beside the project's own, found without importing it.

A distribution offers modules as entry points of the group `sweeper.plugins`. They are read where a study is planned or
parts are listed; a run imports those that its study names something of.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points

from sweeper.models.errors import UserError, choose
from sweeper.models.schema.entries import Entry, brought, entries, entry

GROUP = "sweeper.plugins"


def find(kind: str, name: str, plugins: Iterable[str] = ()) -> Entry:
    """Return what a study means by a name: of the project, its plug-ins or an installed distribution, or in full.

    Raises UserError with the nearest name for one that nothing brings, and for one that is brought twice.
    """
    return entry(kind, full_name(kind, name, plugins))


def full_name(kind: str, name: str, plugins: Iterable[str] = (), own: Iterable[str] = ()) -> str:
    """Return the name in full of what a study means by a name; raises as `find`.

    `own` are the project's own of a kind that it keeps in a table.
    """
    if "." in name:
        return entry(kind, name).full
    used = tuple(plugins)
    known = entries(kind, used)
    there = [*known.values(), *(e for e in installed(kind) if e.source.module not in used)]
    choose(kind, name, dict.fromkeys([*own, *(e.name for e in there)]))
    places = ({name: ""} if name in own else {}) | {e.full: origin(e) for e in there if e.name == name}
    if len(places) > 1:
        both = " and ".join(place or "the project's own" for place in places.values())
        full = " or ".join(place for place in places if place != name)
        raise UserError(f"{kind} {name!r} is there twice: {both}; rename one, or write {full}")
    return next(iter(places))


def installed(kind: str) -> list[Entry]:
    """Return what distributions bring of a kind; raise UserError for one whose module cannot be read."""
    found = []
    for module, distribution in distributed().items():
        try:
            found += [entry for entry in brought(module) if entry.kind == kind]
        except UserError as error:
            raise UserError(f"distribution {distribution!r}: {error}") from None
    return found


def origin(entry: Entry) -> str:
    """Return where a part comes from, in words: the distribution that brings it, or its module; "" for our own."""
    if entry.full == entry.name:
        return ""
    distribution = distributed().get(entry.source.module)
    return f"{distribution} ({entry.source.module})" if distribution else entry.source.module


@cache
def distributed() -> dict[str, str]:
    """Return the modules that installed distributions offer, and the distributions' names."""
    return {point.value: point.dist.name for point in entry_points(group=GROUP) if point.dist}
