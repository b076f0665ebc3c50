"""The command line: `sweeper run | plan | status | report | repro | methods | datasets | doctor`.

Exit codes: 0 all is well, 1 a cell of the table is incomplete (or a check of `doctor` or `repro` failed), 2 the
user's mistake, told in one sentence, 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from sweeper.bridge import REQUIRED, describe, entries
from sweeper.models.errors import UserError, choose

STORAGE = "sweeps"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except UserError as error:
        print(f"sweeper: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sweeper: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="sweeper", description="Honest hyper-parameter and seed sweeps for multimodal learning."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    study_help = "a study file, or the name of one in search_spaces/studies"

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--storage", default=os.environ.get("SWEEPER_STORAGE", STORAGE), metavar="DIR-OR-URI"
        )
        return command

    for name, text in {
        "run": "carry out a study, or what is left of it, and print its table",
        "plan": "list a study's arms, configurations and runs, what is done already, and an estimate of time and disk",
    }.items():
        command = add(name, text)
        command.add_argument("study", help=study_help)
        command.add_argument(
            "--data-root", metavar="DIR", help="folder of the datasets (default: SWEEPER_DATA)"
        )
        command.add_argument("--set", action="append", default=[], metavar="a.b=c", dest="overrides")
    add("status", "say how far the studies of a storage are").add_argument("study", nargs="?")
    command = add("report", "print a study's table")
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
    command = add("repro", "do one run again from its record and say whether the numbers match")
    command.add_argument("run", help="the run's key, or its beginning")
    command.add_argument("--data-root", metavar="DIR")
    for name in ("methods", "datasets"):
        add(name, f"list the {name} and what can be set on each")
    add("doctor", "check versions, resources, storage and MLflow")
    return top


def _run(options: argparse.Namespace) -> int:
    from sweeper.ledger import storage
    from sweeper.service import session as service
    from sweeper.study import schema as study

    loaded = study.load(options.study, options.overrides)
    root = service.data_root(options.data_root)
    place = service.Place(storage.open_storage(options.storage), root)
    return 0 if service.run(loaded, place) else 1


def _report(options: argparse.Namespace) -> int:
    from sweeper.ledger import storage
    from sweeper.ledger.file import Ledger
    from sweeper.reports import report

    choose("format", options.format, report.SUFFIXES)
    axes = {"rows": options.rows, "columns": options.columns, "metrics": options.metric}
    if options.from_mlflow:
        from sweeper.tracking.writing import fetch_records

        records = fetch_records(options.from_mlflow, options.study)
    else:
        ledger = Ledger(storage.locate(options.storage).ledger)
        ledger.warn()
        records = ledger.records
    print(report.build(options.study, records, **axes).text(options.format, partial=options.partial))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from sweeper.ledger import records, storage
    from sweeper.ledger.file import Ledger
    from sweeper.planning import preview as plan
    from sweeper.service import session as service
    from sweeper.study import arms
    from sweeper.study import schema as study

    loaded = study.load(options.study, options.overrides)
    place = storage.locate(options.storage)
    ledger = Ledger(place.ledger)
    ledger.warn()
    unfolded = arms.unfold(loaded, service.data_root(options.data_root))
    plans = plan.plan(loaded, unfolded, ledger.runs, records.proposals(ledger))
    print("\n".join(plan.describe(loaded, plans)))
    return 0


def _status(options: argparse.Namespace) -> int:
    from sweeper.ledger import storage
    from sweeper.ledger.file import Ledger
    from sweeper.planning import preview as plan

    ledger = Ledger(storage.locate(options.storage).ledger)
    known = {r["study"] for r in ledger.of("study")}
    names = [choose("study", options.study, known, "the ledger")] if options.study else []
    print("\n".join(plan.progress(ledger.records, names)) or f"no study in {ledger.path.parent} yet")
    ledger.warn()
    return 0


def _repro(options: argparse.Namespace) -> int:
    from sweeper.ledger import storage
    from sweeper.ledger.file import Ledger
    from sweeper.service import repro
    from sweeper.service import session as service

    place = storage.locate(options.storage)
    ledger = Ledger(place.ledger)
    ledger.warn()
    record = ledger.runs[repro.find(ledger.runs, options.run)]
    same, said = repro.again(record, place, service.data_root(options.data_root))
    print("\n".join(said))
    return 0 if same else 1


def _list(kind: str) -> Callable[[argparse.Namespace], int]:
    def command(_: argparse.Namespace) -> int:
        for name, entry in entries(kind).items():
            tasks = f" ({', '.join(entry.tasks)})" if kind == "method" else ""
            print(f"{name}{tasks}: {' '.join(entry.doc.split(chr(10) * 2)[0].split())}")
            for key, parameter in entry.parameters.items():
                default = "required" if parameter.default is REQUIRED else parameter.default
                print(f"    {key} = {default}    {describe(parameter.type)}")
        return 0

    return command


def _doctor(options: argparse.Namespace) -> int:
    from sweeper.service import doctor
    from sweeper.service import session as service

    well = True
    for ok, sentence in doctor.checks(options.storage, service.data_root(None)):
        print(f"{'ok  ' if ok else 'FAIL'} {sentence}")
        well &= ok
    return 0 if well else 1


COMMANDS = {
    "run": _run,
    "plan": _plan,
    "status": _status,
    "report": _report,
    "repro": _repro,
    "methods": _list("method"),
    "datasets": _list("dataset"),
    "doctor": _doctor,
}

if __name__ == "__main__":
    sys.exit(main())
