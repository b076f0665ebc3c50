"""A lease: which driver may write to a storage in a bucket.

One object that names its holder, written anew every RENEWED seconds while the driver lives. Each writing is bound to
the version before it, so that of two drivers one fails; age is told by the store's clock, so that no two clocks have
to agree.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.ledger.bucket import Bucket, Conflict, Found
from sweeper.models.errors import UserError

RENEWED, EXPIRES = 20.0, 60.0


class Lost(UserError):
    """Another driver has the lease now."""


class Lease:
    """The right to write to a storage, called `name` in messages; `key` is the object that grants it."""

    def __init__(self, bucket: Bucket, key: str, name: str) -> None:
        self.bucket, self.key, self.name = bucket, key, name
        self.token, self.etag = uuid.uuid4().hex, ""
        self._renewed = float("-inf")
        self._lost = ""
        self._guard = threading.Lock()  # renewed by a thread, checked by another

    def acquire(self) -> None:
        """Take the lease; raise UserError if another driver has it, or if the store cannot keep two apart."""
        found = self.bucket.get(self.key)
        if found and not free(found):
            raise UserError(self._in_use(found))
        try:
            self._put(over=found.etag if found else None, new=not found)
        except Conflict:
            raise UserError(self._in_use(self.bucket.get(self.key))) from None
        with suppress(Conflict):
            self.bucket.put(self.key, b"", new=True)
            raise UserError(
                f"storage {self.name!r} lies in a store without conditional writes (If-None-Match)"
            )

    def keep(self) -> None:
        """Renew the lease if it is time; raise Lost if another driver has it."""
        with self._guard:
            self._renew_after(RENEWED)

    def check(self) -> None:
        """Raise Lost if another driver has the lease, or could have before the next look."""
        with self._guard:
            self._renew_after(EXPIRES - RENEWED)

    def release(self) -> None:
        """Give the lease up, if it is held."""
        with self._guard, suppress(Lost):
            if self.etag:
                self._renew_after(0.0)
                self.bucket.remove([self.key])
                self.etag = ""

    def _renew_after(self, seconds: float) -> None:
        if self._lost:
            raise Lost(self._lost)
        if time.monotonic() - self._renewed < seconds:
            return
        try:
            self._put(over=self.etag)
        except Conflict:
            found = self.bucket.get(self.key)
            who = f"process {_named(found)}" if found else "another process"
            self._lost = (
                f"storage {self.name!r} was taken over by {who}, since this process was not heard of"
                f" for {EXPIRES:.0f} s; it writes nothing more"
            )
            raise Lost(self._lost) from None

    def _put(self, *, over: str | None = None, new: bool = False) -> None:
        began = time.monotonic()
        holder = {"host": os.uname().nodename, "pid": os.getpid(), "machine": machine(), "token": self.token}
        content = json.dumps(
            {**holder, "renewed": uuid.uuid4().hex}
        )  # no two alike: each is a version of its own
        try:
            self.etag = self.bucket.put(self.key, content.encode(), over=over, new=new)
        except Conflict:
            found = self.bucket.get(self.key)
            if not found or found.content != content.encode():
                raise
            self.etag = found.etag  # written, but the answer was lost
        self._renewed = began

    def _in_use(self, found: Found | None) -> str:
        by = f"process {_named(found)}" if found else "another process"
        return f"storage {self.name!r} is in use by {by}; wait for it or use another --storage"


def free(found: Found) -> bool:
    """Return whether a lease may be taken: it is too old, or its holder was a process of this machine and is gone."""
    if found.age > EXPIRES:
        return True
    holder = _holder(found)
    if not machine() or holder.get("machine") != machine():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def machine() -> str:
    """Return what two processes share only if the one can see the other by its number; empty if there is no telling."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _holder(found: Found) -> dict[str, Any]:
    try:
        holder = json.loads(found.content)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _named(found: Found) -> str:
    holder = _holder(found)
    return f"{holder.get('pid', '?')} on {holder.get('host', '?')}"
