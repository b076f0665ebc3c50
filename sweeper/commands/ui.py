"""`sweeper ui`: the studies of a storage in MLflow's user interface."""

from __future__ import annotations

import argparse
from typing import NoReturn

from sweeper.commands.base import Command


def _arguments(command: argparse.ArgumentParser) -> None:
    where = "where to listen (127.0.0.1, for this machine alone)"
    command.add_argument("--host", default="127.0.0.1", help=where)
    command.add_argument("--port", type=int, default=5000, metavar="N", help="5000, unless given")


def _ui(options: argparse.Namespace) -> NoReturn:
    from sweeper.ledger.uris import locate
    from sweeper.tracking import connection, server

    storage = locate(options.storage)
    server.serve(connection.uri_of(storage), storage.root / "mlartifacts", options.host, options.port)


COMMANDS = {"ui": Command("serve the studies of a storage in MLflow's user interface", _arguments, _ui)}
