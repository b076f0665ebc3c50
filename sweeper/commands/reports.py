"""`sweeper report` and `sweeper search`: a study's table, and plots of how it was found."""

from __future__ import annotations

import argparse
import shlex

from sweeper.commands.base import Command, readable
from sweeper.models.errors import UserError, choose


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")
    command.add_argument("--format", default="md", metavar="md|latex|csv|html")
    command.add_argument("--rows", nargs="+", default=[], metavar="AXIS")
    command.add_argument("--columns", nargs="+", default=[], metavar="AXIS")
    command.add_argument("--metric", nargs="+", default=[], metavar="NAME")
    command.add_argument(
        "--partial", action="store_true", help="show means of incomplete cells, beside their n"
    )
    command.add_argument(
        "--from-mlflow", metavar="URI", help="rebuild the table from this MLflow server alone"
    )


def _report(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import History
    from sweeper.ledger.uris import locate
    from sweeper.reports import report

    choose("format", options.format, report.SUFFIXES)
    axes = {"rows": options.rows, "columns": options.columns, "metrics": options.metric}
    if options.from_mlflow:
        from sweeper.tracking.connection import fetch_records

        history = History.of(options.study, fetch_records(options.from_mlflow, options.study))
    else:
        history = History.read(options.study, readable(locate(options.storage)))
    found = report.build(history, **axes)
    print(found.text(options.format, partial=options.partial))
    return 0


def _of_search(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")


def _search(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import History
    from sweeper.ledger.uris import locate
    from sweeper.reports.searches import FILE, Searches

    storage = locate(options.storage)
    history = History.read(options.study, readable(storage))
    found, folder = Searches(storage.root / FILE), storage.study(options.study) / "search"
    found.enter(history)
    found.write()
    files = found.plot(history, folder)
    if not files:
        raise UserError(
            f"no arm of study {options.study!r} has two finished configurations that differ; nothing is drawn"
        )
    storage.keep(folder)
    print(*(storage.address(path) for path in files), sep="\n")
    print(f"optuna-dashboard sqlite:///{shlex.quote(str(found.file))}  # the same to explore")
    return 0


COMMANDS = {
    "report": Command("print a study's table", _arguments, _report),
    "search": Command("draw Optuna's plots of a study's search", _of_search, _search),
}
