"""`sweeper report`: a study's table, and published tables beside ours."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.commands.base import Command, as_json, dumped, readable
from sweeper.models.errors import UserError, choose

if TYPE_CHECKING:
    from sweeper.ledger.history import History


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", nargs="?", help="the study's name")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--format", default="md", metavar="md|latex|csv|html|json|page")
    as_json(form)
    command.add_argument("--rows", nargs="+", default=[], metavar="AXIS")
    command.add_argument("--columns", nargs="+", default=[], metavar="AXIS")
    command.add_argument("--metric", nargs="+", default=[], metavar="NAME")
    command.add_argument(
        "--partial", action="store_true", help="show means of incomplete cells, beside their n"
    )
    instead = command.add_mutually_exclusive_group()
    instead.add_argument(
        "--board",
        action="store_true",
        help="the published table that it follows beside it; without a study, all of them",
    )
    instead.add_argument(
        "--comparisons",
        action="store_true",
        help="print who differs from whom, with intervals and corrected tests (md or csv)",
    )
    command.add_argument(
        "--from-mlflow", metavar="URI", help="rebuild the table from this MLflow server alone"
    )


def _report(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.reports import page, report

    options.format = "json" if options.json else options.format
    if options.board:
        choose("format", options.format, (*report.SUFFIXES, "json"))
        if options.rows or options.columns or options.metric:
            raise UserError("a board is laid out as its table; leave out --rows, --columns and --metric")
        print(_board(options) if options.study else _overview(options))
        return 0
    choose(
        "format", options.format, ("md", "csv") if options.comparisons else (*report.SUFFIXES, "json", "page")
    )
    if options.study is None:
        raise UserError("name a study; or ask for an overview of all published tables by --board")
    axes = {"rows": options.rows, "columns": options.columns, "metrics": options.metric}
    found = report.build(_history(options), **axes)
    if options.format == "json":
        print(dumped(found.facts(partial=options.partial)))
    elif options.comparisons:
        print(found.comparisons_text(options.format), end="")
    elif options.format == "page":
        folder = locate(options.storage).study(options.study)
        print(page.of(found, folder, sorted((folder / "figures").glob("*.png"))))
    else:
        print(found.text(options.format, partial=options.partial))
    return 0


def _history(options: argparse.Namespace) -> History:
    """Return the history of the named study, from the storage or from a tracking server."""
    from sweeper.api import load

    return load(options.study, options.storage, from_mlflow=options.from_mlflow).history


def _board(options: argparse.Namespace) -> str:
    """Return the named study beside the published tables that it follows."""
    from sweeper.reports import report
    from sweeper.reports.boards import board, published, writers

    tables = published.following(options.study)
    results = report.build(_history(options)).results
    boards = [board.build(*found, results, partial=options.partial) for found in tables]
    if options.format == "json":
        return dumped([writers.facts(one) for one in boards])
    return "\n".join(writers.write(one, options.format) for one in boards)


def _overview(options: argparse.Namespace) -> str:
    """Return a line for each published table, beside what the storage holds of it."""
    from sweeper.ledger.history import History
    from sweeper.ledger.records import Announced
    from sweeper.ledger.uris import locate
    from sweeper.reports import report
    from sweeper.reports.boards import board, published, writers

    if options.from_mlflow:
        raise UserError("name a study; the overview of all published tables is of a storage")
    ledger = readable(locate(options.storage))
    begun = {plan.study for plan in ledger.of(Announced)}
    boards = []
    for paper in published.papers():
        for table in paper.tables.values():
            here = table.ours and table.ours.study in begun
            results = report.build(History.read(table.ours.study, ledger)).results if here else None
            boards.append(board.build(paper, table, results))
    if options.format == "json":
        return dumped(writers.overview_facts(boards))
    return writers.overview(boards, options.format)


COMMANDS = {"report": Command("print a study's table", _arguments, _report)}
