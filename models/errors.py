"""Errors that a user can cause: one sentence each, what was found, what is admissible, the nearest name."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

PASSWORD = re.compile(r"(?<=://)[^/\s@'\"]*(?:@[^/\s@'\"]*)*(?=@)")  # a password may hold an @ of its own


class UserError(ValueError):
    """A mistake in what the user gave, told in one sentence; the command line ends with exit code 2."""


class Misfit(UserError):
    """Parts of a study that are in order by themselves but do not go together."""


class Diverged(RuntimeError):
    """Training produced a loss that is not finite."""


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


def masked(text: str) -> str:
    """Return a text whose URIs have *** for user and password, as whatever is kept or printed must have them."""
    return PASSWORD.sub("***", text)


def one_line(error: object) -> str:
    """Return what an error says in one line of printable characters, without passwords."""
    text = " ".join(masked(str(error)).split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
