"""`sweeper methods`, `datasets`, … and `schema`: what a study file may name."""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, nothing

PARTS = {  # beside methods, what a study names
    "datasets": "dataset",
    "encoders": "encoder",
    "fusions": "fusion",
    "readers": "reader",
    "augmentations": "augmentation",
}


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME")


def _methods(options: argparse.Namespace) -> int:
    from sweeper.service import catalogue

    print("\n".join(catalogue.methods(options.names)))
    return 0


def _parts(options: argparse.Namespace) -> int:
    from sweeper.service import catalogue

    print("\n".join(catalogue.parts(PARTS[options.command], options.names)))
    return 0


def _schema(_: argparse.Namespace) -> int:
    import json

    from sweeper.study.editors import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


def _listing(name: str) -> str:
    return f"list the {name} in brief, or show the named ones in full"


COMMANDS = {
    "methods": Command(_listing("methods"), _arguments, _methods),
    **{name: Command(_listing(name), _arguments, _parts) for name in PARTS},
    "schema": Command("print a JSON schema of study files, for editors", nothing, _schema),
}
