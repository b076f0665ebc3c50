"""Errors that a user can cause: one sentence each, what was found, what is admissible, the nearest name."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user gave, told in one sentence; the command line ends with exit code 2."""


class Misfit(UserError):
    """Parts of a study that are in order by themselves but do not go together."""


class Diverged(RuntimeError):
    """Training produced a loss that is not finite."""


class Left(RuntimeError):
    """A run saved its state and ended before it was done, as it was asked to."""


def choose(kind: str, name: object, known: Iterable[str], where: str = "") -> str:
    """Return `name` if it is one of `known`; raise UserError naming the nearest and all admissible ones."""
    names = list(known)
    if isinstance(name, str) and name in names:
        return name
    names.sort()
    near = get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    place = f" in {where}" if where else ""
    raise UserError(f"unknown {kind} {name!r}{place}; {hint}admissible: {', '.join(names) or 'none'}")
