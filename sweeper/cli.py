"""The command line: `sweeper run | plan | status | report | repro | gc | methods | datasets | … | schema | doctor`.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sweeper.models.errors import UserError, choose, one_line
from sweeper.study import schema
from sweeper.study.places import place

if TYPE_CHECKING:
    from sweeper.ledger.file import Ledger
    from sweeper.ledger.storage import Storage

STORAGE = "sweeps"
PARTS = {  # beside methods, what a study names
    "datasets": "dataset",
    "encoders": "encoder",
    "fusions": "fusion",
    "readers": "reader",
    "augmentations": "augmentation",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
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
        command.add_argument(
            "--skip-unfit", action="store_true", help="leave out arms that cannot be built, and say so"
        )
    add("status", "say how far the studies of a storage are").add_argument("study", nargs="?")
    _of_report(add("report", "print a study's table"))
    command = add("repro", "do one run again from its record and say whether the numbers match")
    command.add_argument("run", help="the run's key, or its beginning")
    command.add_argument("--data-root", metavar="DIR")
    add("gc", "list what a storage holds for nobody, and how much that frees").add_argument(
        "--remove", action="store_true", help="remove it"
    )
    for name in ("methods", *PARTS):
        command = add(name, f"list the {name} in brief, or show the named ones in full")
        command.add_argument("names", nargs="*", metavar="NAME")
    add("schema", "print a JSON schema of study files, for editors")
    add("doctor", "check versions, resources, storage and MLflow")
    return top


def _of_report(command: argparse.ArgumentParser) -> None:
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


def _run(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import open_storage
    from sweeper.service.run import run
    from sweeper.service.session import Workspace

    study = schema.load(options.study, options.overrides)
    workspace = Workspace(open_storage(options.storage), data_root(options.data_root))
    return 0 if run(study, workspace, skip_unfit=options.skip_unfit) else 1


def _report(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import History
    from sweeper.ledger.uris import locate
    from sweeper.reports import report

    choose("format", options.format, report.SUFFIXES)
    axes = {"rows": options.rows, "columns": options.columns, "metrics": options.metric}
    if options.from_mlflow:
        from sweeper.tracking.writing import fetch_records

        history = History.of(options.study, fetch_records(options.from_mlflow, options.study))
    else:
        history = History.read(options.study, _ledger(locate(options.storage)))
    found = report.build(history, **axes)
    print(found.text(options.format, partial=options.partial))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from sweeper import bridge
    from sweeper.ledger.uris import locate
    from sweeper.planning import preview
    from sweeper.service.run import reusing
    from sweeper.service.session import proposals
    from sweeper.study.unfold import unfold

    study = schema.load(options.study, options.overrides)
    ledger = _ledger(locate(options.storage))
    unfit = [] if options.skip_unfit else None
    root = data_root(options.data_root)
    arms = reusing(study, unfold(study, root, unfit=unfit), ledger)
    datasets = {repr(arm.dataset): arm.dataset for arm in arms}.values()
    kept = sum(bridge.kept_bytes(named["name"], bridge.options_of(named), root) for named in datasets)
    plans = preview.plan(study, arms, ledger.runs, proposals(arms, ledger))
    print("\n".join(preview.describe(study, plans, unfit or [], kept)))
    return 0


def _status(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import announcements
    from sweeper.ledger.records import Announced
    from sweeper.ledger.uris import locate
    from sweeper.planning import preview

    storage = locate(options.storage)
    ledger = _ledger(storage)
    plans = announcements(ledger.of(Announced))
    if options.study:
        plans = {name: plans[name] for name in [choose("study", options.study, plans, "the ledger")]}
    said = "\n".join(preview.progress(plans.values(), ledger))
    print(said or f"no study in {storage.address(storage.root)} yet")
    return 0


def _repro(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service import repro

    storage = locate(options.storage)
    ledger = _ledger(storage)
    record = ledger.runs[repro.find(ledger.runs, options.run)]
    same, said = repro.again(record, storage, data_root(options.data_root))
    print("\n".join(said))
    return 0 if same else 1


def _gc(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import locate
    from sweeper.service import gc

    storage = locate(options.storage)
    ledger = _ledger(storage)
    if not ledger.path.exists():
        raise UserError(
            f"there is no ledger in {storage.address(storage.root)}; name the storage by --storage"
        )
    ledger.lock()
    try:
        found = gc.waste(storage, ledger)
        print("\n".join(gc.describe(found, storage)) if found else "there is nothing to remove")
        if found and options.remove:
            gc.remove(found, storage)
            print("removed")
        elif found:
            print("nothing is removed yet; --remove does it")
    finally:
        ledger.unlock()
    return 0


def _ledger(storage: Storage) -> Ledger:
    """Return the ledger of a storage, there or not, and say which lines cannot be read."""
    ledger = storage.open_ledger()
    ledger.warn()
    return ledger


def data_root(given: str | None) -> Path | None:
    """Return the folder of the datasets: --data-root, or SWEEPER_DATA, or none."""
    text = given or os.environ.get("SWEEPER_DATA")
    return place("data root", text).resolve() if text else None


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


def _doctor(options: argparse.Namespace) -> int:
    from sweeper.service import doctor

    well = True
    for ok, sentence in doctor.checks(options.storage, data_root(None)):
        print(f"{'ok  ' if ok else 'FAIL'} {one_line(sentence)}")
        well &= ok
    return 0 if well else 1


COMMANDS = {
    "run": _run,
    "plan": _plan,
    "status": _status,
    "report": _report,
    "repro": _repro,
    "methods": _methods,
    **dict.fromkeys(PARTS, _parts),
    "schema": _schema,
    "gc": _gc,
    "doctor": _doctor,
}

if __name__ == "__main__":
    program()
