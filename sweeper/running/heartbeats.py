"""Heartbeats: what a run under way has logged so far, in its folder, for whoever looks at it meanwhile."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sweeper.ledger.storage import Storage
from sweeper.ledger.uris import locate
from sweeper.models.errors import UserError

FILE = "heartbeat.json"


class Heart:
    """Called after every epoch of a run; writes its curve so far, once in the storage's `beat_seconds` at most.

    A run that is shorter than that writes none.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self.storage = locate(order["folder"])
        self.path = self.storage.root / FILE
        self.curve: list[dict[str, float]] = []
        self.wrote, self.beats = time.monotonic(), 0

    def __call__(self, epoch: dict[str, float]) -> None:
        """Note what an epoch logged."""
        self.curve.append(epoch)
        if time.monotonic() - self.wrote >= self.storage.beat_seconds:
            with suppress(OSError, UserError):  # a full disk or a bucket that is away: what counts will tell
                self.storage.write(self.path, {"at": time.time(), "curve": self.curve})
            self.wrote, self.beats = time.monotonic(), self.beats + 1

    def __enter__(self) -> Heart:
        return self

    def __exit__(self, *_: object) -> None:
        if self.beats:
            with suppress(OSError, UserError):
                self.storage.remove(self.path)


def curve_so_far(storage: Storage, key: str) -> list[dict[str, float]]:
    """Return what a run under way has logged by epoch, nothing if it has written no heartbeat yet."""
    try:
        found = storage.read(storage.run(key) / FILE)
        return [dict(epoch) for epoch in found["curve"]] if found else []
    except (KeyError, TypeError, ValueError, UserError):  # damaged, or a bucket that is away
        return []
