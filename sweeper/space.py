"""Search spaces as data: domains, conditions between them, and configurations drawn from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sweeper.bridge import Parameter, UserError, choose

HOME = Path(__file__).resolve().parent.parent / "search_spaces"
KINDS = ("float", "int", "choice")

Values = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """Where a hyper-parameter may lie: `bounds` of a float or int (log or linear), or `choices`.

    `when` {other parameter: admissible values} makes it conditional; `points` is its resolution in a grid.
    """

    kind: str
    bounds: tuple[float, float] = (0, 0)
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    points: int = 5

    def active(self, values: Mapping[str, Any]) -> bool:
        """Say whether the conditions hold among the values chosen so far."""
        return all(name in values and values[name] in admissible for name, admissible in self.when)

    def grid(self) -> list[Any]:
        """Return the points of a grid: every choice, or `points` values evenly spaced on the domain's scale."""
        if self.kind == "choice":
            return list(self.choices)
        low, high = self.bounds
        steps = [i / (self.points - 1) if self.points > 1 else 0.0 for i in range(self.points)]
        if self.log:
            found = [math.exp(math.log(low) + s * (math.log(high) - math.log(low))) for s in steps]
        else:
            found = [low + s * (high - low) for s in steps]
        return sorted({round(v) for v in found}) if self.kind == "int" else found


Space = dict[str, Domain]


def parse(name: str, given: Any, parameter: Parameter, where: str) -> Domain:  # noqa: ANN401 - any YAML value
    """Return the domain that a mapping such as {float: [0.02, 1.0], log: true} describes.

    Raises UserError if it is empty, ill-formed, or holds values that the parameter does not admit.
    """
    place = f"{where}: space of {name!r}"
    if not isinstance(given, Mapping):
        raise UserError(
            f"{place} is {given!r}; a domain is {{float: [low, high]}}, {{int: [low, high]}} or {{choice: [...]}}"
        )
    for key in given:
        choose("key", key, (*KINDS, "log", "when", "points"), place)
    kinds = [k for k in KINDS if k in given]
    if len(kinds) != 1:
        raise UserError(f"{place} names {len(kinds)} of float, int, choice; it needs exactly one")
    kind, body = kinds[0], given[kinds[0]]
    when = tuple((k, tuple(v) if isinstance(v, list) else (v,)) for k, v in given.get("when", {}).items())
    if not isinstance(body, list) or not body:
        raise UserError(f"{place} is empty; give a list with at least one value")
    if kind == "choice":
        return Domain(kind, choices=tuple(parameter.admit(v, place) for v in body), when=when)
    if (
        len(body) != 2
        or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in body)
        or body[0] > body[1]
    ):
        raise UserError(f"{place} is {body}; give [low, high] with low ≤ high")
    low, high = (parameter.admit(v, place) for v in body)
    if given.get("log") and low <= 0:
        raise UserError(f"{place} begins at {low} on a log scale; low must be above 0")
    return Domain(
        kind, (low, high), bool(given.get("log", False)), when=when, points=int(given.get("points", 5))
    )


@cache
def read_file(name: str) -> Mapping[str, Any]:
    """Return search_spaces/<name>.yaml, empty if there is none (a plugin may bring its space in the study)."""
    path = HOME / f"{name}.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def ordered(space: Space) -> list[tuple[str, Domain]]:
    """Return the domains with every parameter after those its conditions name; raise UserError on a circle."""
    done: dict[str, Domain] = {}
    waiting = dict(space)
    while waiting:
        ready = [n for n, d in waiting.items() if all(w not in waiting for w, _ in d.when)]
        if not ready:
            raise UserError(
                f"conditions of {', '.join(waiting)} form a circle; a `when` may only name earlier parameters"
            )
        for name in ready:
            done[name] = waiting.pop(name)
    return list(done.items())


def restrict(values: Values, space: Space) -> Values:
    """Return `values` without the parameters of the space whose conditions do not hold."""
    kept = {k: v for k, v in values.items() if k not in space}
    for name, domain in ordered(space):
        if name in values and domain.active(kept):
            kept[name] = values[name]
    return kept


def grid(space: Space, fixed: Values) -> Iterator[Values]:
    """Yield every distinct configuration of the grid, conditions respected."""
    names = ordered(space)
    seen = set()
    for point in itertools.product(*(domain.grid() for _, domain in names)):
        values = restrict({**fixed, **{name: v for (name, _), v in zip(names, point, strict=True)}}, space)
        mark = repr(sorted(values.items()))
        if mark not in seen:
            seen.add(mark)
            yield values
