"""What commands are made of, and what several of them ask."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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


def as_json(command: argparse._ActionsContainer) -> None:
    """Let a command be asked for JSON."""
    command.add_argument("--json", action="store_true", help="print the same facts as JSON")


def tell(options: argparse.Namespace, lines: Iterable[str], facts: Callable[[], Any]) -> None:
    """Print lines, or where JSON is asked for the facts that they tell."""
    print(dumped(facts()) if options.json else "\n".join(lines))


def dumped(facts: Any) -> str:  # noqa: ANN401 - plain data
    """Return plain data as JSON; numbers that JSON does not know are null."""
    return json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - plain data
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(own) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def data_root(given: str | None) -> Path | None:
    """Return the folder of the datasets: --data-root, or SWEEPER_DATA, or none."""
    text = given or os.environ.get("SWEEPER_DATA")
    return place("data root", text).resolve() if text else None


def readable(storage: Storage) -> Ledger:
    """Return the ledger of a storage, there or not, and say which lines cannot be read."""
    ledger = storage.open_ledger()
    ledger.warn()
    return ledger
