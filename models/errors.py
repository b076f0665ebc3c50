"""Errors that a user can cause: one sentence each, what was found, what is admissible, the nearest name."""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches

IN_URI = re.compile(
    r"(?<!sqlite)://[^\s'\"]+@"
)  # a password may hold an @ or a / of its own; a path has none
SECRET = "password|passwd|token|secret|credential|api_?key|access_?key"
ASSIGNED = re.compile(rf"((?:{SECRET})\w*=)[^&\s'\"]+", re.IGNORECASE)
IN_ENVIRONMENT = re.compile(SECRET, re.IGNORECASE)
SHORTEST = 6  # of a secret that is looked for by its value


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
    near = get_close_matches(str(name), names, cutoff=0.5)
    near.sort(key=lambda known: sorted(known) != sorted(str(name)))  # letters in another order are nearest
    hint = f"did you mean {near[0]!r}? " if near else ""
    place = f" in {where}" if where else ""
    raise UserError(f"unknown {kind} {name!r}{place}; {hint}admissible: {', '.join(names) or 'none'}")


def masked(text: str) -> str:
    """Return a text with *** for its secrets; whatever is recorded or printed of an error goes through here.

    They are user and password of a URI, what is assigned to a name such as password or token, and the values of
    environment variables of such names.
    """
    text = ASSIGNED.sub(r"\1***", IN_URI.sub("://***@", text))
    for name, value in os.environ.items():
        if IN_ENVIRONMENT.search(name) and len(value) >= SHORTEST:
            text = text.replace(value, "***")
    return text


def one_line(error: object) -> str:
    """Return what an error says in one line of printable characters, without secrets."""
    text = " ".join(masked(str(error)).split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
