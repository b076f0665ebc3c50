"""`sweeper completion`: a script by which a shell completes commands, options and names."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.commands.base import Command
from sweeper.commands.catalogue import PARTS
from sweeper.models.errors import choose

if TYPE_CHECKING:
    from shtab import CompleteType

SHELLS = ("bash", "zsh", "fish")
# the studies of the storage, as each shell lists them
STORED = {
    "bash": "_sweeper_stored",
    "zsh": "(\\$(ls \\$(printenv SWEEPER_STORAGE || echo sweeps)/studies 2>/dev/null))",
    "fish": "(ls (printenv SWEEPER_STORAGE; or echo sweeps)/studies 2>/dev/null)",
    "preamble": {
        "bash": "_sweeper_stored() {\n"
        '  compgen -W "$(ls "${SWEEPER_STORAGE:-sweeps}/studies" 2>/dev/null)" -- "$1"\n'
        "}"
    },
}


def _study_files(names: Sequence[str]) -> CompleteType:
    """Return how each shell completes a study: by the name of a shipped one, or by a YAML file."""
    words = " ".join(names)
    bash = (
        f'_sweeper_studies() {{\n  compgen -W "{words}" -- "$1"\n'
        """  compgen -f -X '!*.y*ml' -- "$1"\n  compgen -d -S / -- "$1"\n}"""
    )
    return {
        "bash": "_sweeper_studies",
        "zsh": f"{{compadd {words}; _files -g '*.(yaml|yml)'}}",
        "fish": f"(printf '%s\\n' {words}; __fish_complete_suffix .yaml)",
        "preamble": {"bash": bash},
    }


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", metavar="|".join(SHELLS))


def _completion(options: argparse.Namespace) -> int:
    import shtab

    shell = choose("shell", options.shell, SHELLS)
    for command, parser in options.commands.items():
        for action in parser._actions:
            _offer(command, action)
    print(shtab.complete(options.parser, shell))
    return 0


def _offer(command: str, action: argparse.Action) -> None:
    """Let an argument be completed by the names that there are, or by files and folders."""
    import shtab

    from sweeper.bridge import CORRUPTIONS, METRICS, entries
    from sweeper.reports.report import SUFFIXES
    from sweeper.study.fields import AXES
    from sweeper.study.files import shipped

    catalogue = {
        "methods": entries("method"),
        "conditions": CORRUPTIONS["clean"],
        "metrics": METRICS,
        **{name: entries(kind) for name, kind in PARTS.items()},
    }
    names = {
        "names": catalogue.get(command, ()),
        "shell": SHELLS,
        "format": (*SUFFIXES, "json"),
        "rows": AXES,
        "columns": AXES,
        "metric": METRICS,
    }
    places = {"storage": shtab.DIRECTORY, "data_root": shtab.DIRECTORY, "file": shtab.FILE}
    if action.dest in names:
        action.choices = list(names[action.dest])
    elif action.dest in places:
        action.complete = places[action.dest]
    elif action.dest == "study":
        action.complete = _study_files(shipped()) if command in ("run", "plan") else STORED


COMMANDS = {
    "completion": Command("print a script by which a shell completes what is typed", _arguments, _completion)
}
