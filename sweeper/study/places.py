"""Folders and files as a user names them."""

from __future__ import annotations

from pathlib import Path

from sweeper.models.errors import UserError


def place(what: str, text: str, root: Path | None = None) -> Path:
    """Return an absolute path, a relative one below `root` or the working folder; raise UserError if it can be none."""
    try:
        found = ((root or Path()) / Path(text).expanduser()).absolute()
        found.resolve()
        found.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, of a user that there is not, with a NUL
        raise UserError(f"{what} {text[:100]!r} is no path that can be used ({error})") from None
    return found
