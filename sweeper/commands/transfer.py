"""`sweeper export` and `import`: a study taken from one machine to another."""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, data_root
from sweeper.study.places import place


def _of_export(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")
    command.add_argument(
        "file", nargs="?", help="the archive to write, or a folder for it (default: STUDY.zip)"
    )
    command.add_argument("--weights", action="store_true", help="add the runs' best checkpoints")


def _of_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", help="an archive that `sweeper export` wrote")


def _export(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service.exporting import export

    path = place("archive", options.file or ".")
    path = path / f"{options.study}.zip" if path.is_dir() else path
    said = export(options.study, locate(options.storage), path, data_root(None), weights=options.weights)
    print("\n".join(said))
    return 0


def _import(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service.importing import enter

    print("\n".join(enter(place("archive", options.file), locate(options.storage))))
    return 0


COMMANDS = {
    "export": Command("write a study, its records, tables and curves into one archive", _of_export, _export),
    "import": Command("enter a study's archive into a storage", _of_import, _import),
}
