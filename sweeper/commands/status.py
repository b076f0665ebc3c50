"""`sweeper status`: how far studies are, once or as long as they are carried out."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sweeper.commands.base import Command, as_json, readable, tell
from sweeper.models.errors import choose

if TYPE_CHECKING:
    from sweeper.ledger.records import Announced
    from sweeper.ledger.storage import Storage
    from sweeper.service.state import State


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", nargs="?")
    how = command.add_mutually_exclusive_group()
    as_json(how)
    how.add_argument(
        "--watch", action="store_true", help="show the studies that are carried out now until they end"
    )


def _status(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.planning import preview
    from sweeper.service import progress

    storage = locate(options.storage)
    if options.watch:
        with suppress(KeyboardInterrupt):
            _watch(storage, options.study)
    ledger = readable(storage)
    plans = _plans(storage, options.study)
    now = {found.study: found for found in _live(storage, list(plans))}
    said = []
    for name, plan in plans.items():
        said += preview.progress([plan], ledger)
        said += [f"  now: {progress.line(now[name])}"] if name in now else []
    facts = [preview.reached(plan, ledger) | {"now": now.get(name)} for name, plan in plans.items()]
    tell(options, said or [f"no study in {storage.address(storage.root)} yet"], lambda: facts)
    return 0


def _plans(storage: Storage, study: str | None) -> dict[str, Announced]:
    """Return what the studies of a storage plan, or the named one alone."""
    from sweeper.ledger.history import announcements
    from sweeper.ledger.records import Announced

    plans = announcements(storage.open_ledger().of(Announced))
    return {name: plans[name] for name in [choose("study", study, plans, "the ledger")]} if study else plans


def _live(storage: Storage, studies: list[str]) -> list[State]:
    from sweeper.service import state

    return [found for name in studies if (found := state.read(name, storage))]


def _watch(storage: Storage, study: str | None) -> None:
    """Show studies in a table on a terminal, else in a line a minute, until none is carried out any more."""
    from rich.console import Console, Group
    from rich.live import Live

    from sweeper.service import progress

    names, shown = list(_plans(storage, study)), float("-inf")
    if not sys.stdout.isatty():
        while found := _live(storage, names):
            if time.monotonic() - shown >= progress.EVERY_SECONDS:
                shown = time.monotonic()
                print("\n".join(f"{one.study}: {progress.line(one)}" for one in found), flush=True)
            time.sleep(storage.beat_seconds)
        return
    with Live(console=Console(), auto_refresh=False, transient=True) as live:
        while found := _live(storage, names):
            height = live.console.height // len(found)
            live.update(Group(*(progress.tables(one, height) for one in found)), refresh=True)
            time.sleep(storage.beat_seconds)


COMMANDS = {"status": Command("say how far the studies of a storage are", _arguments, _status)}
