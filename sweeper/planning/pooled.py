"""Samplers over configurations that are recorded: each takes the one nearest to what it would propose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweeper.planning.proposals import Sampler, State, Value, sampler
from sweeper.study.schema import Search
from sweeper.study.space import Domain, Space, Values

LOG_FROM = (
    20.0  # a ratio of the largest to the smallest positive value from which a scale counts as logarithmic
)


def spanned(configurations: Sequence[Values]) -> tuple[Space, Values]:
    """Return (the domains that configurations span, what they have in common).

    A parameter that some lack depends on those choices under which alone it is there.
    """
    names = dict.fromkeys(name for values in configurations for name in values)
    first, space, fixed = configurations[0], Space(), Values()
    for name in names:
        known = [values[name] for values in configurations if name in values]
        if len(known) == len(configurations) and all(value == first[name] for value in known):
            fixed[name] = first[name]
        else:
            space[name] = _domain(known)
    for name in space:
        having = [values for values in configurations if name in values]
        when = []
        for other, domain in space.items():
            if other != name and domain.kind == "choice" and all(other in values for values in having):
                under = tuple(c for c in domain.choices if any(values[other] == c for values in having))
                if len(having) < len(configurations) and len(under) < len(domain.choices):
                    when.append((other, under))
        if when and not _depends(space, [other for other, _ in when], name):
            own = space[name]
            space[name] = Domain(own.kind, own.bounds, own.log, own.choices, tuple(when))
    return space, fixed


def _depends(space: Space, others: Sequence[str], name: str) -> bool:
    """Whether any of the others depends on a parameter, so that it cannot depend on them."""
    return any(
        place == name or _depends(space, [place], name) for other in others for place, _ in space[other].when
    )


def _domain(known: Sequence[Any]) -> Domain:
    """Return the domain that holds all these values."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return Domain("choice", choices=tuple({repr(value): value for value in known}.values()))
    low, high = min(known), max(known)
    kind = "int" if all(isinstance(value, int) for value in known) else "float"
    return Domain(kind, (low, high), log=low > 0 and high / low >= LOG_FROM)


class Pooled(Sampler):
    """A sampler whose every proposal is moved to the nearest configuration of a pool that is not taken yet."""

    def __init__(self, pool: Sequence[Values], inner: Sampler) -> None:
        super().__init__(
            inner.space, inner.fixed, inner.defaults, directions=inner.directions, seed=inner.seed
        )
        self.left, self.inner = list(pool), inner

    def proposed(self, k: int) -> Values:
        """Return the configuration nearest to what the sampler draws for k."""
        wanted = self.inner.proposed(k)
        return min(self.left, key=lambda values: self._distance(values, wanted))

    def recall(self, k: int, values: Values) -> None:
        """Enter a configuration of the pool as number k."""
        self.left.remove(values)
        self.inner.recall(k, values)

    def tell(self, k: int, value: Value, state: State, step: int = 1) -> None:
        """Tell the sampler the result of configuration k."""
        self.inner.tell(k, value, state, step)

    def _distance(self, one: Values, other: Values) -> float:
        """Return the sum of squared distances, of numbers in shares of their domain, of what differs otherwise 1."""
        total = 0.0
        for name, domain in self.space.items():
            if name in one and name in other:
                number = domain.kind != "choice"
                apart = (
                    domain.share(one[name]) - domain.share(other[name])
                    if number
                    else one[name] != other[name]
                )
                total += apart**2
            else:
                total += (name in one) != (name in other)
        return total


def pooled(
    pool: Sequence[Values], search: Search, domains: Space, fixed: Values, defaults: Values, *directions: str
) -> Pooled:
    """Return the sampler of a search over a pool."""
    return Pooled(pool, sampler(search, domains, fixed, defaults, *directions))
