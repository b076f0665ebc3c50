"""URIs as they may be told."""

from __future__ import annotations

import re


def masked(text: str) -> str:
    """Return a text without the users and passwords in its URIs; a path of SQLite has none."""
    text = re.sub(r"(?<!sqlite:)(?<!/)//\S*@", "//***@", text)
    return re.sub(r"\bpassword=[^&\s]*", "password=***", text)
