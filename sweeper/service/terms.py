"""Conditions and metrics, for whoever chooses: all in brief, or some in full, as where they are defined says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from sweeper import bridge
from sweeper.models.errors import choose
from sweeper.service.pages import brief, default, heading, pages, table

WRITTEN = "A study names one by kind and level, as in gaussian-5, or as {name: gaussian-5, share: 1.0}."


def conditions(names: Sequence[str]) -> Iterator[str]:
    """Yield the lines on the named kinds of noise in full, or on all in brief; raise UserError for an unknown one."""
    known = kinds()
    if names:
        return pages([_condition(choose("condition", name, known), known[name]) for name in names])
    return (
        line
        for name, kind in known.items()
        for line in brief(
            name,
            f"level {_levels(kind)}, on {', '.join(kind['effects']['clean'])}",
            next(iter(kind["effects"]["clean"].values())),
        )
    )


def metrics(names: Sequence[str]) -> Iterator[str]:
    """Yield the same on metrics."""
    known = measures()
    if names:
        return pages([_metric(choose("metric", name, known), known[name]) for name in names])
    rows = [
        (name, _tasks(own["tasks"]), own["better"], "%" if own["unit"] == "share" else "", own["meaning"])
        for name, own in known.items()
    ]
    return table([("metric", "tasks", "better", "in", "what it is"), *rows])


def kinds() -> dict[str, dict[str, Any]]:
    """Return {kind of noise: its least and largest level (None: endless), what it does by mode and kind of input}."""
    found = {}
    for kind in bridge.CORRUPTIONS["clean"]:
        least, most = bridge.levels(kind)
        found[kind] = {"levels": [least, None if most == inf else most], "effects": bridge.effects(kind)}
    for e in bridge.installed("condition"):
        effects = dict.fromkeys(e.facts["takes"], _summary(e))
        found[e.name] = {"levels": [0.0, e.facts["largest"]], "effects": {"clean": effects}}
    return found


def measures() -> dict[str, dict[str, Any]]:
    """Return {metric: the tasks that have it, which way is better, its unit, what it is and whose definition}."""
    better = {"max": "higher", "min": "lower"}
    found = {
        name: {
            "tasks": [task for task, own in bridge.OF_TASK.items() if name in own],
            "better": better[metric.direction],
            "unit": metric.unit,
            "meaning": metric.meaning,
            "source": metric.source,
        }
        for name, metric in bridge.METRICS.items()
    }
    for e in bridge.installed("metric"):
        found[e.name] = {
            "tasks": list(e.facts["tasks"]),
            "better": better[e.facts["better"]],
            "unit": "share" if e.facts["share"] else "number",
            "meaning": _summary(e).rstrip("."),
            "source": bridge.origin(e),
        }
    return found


def _summary(e: bridge.Entry) -> str:
    """Return the first sentence of what a distribution's part says of itself, and where it is from."""
    return f"{' '.join(e.doc.partition('. ')[0].split()).rstrip('.')} (from {bridge.origin(e)})."


def _condition(name: str, kind: Mapping[str, Any]) -> Iterator[str]:
    nothing = "" if bridge.parse_condition(f"{name}-0", ()).changes else "; at level 0 nothing changes"
    yield from heading(name, f"Noise in test rows, of level {_levels(kind)}{nothing}.")
    for mode, effects in kind["effects"].items():
        said: dict[str, list[str]] = {}
        for on, sentence in effects.items():
            said.setdefault(sentence, []).append(on)
        yield from table(
            [(f"mode {mode}, on", "what it does"), *((", ".join(on), s) for s, on in said.items())]
        )
        yield ""
    options = [(k, default(p), p.admissible) for k, p in bridge.condition_parameters().items()]
    yield from table([("option", "default", "admissible"), *options])
    yield WRITTEN


def _metric(name: str, own: Mapping[str, Any]) -> Iterator[str]:
    yield from heading(name, f"{own['meaning'][:1].upper()}{own['meaning'][1:]}.")
    yield from table(
        [
            ("tasks", _tasks(own["tasks"])),
            ("better", own["better"]),
            ("unit", own["unit"] + ", shown in percent" * (own["unit"] == "share")),
            ("source", own["source"] or "the plain definition"),
        ]
    )


def _levels(kind: Mapping[str, Any]) -> str:
    least, most = kind["levels"]
    return f"{least:g} or more" if most is None else f"{least:g} to {most:g}"


def _tasks(names: Sequence[str]) -> str:
    return "any" if len(names) == len(bridge.OF_TASK) else ", ".join(names)
