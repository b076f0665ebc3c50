"""`sweeper repro`, `gc` and `doctor`: is what a storage holds true, needed and reachable?"""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, as_json, data_root, readable, tell
from sweeper.models.errors import UserError, one_line


def _of_repro(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", help="the run's key, or its beginning")
    command.add_argument("--data-root", metavar="DIR")
    as_json(command)


def _of_gc(command: argparse.ArgumentParser) -> None:
    command.add_argument("--remove", action="store_true", help="remove it")
    as_json(command)


def _repro(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service import repro

    storage = locate(options.storage)
    ledger = readable(storage)
    record = ledger.runs[repro.find(ledger.runs, options.run)]
    same, said = repro.again(record, storage, data_root(options.data_root), repro.seeds_of(record, ledger))
    tell(options, said, lambda: {"key": record.key, "matches": same, "said": said})
    return 0 if same else 1


def _gc(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service import gc

    storage = locate(options.storage)
    ledger = readable(storage)
    if not ledger.path.exists():
        raise UserError(
            f"there is no ledger in {storage.address(storage.root)}; name the storage by --storage"
        )
    ledger.lock()
    try:
        found = gc.waste(storage, ledger)
        if options.remove:
            gc.remove(found, storage)
        said = gc.describe(found, storage, removed=options.remove)
        tell(options, said, lambda: gc.facts(found, storage, removed=options.remove))
    finally:
        ledger.unlock()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from sweeper.service import doctor

    checks = [(ok, one_line(sentence)) for ok, sentence in doctor.checks(options.storage, data_root(None))]
    lines = (f"{'ok  ' if ok else 'FAIL'} {sentence}" for ok, sentence in checks)
    tell(options, lines, lambda: [{"ok": ok, "check": sentence} for ok, sentence in checks])
    return 0 if all(ok for ok, _ in checks) else 1


COMMANDS = {
    "repro": Command("do one run again from its record and say whether the numbers match", _of_repro, _repro),
    "gc": Command("list what a storage holds for nobody, and how much that frees", _of_gc, _gc),
    "doctor": Command("check versions, resources, storage and MLflow", as_json, _doctor),
}
