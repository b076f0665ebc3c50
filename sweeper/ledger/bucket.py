"""A bucket of an S3-compatible store, in the few words that a storage needs. The one user of boto3.

Endpoint and credentials are those of the usual environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, a profile, a role.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeper.models.errors import UserError, one_line

if TYPE_CHECKING:
    from botocore.client import BaseClient

ATTEMPTS = 5  # at one request, over about 15 s
ABSENT = ("NoSuchKey", "404")
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", *ABSENT)
MOST = 1000  # keys that one request can remove


class Conflict(Exception):
    """What was to be written under a condition did not meet it: somebody else was faster."""


class Entry(NamedTuple):
    """What a listing says of an object."""

    etag: str
    size: int


@dataclass(frozen=True)
class Found:
    """An object: its content and version, and its age in seconds by the store's own clock."""

    content: bytes
    etag: str
    age: float


@dataclass(frozen=True)
class Bucket:
    """Objects by key; whatever the store refuses is raised as UserError."""

    name: str

    def get(self, key: str) -> Found | None:
        """Return an object, None if there is none."""
        with self._told():
            try:
                got = client().get_object(Bucket=self.name, Key=key)
            except _client_error() as error:
                if error.response["Error"]["Code"] in ABSENT:
                    return None
                raise
            now = parsedate_to_datetime(got["ResponseMetadata"]["HTTPHeaders"]["date"])
            age = (now - got["LastModified"]).total_seconds()
            return Found(got["Body"].read(), got["ETag"], age)

    def put(self, key: str, content: bytes, *, over: str | None = None, new: bool = False) -> str:
        """Write an object and return its version.

        With `new` only if there is none, with `over` only in place of that version; raises Conflict otherwise.
        """
        condition = {"IfNoneMatch": "*"} if new else {"IfMatch": over} if over else {}
        with self._told():
            try:
                return client().put_object(Bucket=self.name, Key=key, Body=content, **condition)["ETag"]
            except _client_error() as error:
                if condition and error.response["Error"]["Code"] in TAKEN:
                    raise Conflict(key) from None
                raise

    def list(self, prefix: str) -> dict[str, Entry]:
        """Return the objects whose keys begin with `prefix`, in the order of their keys."""
        with self._told():
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            found = (one for page in pages for one in page.get("Contents", ()))
            return {one["Key"]: Entry(one["ETag"], one["Size"]) for one in found}

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, there or not, in this order."""
        left = list(keys)
        with self._told():
            while left:
                batch, left = left[:MOST], left[MOST:]
                objects = {"Objects": [{"Key": key} for key in batch], "Quiet": True}
                client().delete_objects(Bucket=self.name, Delete=objects)

    def download(self, key: str, path: Path) -> None:
        """Write an object to a file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._told():
            client().download_file(self.name, key, str(path))

    def upload(self, path: Path, key: str) -> None:
        """Write a file to an object, whole or not at all."""
        with self._told():
            client().upload_file(str(path), self.name, key)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in one sentence what the store or the way to it refuses."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            said = one_line(error)[:300]
            raise UserError(
                f"bucket {self.name!r} cannot be used ({type(error).__name__}: {said}); it must be there, and"
                " AWS_ENDPOINT_URL and the credentials of the environment those of its store"
            ) from None


def endpoint() -> str:
    """Return the store's address as the environment gives it, empty for AWS itself."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def client() -> BaseClient:
    """Return this process's connection to the store of the environment."""
    return _client(endpoint())


@cache
def _client(_: str) -> BaseClient:
    import boto3
    from botocore.config import Config

    retries: dict[str, Any] = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    return boto3.client("s3", config=Config(retries=retries, connect_timeout=10))


def _client_error() -> type[Exception]:
    from botocore.exceptions import ClientError

    return ClientError
