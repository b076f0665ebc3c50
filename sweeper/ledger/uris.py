"""Which storage a URI names: a folder, file:///such/a/folder, or s3://bucket/prefix."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from urllib.parse import ParseResult, unquote, urlparse

from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.study.places import place

DEFAULT = "sweeps"
ADMISSIBLE = "give a folder that every node can write, file:///such/a/folder, or s3://bucket/prefix"
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


def named() -> str:
    """Return the storage that is used where none is given: SWEEPER_STORAGE, or the folder `sweeps`."""
    return os.environ.get("SWEEPER_STORAGE", DEFAULT)


def locate(where: str) -> Storage:
    """Return the storage that a folder or a URI names, there or not; raise UserError for what names none."""
    if not where.strip():
        raise UserError(f"storage is empty; {ADMISSIBLE}")
    try:
        uri = urlparse(where)
    except ValueError as error:  # of an address in brackets that is none
        raise UserError(f"storage {where!r} is no folder and no URI ({error})") from None
    if uri.scheme == "s3":
        return _in_bucket(uri)
    if uri.scheme not in ("", "file"):
        raise UserError(f"storage {_shown(uri)!r} has scheme {uri.scheme!r}; {ADMISSIBLE}")
    return Storage(place("storage", unquote(uri.path) if uri.scheme else where).resolve())


def open_storage(where: str) -> Storage:
    """Return the storage that a folder or a URI names, made if absent; raise UserError if it cannot be written."""
    storage = locate(where)
    storage.make()
    return storage


def _in_bucket(uri: ParseResult) -> Storage:
    if "@" in uri.netloc or uri.query or uri.fragment:
        raise UserError(
            f"storage {_shown(uri)!r} holds more than bucket and prefix; credentials are given by the environment"
            " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role)"
        )
    parts = [part for part in uri.path.split("/") if part]
    if not BUCKET.fullmatch(uri.netloc) or {".", ".."} & set(parts):
        raise UserError(f"storage {_shown(uri)!r} names no bucket and prefix; {ADMISSIBLE}")
    if find_spec("boto3") is None:
        raise UserError(
            f"storage {_shown(uri)!r} needs boto3, which is not installed: pip install 'sweeper[s3]'"
        )
    from sweeper.ledger.objects import ObjectStorage

    return ObjectStorage.of(uri.netloc, "/".join(parts))


def _shown(uri: ParseResult) -> str:
    """Return the URI without what could be a secret."""
    host = uri.netloc.rpartition("@")[2]
    return f"{uri.scheme}://{'***@' * ('@' in uri.netloc)}{host}{uri.path}"
