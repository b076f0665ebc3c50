"""`sweeper run` and `sweeper plan`: a study carried out, and what that would take."""

from __future__ import annotations

import argparse
import re

from sweeper.commands.base import Command, as_json, data_root, readable, tell
from sweeper.models.errors import UserError
from sweeper.study import schema
from sweeper.study.places import place

NAME = re.compile(schema.NAME)


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="a study file, or the name of one in search_spaces/studies")
    command.add_argument("--data-root", metavar="DIR", help="folder of the datasets (default: SWEEPER_DATA)")
    command.add_argument("--set", action="append", default=[], metavar="a.b=c", dest="overrides")
    command.add_argument(
        "--skip-unfit", action="store_true", help="leave out arms that cannot be built, and say so"
    )


def _of_run(command: argparse.ArgumentParser) -> None:
    _arguments(command)
    command.add_argument(
        "--stop-after", metavar="TIME", help="end as Ctrl-C does after so long: 90s, 30m, 8h or 2d"
    )


def seconds(name: str, text: str) -> float:
    """Return the seconds that 90s, 30m, 8h or 2d are; raise UserError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or not float(found[1]):
        raise UserError(f"{name} is {text!r}; give a time above zero, as 90s, 30m, 8h or 2d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _of_plan(command: argparse.ArgumentParser) -> None:
    _arguments(command)
    as_json(command)


def _run(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import open_storage
    from sweeper.service.run import run
    from sweeper.service.session import Workspace

    study = schema.load(options.study, options.overrides)
    workspace = Workspace(open_storage(options.storage), data_root(options.data_root))
    limit = None if options.stop_after is None else seconds("--stop-after", options.stop_after)
    return 0 if run(study, workspace, skip_unfit=options.skip_unfit, stop_after=limit) else 1


def _plan(options: argparse.Namespace) -> int:
    from sweeper import bridge
    from sweeper.ledger.uris import locate
    from sweeper.planning import preview
    from sweeper.running.fitting import warnings
    from sweeper.service.run import reusing
    from sweeper.service.session import proposals
    from sweeper.study.unfold import unfold

    study = schema.load(options.study, options.overrides)
    ledger = readable(locate(options.storage))
    unfit = [] if options.skip_unfit else None
    root = data_root(options.data_root)
    arms = reusing(study, unfold(study, root, unfit=unfit), ledger)
    datasets = {repr(arm.dataset): arm.dataset for arm in arms}.values()
    kept = sum(bridge.kept_bytes(named["name"], bridge.options_of(named), root) for named in datasets)
    plans = preview.plan(study, arms, ledger.runs, proposals(arms, ledger))
    told, warned = (study, plans, unfit or [], kept), warnings(study.resources)
    lines = [*preview.describe(*told), *(f"warning: {sentence}" for sentence in warned)]
    tell(options, lines, lambda: {**preview.facts(*told), "warnings": warned})
    return 0


def _of_init(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", nargs="?", default="study.yaml", metavar="FILE")


def _init(options: argparse.Namespace) -> int:
    from sweeper.study.editors import template

    path = place("study file", options.file)
    name = path.stem if NAME.fullmatch(path.stem) else "my_study"
    try:
        with path.open("x") as file:
            file.write(template(options.file, name))
    except FileExistsError:
        raise UserError(f"{options.file!r} is there already; name another file") from None
    except OSError as error:
        raise UserError(f"{options.file!r} cannot be written ({error.strerror}); name another file") from None
    print(f"written: {options.file}, a study like quickstart; sweeper plan {options.file} says what it takes")
    return 0


COMMANDS = {
    "init": Command("write a commented study file to begin with", _of_init, _init),
    "run": Command("carry out a study, or what is left of it, and print its table", _of_run, _run),
    "plan": Command(
        "list a study's arms, configurations and runs, what is done already, and an estimate of time and disk",
        _of_plan,
        _plan,
    ),
}
