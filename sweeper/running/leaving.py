"""Runs are asked to leave: all of a study by Ctrl-C, those of a node that is about to be taken away by the driver.

The word is passed on through the cluster's key-value store, which every worker can read whatever the storage is.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.experimental.internal_kv import _internal_kv_exists, _internal_kv_put

from sweeper.ledger.uris import locate

ALL = "all"
LISTEN_SECONDS = 1.0
TRACES = "hung-*.txt"  # in the run's folder: where a process was when it was ended


def ask(whom: str = ALL) -> None:
    """Ask the runs of this driver on a node, or all of them, to save their state and leave."""
    _internal_kv_put(_key(whom), b"", namespace=b"sweeper")


def _key(whom: str) -> bytes:
    return f"leave/{ray.get_runtime_context().get_job_id()}/{whom}".encode()


def traces(order: Mapping[str, Any]) -> str:
    """Return where the processes of a run were when their watchdogs ended them, and forget it; empty if none did.

    With a storage in a bucket only what happened on this machine is known.
    """
    said = ""
    for path in sorted(locate(order["folder"]).root.glob(TRACES)):
        lines = [line.strip() for line in path.read_text().splitlines()]
        path.unlink(missing_ok=True)
        last = max((i for i, line in enumerate(lines) if "most recent call first" in line), default=None)
        if last is not None and not said:
            said = " ".join(lines[last + 1 : last + 2])
    return said


class Pulse:
    """Called at every step of a run: says whether it shall leave, and keeps the watchdog from ending the process.

    The watchdog belongs to the C library's side of Python, so that it sees code that hangs without letting go of the
    interpreter. After `silence` seconds without a step it writes where every thread is and ends the process.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        folder, silence = locate(order["folder"]).root, order["silence"]
        folder.mkdir(parents=True, exist_ok=True)
        self.trace = (folder / TRACES.replace("*", str(os.getpid()))).open("w")
        self.silence = silence
        here = ray.get_runtime_context().get_node_id()
        self.keys = [_key(ALL), _key(here)]
        self.heard = self.armed = -silence
        self.leaves = False

    def __call__(self) -> bool:
        """Note a step; return whether the run shall leave."""
        now = time.monotonic()
        if now - self.armed > min(self.silence / 10, LISTEN_SECONDS):
            faulthandler.dump_traceback_later(self.silence, file=self.trace, exit=True)
            self.armed = now
        if not self.leaves and now - self.heard > LISTEN_SECONDS:
            self.leaves = any(_internal_kv_exists(key, namespace=b"sweeper") for key in self.keys)
            self.heard = now
        return self.leaves

    def __enter__(self) -> Pulse:
        self()
        return self

    def __exit__(self, *_: object) -> None:
        faulthandler.cancel_dump_traceback_later()
        self.trace.close()
        Path(self.trace.name).unlink(missing_ok=True)
