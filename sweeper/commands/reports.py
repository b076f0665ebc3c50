"""`sweeper report`: a study's table."""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, readable
from sweeper.models.errors import choose


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="the study's name")
    command.add_argument("--format", default="md", metavar="md|latex|csv|html|page")
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
    from sweeper.reports import page, report

    choose("format", options.format, (*report.SUFFIXES, "page"))
    axes = {"rows": options.rows, "columns": options.columns, "metrics": options.metric}
    if options.from_mlflow:
        from sweeper.tracking.writing import fetch_records

        history = History.of(options.study, fetch_records(options.from_mlflow, options.study))
    else:
        history = History.read(options.study, readable(locate(options.storage)))
    found = report.build(history, **axes)
    if options.format == "page":
        folder = locate(options.storage).study(options.study)
        print(page.of(found, folder, sorted((folder / "figures").glob("*.png"))))
    else:
        print(found.text(options.format, partial=options.partial))
    return 0


COMMANDS = {"report": Command("print a study's table", _arguments, _report)}
