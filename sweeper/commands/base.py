"""What commands are made of, and what several of them ask."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sweeper.study.places import place

if TYPE_CHECKING:
    from sweeper.ledger.file import Ledger
    from sweeper.ledger.storage import Storage


class Command(NamedTuple):
    """One command: its sentence of help, what it adds to its parser, and what it does; that returns the exit code."""

    text: str
    arguments: Callable[[argparse.ArgumentParser], None]
    carry_out: Callable[[argparse.Namespace], int]


def nothing(_: argparse.ArgumentParser) -> None:
    """Add no argument."""


def data_root(given: str | None) -> Path | None:
    """Return the folder of the datasets: --data-root, or SWEEPER_DATA, or none."""
    text = given or os.environ.get("SWEEPER_DATA")
    return place("data root", text).resolve() if text else None


def readable(storage: Storage) -> Ledger:
    """Return the ledger of a storage, there or not, and say which lines cannot be read."""
    ledger = storage.open_ledger()
    ledger.warn()
    return ledger
