"""What a table's caption says of how its numbers came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.ledger.history import History
from sweeper.ledger.records import Announced, RunRecord
from sweeper.reports.floors import floors
from sweeper.study.samplers import guided_from, words
from sweeper.study.schema import Search


def caption(history: History) -> list[str]:
    """Return its sentences: selection, budget, seeds, looks at the test set, code, what was kept and left out."""
    plan, search = history.plan, history.plan.search
    rules = sorted({chosen.rule for chosen in history.selected.values()})
    looks = {history.looks(arm.axes) for arm in plan.arms}
    return [
        f"Study {plan.study}: selected by {'; '.join(rules) or 'nothing yet'}.",
        f"Budget per method and arm: {_budget(plan)} configurations ({_sampler(search)}, the published defaults"
        f" first), racing {search.racing}, early stopping {search.early_stopping}; {_spent(history)}.",
        f"Tuning seeds {_listed(search.seeds)}; report seeds {_listed(plan.final.seeds)}.",
        f"Test looks per arm: {_listed(sorted(looks))}.",
        *_kept(history),
        *_codes(history),
        *floors(history),
        *_left_out(plan),
    ]


def _budget(plan: Announced) -> str:
    """Return how many configurations each method had, where a space is too small for all that were granted."""
    granted = plan.search.configurations
    sizes = {arm.axes["method"]: arm.size or granted for arm in plan.arms}
    fewer = ", ".join(f"{name} {size}" for name, size in sizes.items() if size < granted)
    return f"{granted} ({fewer}: no more to try)" if fewer else str(granted)


def _sampler(search: Search) -> str:
    named = words(search.sampler)
    first = guided_from(search.sampler, search.ahead)
    if first is None:
        return named
    if first >= search.configurations:
        return f"random: {named} would begin with #{first}"
    return f"{named}, random before #{first}"


def _spent(history: History) -> str:
    """Return what searching took, by method: runs and seconds, over its arms."""
    methods = {arm.key: arm.axes["method"] for arm in history.plan.arms}
    spent: dict[str, list[RunRecord]] = {name: [] for name in methods.values()}
    for arm, runs in history.searched.items():
        spent[methods[arm]] += runs
    said = []
    for name, runs in spent.items():
        failed = sum(run.error is not None for run in runs)
        time = _time(sum(run.seconds for run in runs))
        said.append(f"{name} {len(runs)} runs in {time}" + f" ({failed} failed)" * (failed > 0))
    return "search spent " + ", ".join(said)


def _kept(history: History) -> list[str]:
    """Return which epoch's weights were tested, and of which arms that was the last."""
    found = {name: {run.kept for run in history.final(arm).values()} for arm, name in history.names.items()}
    tested = {name: kept for name, kept in found.items() if kept}
    named = [name for name, kept in tested.items() if kept == {"last"}]
    if not tested:
        return []
    if not named:
        return ["Weights kept: of the epoch that is best on validation."]
    if len(named) == len(tested):
        return ["Weights kept: of the last epoch."]
    return [f"Weights kept: of the epoch that is best on validation; of the last: {', '.join(named)}."]


def _codes(history: History) -> list[str]:
    """Return the code that the final runs come from, by arm where it differs."""
    codes: dict[str, list[str]] = {}
    planned = {arm.key: arm.code for arm in history.plan.arms}
    for arm, name in history.names.items():
        own = sorted({_code(run, planned[arm]) for run in history.final(arm).values()})
        for code in own:
            codes.setdefault(code, []).append(name)
    if len(codes) < 2:
        return [f"Code: {_listed(codes or [history.plan.git])}."]
    return ["Code: " + "; ".join(f"{code} ({', '.join(names)})" for code, names in codes.items()) + "."]


def _code(run: RunRecord, planned: str) -> str:
    """Return a run's commit, with the digest of its code where that is not the code that was there in the end."""
    return run.git if run.code == planned else f"{run.git} {run.code}".strip()


def _left_out(plan: Announced) -> list[str]:
    return [f"Left out: {_axes(arm['axes'])}, because {arm['reason']}." for arm in plan.unfit]


def _axes(axes: Mapping[str, Any]) -> str:
    return "/".join(str(value) for value in axes.values())


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
