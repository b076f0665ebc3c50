"""`sweeper repro`, `gc` and `doctor`: is what a storage holds true, needed and reachable?"""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, data_root, nothing, readable
from sweeper.models.errors import UserError, one_line


def _of_repro(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", help="the run's key, or its beginning")
    command.add_argument("--data-root", metavar="DIR")


def _of_gc(command: argparse.ArgumentParser) -> None:
    command.add_argument("--remove", action="store_true", help="remove it")


def _repro(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service import repro

    storage = locate(options.storage)
    ledger = readable(storage)
    record = ledger.runs[repro.find(ledger.runs, options.run)]
    same, said = repro.again(record, storage, data_root(options.data_root), repro.seeds_of(record, ledger))
    print("\n".join(said))
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
        print("\n".join(gc.describe(found, storage)) if found else "there is nothing to remove")
        if found and options.remove:
            gc.remove(found, storage)
            print("removed")
        elif found:
            print("nothing is removed yet; --remove does it")
    finally:
        ledger.unlock()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from sweeper.service import doctor

    well = True
    for ok, sentence in doctor.checks(options.storage, data_root(None)):
        print(f"{'ok  ' if ok else 'FAIL'} {one_line(sentence)}")
        well &= ok
    return 0 if well else 1


COMMANDS = {
    "repro": Command("do one run again from its record and say whether the numbers match", _of_repro, _repro),
    "gc": Command("list what a storage holds for nobody, and how much that frees", _of_gc, _gc),
    "doctor": Command("check versions, resources, storage and MLflow", nothing, _doctor),
}
