"""`sweeper methods`, `datasets`, … and `schema`: what a study file may name."""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, as_json, nothing, tell

PARTS = {  # beside methods, what a study names
    "datasets": "dataset",
    "encoders": "encoder",
    "fusions": "fusion",
    "readers": "reader",
    "augmentations": "augmentation",
}


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME")
    as_json(command)


def _methods(options: argparse.Namespace) -> int:
    from sweeper.service import catalogue, facts

    tell(options, catalogue.methods(options.names), lambda: facts.parts("method", options.names))
    return 0


def _parts(options: argparse.Namespace) -> int:
    from sweeper.service import catalogue, facts

    kind = PARTS[options.command]
    tell(options, catalogue.parts(kind, options.names), lambda: facts.parts(kind, options.names))
    return 0


def _conditions(options: argparse.Namespace) -> int:
    from sweeper.service import facts, terms

    tell(options, terms.conditions(options.names), lambda: facts.conditions(options.names))
    return 0


def _metrics(options: argparse.Namespace) -> int:
    from sweeper.service import facts, terms

    tell(options, terms.metrics(options.names), lambda: facts.metrics(options.names))
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
    "conditions": Command(_listing("kinds of noise in test rows"), _arguments, _conditions),
    "metrics": Command(_listing("metrics"), _arguments, _metrics),
    "schema": Command("print a JSON schema of study files, for editors", nothing, _schema),
}
