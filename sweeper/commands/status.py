"""`sweeper status`: how far studies are."""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, as_json, readable, tell
from sweeper.models.errors import choose


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", nargs="?")
    as_json(command)


def _status(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import announcements
    from sweeper.ledger.records import Announced
    from sweeper.ledger.uris import locate
    from sweeper.planning import preview

    storage = locate(options.storage)
    ledger = readable(storage)
    plans = announcements(ledger.of(Announced))
    if options.study:
        plans = {name: plans[name] for name in [choose("study", options.study, plans, "the ledger")]}
    lines = [*preview.progress(plans.values(), ledger)] or [
        f"no study in {storage.address(storage.root)} yet"
    ]
    tell(options, lines, lambda: [preview.reached(plan, ledger) for plan in plans.values()])
    return 0


COMMANDS = {"status": Command("say how far the studies of a storage are", _arguments, _status)}
