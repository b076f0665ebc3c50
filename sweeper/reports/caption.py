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
        f" first){_within(history)}, racing {search.racing}, early stopping {search.early_stopping};"
        f" {_spent(history)}.",
        *_by_two(history),
        *_unsearched(plan),
        f"Tuning seeds {_listed(search.seeds)}; report seeds {_listed(plan.final.seeds)}.",
        f"Test looks per arm: {_listed(sorted(looks))}.",
        *_kept(history),
        *_codes(history),
        *_hardware(history),
        *floors(history),
        *_left_out(plan),
    ]


def _budget(plan: Announced) -> str:
    """Return how many configurations each method had, where a space is too small for all that were granted."""
    granted = plan.search.configurations
    sizes = {arm.axes["method"]: arm.size or granted for arm in plan.arms}
    fewer = ", ".join(f"{name} {size}" for name, size in sizes.items() if 1 < size < granted)
    none = ", ".join(f"{name} {size}" for name, size in sizes.items() if size == 1 < granted)
    said = [f"{fewer}: no more to try"] * bool(fewer) + [f"{none}: nothing is searched"] * bool(none)
    most = "up to " * bool(plan.search.hours) + str(granted)
    return f"{most} ({'; '.join(said)})" if said else most


def _within(history: History) -> str:
    """Return into how much time an arm's search had to fit, and how many configurations of each method did."""
    plan, tried = history.plan, dict[str, set[int]]()
    if not plan.search.hours:
        return ""
    for arm in plan.arms:
        if number := len({run.configuration for run in history.searched[arm.key]}):
            tried.setdefault(arm.axes["method"], set()).add(number)
    counts = ", ".join(f"{name} {_range(numbers)}" for name, numbers in tried.items())
    searching = sum(arm.size != 1 for arm in plan.arms)
    each = _time(plan.search.hours * 3600 / max(searching, 1))
    return f", as many as fit into {each} of runs for each arm (tried: {counts or 'none yet'})"


def _range(numbers: set[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _by_two(history: History) -> list[str]:
    """Return which metrics the search went by where there were two, and the arms that lack the second."""
    metric, beside = history.plan.select.metric, history.plan.select.beside
    if not beside:
        return []
    alone = [history.names[arm.key] for arm in history.plan.arms if arm.size != 1 and not arm.beside]
    said = f" ({metric} alone, for want of a {beside}: {_listed(alone)})" if alone else ""
    return [f"Searched by {metric} and {beside}{said}; what is selected is best by {metric}."]


def _unsearched(plan: Announced) -> list[str]:
    """Return a sentence on the methods of which nothing but training was searched, with what stayed as published."""
    own = {
        arm.axes["method"]: _listed(arm.unsearched) for arm in plan.arms if arm.unsearched and arm.size != 1
    }
    said = ", ".join(f"{name} ({names})" for name, names in own.items())
    return [f"Own parameters of which none is searched: {said}."] if said else []


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


def _hardware(history: History) -> list[str]:
    """Return what computed the final runs, by arm, where that was not always the same."""
    arms: dict[str, dict[str, int]] = {}
    for arm, name in history.names.items():
        for run in history.final(arm).values():
            computed = run.hardware.get("gpu") or run.hardware.get("capability")
            if computed:
                own = arms.setdefault(computed, {})
                own[name] = own.get(name, 0) + 1
    if len(arms) < 2:
        return []
    told = (
        f"{computed} ({', '.join(f'{name} {n}' for name, n in own.items())})"
        for computed, own in sorted(arms.items())
    )
    return [f"Hardware: final runs on {'; '.join(told)}; one differs from the other in digits."]


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
