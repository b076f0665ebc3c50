"""Search spaces as data: domains, conditions between them, and configurations drawn from them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sweeper import HOME
from sweeper.bridge import Parameter
from sweeper.models.errors import UserError, choose
from sweeper.study import yamls

SPACES = HOME / "search_spaces"
KINDS = ("float", "int", "choice")
LARGEST_GRID = 1_000_000
# what a method's file says; all else in it are presets
OF_FILE = ("method", "cite", "fusion", "space", "per_modality", "together")

Values = dict[str, Any]


@dataclass(frozen=True)
class Domain:
    """Where a hyper-parameter may lie: `bounds` of a float or int (log or linear), or `choices`.

    `when` {other parameter: admissible values} makes it conditional; `points` is its resolution in a grid. `case` is
    its number among the domains of a parameter that has several.
    """

    kind: str
    bounds: tuple[float, float] = (0, 0)
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    points: int = 5
    case: int = 0

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domain, as the only case."""
        return (self,)

    def given(self, values: Mapping[str, Any]) -> Domain | None:
        """Return the domain if its conditions hold among the values chosen so far."""
        held = all(name in values and values[name] in admissible for name, admissible in self.when)
        return self if held else None

    def holds(self, value: Any) -> bool:  # noqa: ANN401 - any hyper-parameter value
        """Say whether the domain holds the value; a default may lie outside what is searched."""
        if self.kind == "choice":
            return value in self.choices
        return value is not None and self.bounds[0] <= value <= self.bounds[1]

    def at(self, share: float) -> Any:  # noqa: ANN401 - a value of the domain
        """Return the value that has `share` of the domain (0 to 1) below it, to the 12 digits one would write."""
        if self.kind == "choice":
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        half = 0.5 if self.kind == "int" else 0.0  # every whole number gets an equal share
        return self._between(self.bounds[0] - half, self.bounds[1] + half, share)

    def share(self, value: Any) -> float:  # noqa: ANN401 - a value of the domain
        """Return the share of the domain that lies below a value, half of its own counted: `at` that it is again."""
        if self.kind == "choice":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        half = 0.5 if self.kind == "int" else 0.0
        low, high = self.bounds[0] - half, self.bounds[1] + half
        if low == high:
            return 0.5
        return math.log(value / low) / math.log(high / low) if self.log else (value - low) / (high - low)

    def grid(self) -> list[Any]:
        """Return the points of a grid: every choice, or `points` values evenly spaced on the domain's scale."""
        if self.kind == "choice":
            return list(self.choices)
        return sorted({self._between(*self.bounds, i / max(self.points - 1, 1)) for i in range(self.points)})

    def _between(self, low: float, high: float, share: float) -> float:
        found = low * (high / low) ** share if self.log else low + share * (high - low)
        near = round(found) if self.kind == "int" else float(f"{found:.12g}")
        return min(max(near, self.bounds[0]), self.bounds[1])


@dataclass(frozen=True)
class Cases:
    """The domains of one parameter under different conditions, the learning rates of each optimiser say."""

    domains: tuple[Domain, ...]

    @property
    def when(self) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        """The conditions of all of them."""
        return tuple(condition for domain in self.domains for condition in domain.when)

    def given(self, values: Mapping[str, Any]) -> Domain | None:
        """Return the first domain whose conditions hold among the values chosen so far."""
        return next((domain for domain in self.domains if domain.given(values)), None)


Space = dict[str, Domain | Cases]


def is_domain(given: Any) -> bool:  # noqa: ANN401 - any YAML value
    """Say whether a value of a space is a domain, or a list of some, and not what the parameter is fixed at."""
    several = isinstance(given, list) and given and all(isinstance(v, Mapping) for v in given)
    return bool(several) or isinstance(given, Mapping)


def described(domain: Domain | Cases) -> Any:  # noqa: ANN401 - a YAML value
    """Return a domain as a study file writes it."""
    if isinstance(domain, Cases):
        return [described(own) for own in domain.domains]
    body = domain.choices if domain.kind == "choice" else domain.bounds
    when = {name: list(values) for name, values in domain.when}
    return {
        domain.kind: list(body),
        **({"log": True} if domain.log else {}),
        **({"when": when} if when else {}),
    }


def parse(name: str, given: Any, parameter: Parameter, where: str) -> Domain | Cases:  # noqa: ANN401 - any YAML value
    """Return the domain that a mapping such as {float: [0.02, 1.0], log: true} describes, or a list of them.

    Raises UserError if it is empty, ill-formed, or holds values that the parameter does not admit.
    """
    if not isinstance(given, list):
        return _domain(name, given, parameter, where)
    found = [replace(_domain(name, own, parameter, where), case=n) for n, own in enumerate(given, 1)]
    if not all(own.when for own in found):
        raise UserError(f"{where}: space of {name!r} lists several domains; each needs a `when` of its own")
    return Cases(tuple(found))


def _domain(name: str, given: Any, parameter: Parameter, where: str) -> Domain:  # noqa: ANN401 - any YAML value
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
    if not isinstance(body, list) or not body:
        raise UserError(f"{place} is {body!r}; {kind} takes a list with at least one value")
    log, when, points = given.get("log", False), given.get("when", {}), given.get("points", Domain.points)
    if not isinstance(log, bool):
        raise UserError(f"{place}: log is {log!r}; admissible: true | false")
    if type(points) is not int or points < 1:
        raise UserError(f"{place}: points is {points!r}; admissible: a whole number from 1")
    if not isinstance(when, Mapping):
        raise UserError(f"{place}: when is {when!r}; give {{other parameter: value or list of values}}")
    conditions = tuple((k, tuple(v) if isinstance(v, list) else (v,)) for k, v in when.items())
    if kind == "choice":
        choices = tuple(parameter.admit(v, place) for v in body)
        if len(set(map(repr, choices))) < len(choices):
            raise UserError(f"{place} is {body}; it names a value twice")
        return Domain(kind, choices=choices, when=conditions)
    low, high = _bounds(kind, body, parameter, place)
    if log and low <= 0:
        raise UserError(f"{place} begins at {low} on a log scale; low must be above 0")
    return Domain(kind, (low, high), log, when=conditions, points=points)


def _bounds(kind: str, body: Sequence[Any], parameter: Parameter, place: str) -> tuple[float, float]:
    """Return (low, high) of a float or int domain."""
    numbers = [v for v in body if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(body) != 2 or len(numbers) != 2 or body[0] > body[1]:
        raise UserError(f"{place} is {body}; give [low, high], numbers with low ≤ high")
    low, high = (parameter.admit(v if kind == "int" else float(v), place) for v in body)
    if kind == "int" and not type(low) is type(high) is int:
        raise UserError(f"{place} is an int domain; admissible: {parameter.admissible}")
    return low, high


@cache
def read_file(name: str) -> Mapping[str, Any]:
    """Return search_spaces/<name>.yaml, empty if there is none (a plugin may bring its space in the study)."""
    path = SPACES / f"{name}.yaml"
    return yamls.read(path.read_text(), path.name) if path.exists() else {}


def ordered(space: Space) -> list[tuple[str, Domain | Cases]]:
    """Return the domains with every parameter after those its conditions name; raise UserError on a circle."""
    done: Space = {}
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


def filled(space: Space, fixed: Values, choice: Callable[[str, Domain], Any]) -> Values:
    """Return the fixed values and `choice` (name, domain) of each parameter whose conditions hold among them all."""
    values = dict(fixed)
    for name, domain in ordered(space):
        if own := domain.given(values):
            values[name] = choice(name, own)
    return values


def grid(space: Space, fixed: Values) -> Iterator[Values]:
    """Yield every configuration of the grid once; a parameter whose conditions fail does not multiply them."""
    return _branches(ordered(space), fixed)


def _branches(domains: Sequence[tuple[str, Domain | Cases]], values: Values) -> Iterator[Values]:
    if not domains:
        yield values
        return
    (name, domain), *rest = domains
    own = domain.given(values)
    for option in [{name: v} for v in own.grid()] if own else [{}]:
        yield from _branches(rest, {**values, **option})


def points(domains: Space, fixed: Values, defaults: Values, seed: int) -> list[Values]:
    """Return the defaults and the rest of the grid, shuffled: a budget below its size is an unbiased part of it.

    Raises UserError for a grid that is too large to be listed.
    """
    found = list(itertools.islice(grid(domains, fixed), LARGEST_GRID + 1))
    if len(found) > LARGEST_GRID:
        raise UserError(
            f"the grid holds more than {LARGEST_GRID:,} points; search less, or by sampler random or qmc"
        )
    rest = [point for point in found if point != defaults]
    random.Random(seed).shuffle(rest)
    return [defaults, *rest]


def size(sampler: str, count: int, domains: Space, fixed: Values, defaults: Values) -> int:
    """Return how many configurations are tried: `count`, one if nothing is searched, the grid if that is smaller."""
    if not domains:
        return 1
    return min(count, len(points(domains, fixed, defaults, 0))) if sampler == "grid" else count
