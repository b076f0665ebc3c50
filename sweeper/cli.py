"""The command line, `sweeper COMMAND`: its parser, and how commands end.

Exit codes: 0 all is well, 1 a cell of the table is incomplete (or a check of `doctor` or `repro` failed), 2 the
user's mistake, told in one sentence, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from sweeper.commands import (
    catalogue,
    completion,
    figures,
    replay,
    reports,
    status,
    storage,
    studies,
    transfer,
    ui,
)
from sweeper.ledger.uris import named
from sweeper.models.errors import UserError, one_line

COMMANDS = {
    **studies.COMMANDS,
    **status.COMMANDS,
    **ui.COMMANDS,
    **reports.COMMANDS,
    **figures.COMMANDS,
    **replay.COMMANDS,
    **catalogue.COMMANDS,
    **storage.COMMANDS,
    **transfer.COMMANDS,
    **completion.COMMANDS,
}


STORAGE = "where all is kept: a folder, or s3://bucket/prefix; else SWEEPER_STORAGE, else sweeps"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command].carry_out(options)
    except UserError as error:
        print(f"sweeper: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sweeper: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = error.filename or "the storage"
        print(
            f"sweeper: no space is left for {place}; free some, and the same command goes on from here",
            file=sys.stderr,
        )
        return 2


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Carry out one command and end the process with its exit code.

    A Ray that it starts is closed to others. It ends without taking torch, Ray and MLflow apart object by object, which
    would take as long as importing them.
    """
    from sweeper.running.address import closed

    os.environ.update(closed())
    code = main(arguments)
    atexit._run_exitfuncs()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of argparse
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> None:
        print(f"{self.prog}: {one_line(message)}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from sweeper.ledger.provenance import package

        print(f"sweeper {package()}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="sweeper", description="Honest hyper-parameter and seed sweeps for multimodal learning."
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and a digest of the code")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.text, description=command.text)
        own.add_argument("--storage", default=named(), metavar="DIR-OR-URI", help=STORAGE)
        command.arguments(own)
    top.set_defaults(parser=top, commands=commands.choices)
    return top


if __name__ == "__main__":
    program()
