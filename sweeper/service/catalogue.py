"""What can be named in a study, for whoever chooses: all of a kind in brief, or some of them in full."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweeper.bridge import (
    Entry,
    entries,
    find,
    hooks_of,
    installed,
    origin,
    published,
    settings,
)
from sweeper.service.pages import WIDTH, brief, default, heading, pages, table, word
from sweeper.study import space

# Authors: Title. Venue Year, and perhaps where it is found
CITATION = re.compile(r"(?P<authors>[^:]+): .+[.?] (?P<venue>[^.?]+) (?P<year>\d{4})(?:, .+)?")
PRESETS = "Configuration 0 takes the value under `published`, or under the preset that a study names; else the default."


def methods(names: Sequence[str]) -> Iterator[str]:
    """Yield the lines on the named methods in full, or on all in brief; raise UserError for an unknown name."""
    chosen = [find("method", name) for name in names]
    return pages(map(_method, chosen)) if chosen else _overview(every("method"))


def parts(kind: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the same on datasets, encoders or whatever else a study names."""
    chosen = [find(kind, name) for name in names]
    return pages(map(_part, chosen)) if chosen else _parts(every(kind))


def every(kind: str) -> list[Entry]:
    """Return the project's own and what installed distributions bring."""
    return [*entries(kind).values(), *installed(kind)]


# Methods


def _overview(every: Sequence[Entry]) -> Iterator[str]:
    """Yield two or more lines for each method: what to tell them apart by, and what it does."""
    rows = [
        (e.name, *_paper(e), _tasks(e), _modalities(e), ", ".join(hooks_of(e)) or "none (the plain loop)")
        for e in every
    ]
    header, *found = table([("method", "paper", "year", "tasks", "modalities", "hooks"), *rows])
    yield header
    for e, row in zip(every, found, strict=True):
        yield row
        yield textwrap.fill(_summary(e), WIDTH, initial_indent="  ", subsequent_indent="  ")


def _method(method: Entry) -> Iterator[str]:
    """Yield all that is known of a method."""
    own = space.read_file(method.full)
    common = space.read_file("common").get("space", {}) if method.facts["trains"] else {}
    spaces = {
        "search space": own.get("space") or {},
        "common space": common,
    }
    yield from _title(method)
    yield from _facts(method, own)
    yield from _parameters(method, own, {name for domains in spaces.values() for name in domains})
    yield from _unsearched(method, spaces.values())
    for title, domains in spaces.items():
        rows = [row for name, given in domains.items() for row in _domains(name, given)]
        yield from ["", *table([(title, "values", "when"), *rows])] if rows else []


def _facts(method: Entry, own: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a method comes from, what it fits, and where it enters the training loop."""
    yield from table(
        [
            ("paper", own.get("cite", "none is named")),
            ("tasks", _tasks(method)),
            ("modalities", _modalities(method)),
            ("fusion", _fusion(method, own.get("fusion"))),
            ("hooks", ", ".join(hooks_of(method)) or "none (the plain loop)"),
        ]
    )


def _parameters(method: Entry, own: Mapping[str, Any], searched: Collection[str]) -> Iterator[str]:
    """Yield what can be set: its default, the value in each preset that has another, what is admissible.

    Of the trainer's settings those count that are searched or that a preset names.
    """
    presets = {name: values or {} for name, values in own.items() if name not in space.OF_FILE}
    named = {*searched, *(key for values in presets.values() for key in values)}
    train = {f"train.{k}": p for k, p in settings.parameters().items() if f"train.{k}" in named}
    rows = method.parameters | train
    columns = {
        name: {k: v for k, v in values.items() if k in rows and v != rows[k].default}
        for name, values in presets.items()
    }
    columns = {name: values for name, values in columns.items() if values}
    body = [
        (key, default(p), *(word(v[key]) if key in v else "" for v in columns.values()), p.admissible)
        for key, p in rows.items()
    ]
    if body:
        yield from ["", *table([("parameter", "default", *columns, "admissible"), *body])]
    if columns:
        yield PRESETS


def _unsearched(method: Entry, spaces: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence if nothing of the method, or none of its own parameters, is searched."""
    own = set(method.parameters) - {space.read_file(method.name).get("per_modality")}
    domains = {name for given in spaces for name, value in given.items() if space.is_domain(value)}
    if not domains:
        yield from ["", "Nothing of it is searched, unless a study gives it a `space`."]
    elif own and not domains & own:
        yield from ["", "None of its own parameters is searched, unless a study gives it a `space`."]


def _domains(name: str, given: Any) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401 - any YAML value
    """Yield (name, values, condition) for each domain of a parameter, or its fixed value; only the first has a name."""
    if not isinstance(given, Mapping | list):
        yield name, f"{word(given)}, fixed", ""
        return
    for domain in given if isinstance(given, list) else [given]:
        conditions = (
            f"{other} = {_choices(values if isinstance(values, list) else [values])}"
            for other, values in domain.get("when", {}).items()
        )
        yield name, _values(domain), ", ".join(conditions)
        name = ""


def _values(domain: Mapping[str, Any]) -> str:
    if "choice" in domain:
        return _choices(domain["choice"])
    low, high = domain.get("float") or domain["int"]
    return f"{low} … {high}" + (", log" if domain.get("log") else "")


def _choices(values: Sequence[Any]) -> str:
    return " | ".join(map(word, values))


def _paper(method: Entry) -> tuple[str, str]:
    """Return the first author with the venue, and the year, as far as the citation has the form."""
    found = CITATION.fullmatch(space.read_file(method.full).get("cite", ""))
    if not found:
        return "", ""
    authors = re.split(", | and ", found["authors"])
    first = f"{authors[0]} et al." if len(authors) > 2 else found["authors"]
    return f"{first}, {found['venue']}", found["year"]


def _tasks(method: Entry) -> str:
    left_out = [name for name in entries("task") if name not in method.facts["tasks"]]
    if len(left_out) > 1:
        return ", ".join(method.facts["tasks"])
    return f"any but {left_out[0]}" if left_out else "any"


def _modalities(method: Entry) -> str:
    least, most = method.facts["modalities"]
    if most:
        return f"{least} to {most}" if least < most else str(least)
    return f"{least} or more" if least > 1 else "any"


def _fusion(method: Entry, made_for: str | None) -> str:
    if not method.facts["fuses"]:
        return "none"
    if made_for:
        return f"{made_for}, which it is made for"
    every = entries("fusion")
    fitting = [name for name, e in every.items() if e.facts["reads"] in method.facts["reads"]]
    return "any" if len(fitting) == len(every) else ", ".join(fitting)


# Datasets, encoders and the like


def _parts(every: Sequence[Entry]) -> Iterator[str]:
    """Yield what each is, and the names of its options."""
    for e in every:
        yield from brief(e.name, _summary(e), f"options: {', '.join(e.parameters)}" if e.parameters else "")


def _part(part: Entry) -> Iterator[str]:
    """Yield all that is known of one."""
    yield from _title(part)
    options = [(k, default(p), p.admissible) for k, p in part.parameters.items()]
    yield from table([("option", "default", "admissible"), *options]) if options else ["no options"]
    yield from _published(part)


def _published(part: Entry) -> Iterator[str]:
    """Yield what to download and where to put it, what it should hold, under which terms, and its known flaws."""
    found = published(part.name) if part.kind == "dataset" and part.full == part.name else None
    if found is None:
        return
    counts = ", ".join(f"{split} {count:,}" for split, count in found.counts.items())
    yield ""
    yield from table(
        [
            ("get it from", found.get),
            ("licence", found.licence),
            ("cite", found.cite),
            ("samples", counts or "no counts are published"),
        ]
    )
    yield from ["", "below the data root (--data-root or SWEEPER_DATA)"]
    yield from (f"    {line}" for line in found.layout.splitlines())
    yield from ["", "to know"] if found.flaws else []
    for flaw in found.flaws:
        yield textwrap.fill(flaw, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _title(e: Entry) -> Iterator[str]:
    yield from heading(e.name, e.doc)
    yield from [f"from {origin(e)}", ""] if origin(e) else []


def _summary(e: Entry) -> str:
    """Return the first paragraph of its docstring, a dataset's without its name, and where it is from."""
    said = " ".join(e.doc.split("\n\n")[0].split()).removeprefix(f"`{e.name}`: ")
    return f"{said} (from {origin(e)})" if origin(e) else said
