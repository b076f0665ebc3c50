"""`sweeper run` and `sweeper plan`: a study carried out, and what that would take."""

from __future__ import annotations

import argparse

from sweeper.commands.base import Command, as_json, data_root, readable, tell
from sweeper.study import schema


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="a study file, or the name of one in search_spaces/studies")
    command.add_argument("--data-root", metavar="DIR", help="folder of the datasets (default: SWEEPER_DATA)")
    command.add_argument("--set", action="append", default=[], metavar="a.b=c", dest="overrides")
    command.add_argument(
        "--skip-unfit", action="store_true", help="leave out arms that cannot be built, and say so"
    )


def _of_plan(command: argparse.ArgumentParser) -> None:
    _arguments(command)
    as_json(command)


def _run(options: argparse.Namespace) -> int:
    from sweeper.ledger.uris import open_storage
    from sweeper.service.run import run
    from sweeper.service.session import Workspace

    study = schema.load(options.study, options.overrides)
    workspace = Workspace(open_storage(options.storage), data_root(options.data_root))
    return 0 if run(study, workspace, skip_unfit=options.skip_unfit) else 1


def _plan(options: argparse.Namespace) -> int:
    from sweeper import bridge
    from sweeper.ledger.uris import locate
    from sweeper.planning import preview
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
    told = (study, plans, unfit or [], kept)
    tell(options, preview.describe(*told), lambda: preview.facts(*told))
    return 0


COMMANDS = {
    "run": Command("carry out a study, or what is left of it, and print its table", _arguments, _run),
    "plan": Command(
        "list a study's arms, configurations and runs, what is done already, and an estimate of time and disk",
        _of_plan,
        _plan,
    ),
}
