"""`sweeper replay`: what other rules would have chosen from recorded runs, and what they would have saved."""

from __future__ import annotations

import argparse
import itertools
import sys

from sweeper.commands.base import Command, readable
from sweeper.models.errors import UserError, choose


def _arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "study", nargs="*", help="studies of the storage; all that have whole runs if none is named"
    )
    command.add_argument("--racing", nargs="+", metavar="RULE", help="rules of racing; all if none is named")
    command.add_argument(
        "--early-stopping", nargs="+", metavar="RULE", help="rules of early stopping; likewise"
    )
    command.add_argument(
        "--sampler", nargs="+", default=[], metavar="NAME", help="samplers over the recorded configurations"
    )
    command.add_argument(
        "--configurations", nargs="+", type=int, default=[0], metavar="N", help="how many are tried; all"
    )
    command.add_argument(
        "--seeds", nargs="+", type=int, default=[0], metavar="N", help="tuning seeds each; all"
    )
    command.add_argument(
        "--orders", type=int, default=24, metavar="N", help="orders of seeds and configurations"
    )
    command.add_argument("--format", default="md", metavar="md|csv")


def _replay(options: argparse.Namespace) -> int:
    from sweeper.ledger.history import History, announcements
    from sweeper.ledger.records import Announced
    from sweeper.ledger.uris import locate
    from sweeper.planning import replay
    from sweeper.planning.racing import RULES, STOPPINGS
    from sweeper.study.samplers import OPTIONS

    choose("format", options.format, ("md", "csv"))
    racing = [choose("racing", name, RULES) for name in options.racing or RULES]
    stopping = [choose("early stopping", name, STOPPINGS) for name in options.early_stopping or STOPPINGS]
    over_pools = [name for name in OPTIONS if name != "grid"]  # whose points need not be near any record
    samplers = [choose("sampler", name, over_pools) for name in options.sampler] or [replay.RECORDED]
    for name in ("configurations", "seeds", "orders"):
        given = getattr(options, name)
        least = 1 if name == "orders" else 0
        if min(given if isinstance(given, list) else [given]) < least:
            raise UserError(f"--{name} is {given}; admissible: whole numbers from {least}")
    ledger = readable(locate(options.storage))
    known = announcements(ledger.of(Announced))
    studies = [choose("study", name, known, "the ledger") for name in options.study] or list(known)
    pools = [pool for name in studies for pool in replay.pools(History.read(name, ledger))]
    if not pools:
        raise UserError(
            "no arm has two configurations with a whole run on every tuning seed;"
            " record some with search.racing: none and search.early_stopping: none"
        )
    budgets = itertools.product(samplers, racing, stopping, options.configurations, options.seeds)
    rules = [
        replay.Rule(racing=r, early_stopping=e, sampler=s, configurations=n, seeds=of)
        for s, r, e, n, of in budgets
    ]
    found = []
    for rule in rules:
        found.append(replay.replays(pools, rule, options.orders))
        print(f"{len(found)} of {len(rules)} rules", file=sys.stderr)
    print(replay.table(found, options.format))
    if options.format == "md":
        print("\n" + replay.told(pools))
    return 0


COMMANDS = {
    "replay": Command("say what other rules would have chosen from recorded runs", _arguments, _replay)
}
