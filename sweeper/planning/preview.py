"""What a study would do, and how far studies are: read from the study file and the ledger, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sweeper.ledger.file import Ledger
from sweeper.ledger.records import Announced, RunRecord, Selected
from sweeper.planning.planner import REPEATABLE
from sweeper.planning.racing import RULES
from sweeper.study import space
from sweeper.study.arms import Arm, short_names
from sweeper.study.runs import Run
from sweeper.study.samplers import words
from sweeper.study.schema import Study
from sweeper.study.unfold import Unfit

SHOWN = 5


@dataclass(frozen=True)
class ArmPlan:
    """One arm: the configurations known so far, runs planned (an upper bound while racing) and done."""

    arm: Arm
    known: dict[int, Mapping[str, Any]]
    size: int
    planned: int
    done: int
    seconds: float | None
    bytes: float | None


def plan(
    study: Study,
    arms: Sequence[Arm],
    runs: Mapping[str, RunRecord],
    proposed: Mapping[str, Mapping[int, Mapping[str, Any]]],
) -> list[ArmPlan]:
    """Return the plan of every arm, given the ledger's runs by key and proposals by arm."""
    search, found = study.search, []
    for arm in arms:
        known = {0: arm.defaults(), **proposed.get(arm.key, {})}
        size = arm.size(search)
        own = _finished(study, arm, {k: values for k, values in known.items() if k < size}, runs)
        planned = RULES[search.racing].runs_planned(size, len(search.seeds), len(study.final.seeds))
        seconds = [record.seconds for record in own]
        sizes = [float(record.bytes) for record in own]
        found.append(ArmPlan(arm, known, size, planned, len(own), _mean(seconds), _mean(sizes)))
    return found


def _finished(
    study: Study, arm: Arm, known: Mapping[int, Mapping[str, Any]], runs: Mapping[str, RunRecord]
) -> list[RunRecord]:
    """Return the records of an arm's runs that need not be done again."""
    seeds = [("final", seed) for seed in study.final.seeds]
    seeds += [("search", seed) for seed in study.search.seeds if arm.size(study.search) > 1]
    wanted = {
        (run := Run(arm, k, dict(values), stage, seed)).key: run
        for k, values in known.items()
        for stage, seed in seeds
    }
    return [
        record
        for key, run in wanted.items()
        if (record := runs.get(key)) and record.status in REPEATABLE
        if not record.done or run.covered(record.metrics)
    ]


def facts(
    study: Study, plans: Sequence[ArmPlan], unfit: Sequence[Unfit] = (), kept: int = 0
) -> dict[str, Any]:
    """Return what `sweeper plan` tells, as plain data; `kept` is how many bytes the samples take that are read once."""
    names = short_names([p.arm.axes for p in plans])
    return {
        "study": study.study,
        "tuning_seeds": study.search.seeds,
        "report_seeds": study.final.seeds,
        "sampler": study.search.sampler,
        "racing": study.search.racing,
        "arms": [_facts(name, p) for name, p in zip(names, plans, strict=True)],
        "left_out": [{"axes": arm.axes, "reason": arm.reason} for arm in unfit],
        "runs_at_once": _at_once(study, plans),
        "resources": study.resources.model_dump(include={"cpus", "gpus", "workers"}),
        "left": _left(study, plans)._asdict(),
        "samples_bytes": kept,
    }


def _facts(name: str, p: ArmPlan) -> dict[str, Any]:
    return {
        "name": name,
        "axes": p.arm.axes,
        "key": p.arm.key,
        "configurations": p.size,
        "searched_by": [p.arm.metric, *([p.arm.beside] if p.arm.beside else [])],
        "runs": p.planned,
        "done": p.done,
        "seconds_per_run": p.seconds,
        "bytes_per_run": p.bytes,
        "fixed": p.arm.fixed,
        "known": [{"configuration": k, "parameters": p.known[k]} for k in sorted(p.known)],
        "unsearched": p.arm.unsearched,
        "searched": {name: space.described(domain) for name, domain in p.arm.space.items()},
    }


def describe(
    study: Study, plans: Sequence[ArmPlan], unfit: Sequence[Unfit] = (), kept: int = 0
) -> Iterator[str]:
    """Yield the same in lines."""
    total, done = sum(p.planned for p in plans), sum(p.done for p in plans)
    search, select = study.search, study.select
    yield (
        f"study {study.study}: {len(plans)} arms, up to {total} runs, {done} done; tuning seeds {search.seeds},"
        f" report seeds {study.final.seeds}, {words(search.sampler)}, racing {search.racing}"
        + (f", {search.hours:g} h of search runs in all" if search.hours else "")
        + (f"; searched by {select.metric} and {select.beside}" if select.beside else "")
    )
    for name, p in zip(short_names([p.arm.axes for p in plans]), plans, strict=True):
        alone = (
            f"; searched by {select.metric} alone"
            if select.beside and not p.arm.beside and p.size > 1
            else ""
        )
        yield f"{name}: {p.size} configurations, up to {p.planned} runs, {p.done} done{alone}{_unsearched(p.arm)}"
        for k in sorted(p.known)[:SHOWN]:
            origin = "the published defaults" if k == 0 else "proposed"
            yield f"  #{k} {origin}: {_values({**p.arm.fixed, **p.known[k]})}"
        rest = p.size - min(len(p.known), SHOWN)
        if rest > 0:
            yield f"  and {rest} more from: {', '.join(_domain(*item) for item in p.arm.space.items())}"
    for arm in unfit:
        yield f"left out: {'/'.join(arm.axes.values())}: {arm.reason}"
    yield _demand(study, plans)
    if kept:
        yield f"samples, read once on each machine: about {kept / 2**20:,.1f} MB of disk"
    yield _estimate(study, plans)


def _demand(study: Study, plans: Sequence[ArmPlan]) -> str:
    """Return what the study would ask of a cluster that can grow."""
    need = study.resources
    each = f"{need.cpus:g} CPU" + (f" and {need.gpus:g} GPU" if need.gpus else "")
    workers = f"{need.workers} workers with " if need.workers > 1 else ""
    return f"at once: up to {_at_once(study, plans)} runs where they fit, each of {workers}{each}"


def _at_once(study: Study, plans: Sequence[ArmPlan]) -> int:
    search = study.search
    rule, seeds = RULES[search.racing], (len(search.seeds), len(study.final.seeds))
    return sum(min(rule.at_once(p.size, *seeds, search.ahead), p.planned) for p in plans)


def reached(plan: Announced, ledger: Ledger) -> dict[str, Any]:
    """Return how far a study is: its arms, how many are selected, and its runs by stage and status."""
    arms = {arm.key for arm in plan.arms}
    selected = {record.arm for record in ledger.of(Selected, study=[plan.study])} & arms
    runs: dict[str, dict[str, int]] = {}
    for (stage, status), n in sorted(ledger.tally(arms).items(), key=lambda own: (own[0][0] == "final", own)):
        runs.setdefault(stage, {})[status] = n
    return {"study": plan.study, "arms": len(arms), "selected": len(selected), "runs": runs}


def progress(plans: Iterable[Announced], ledger: Ledger) -> Iterator[str]:
    """Yield the same in one line per study."""
    for plan in plans:
        found = reached(plan, ledger)
        runs = [f"{n} {stage} {status}" for stage, own in found["runs"].items() for status, n in own.items()]
        told = ", ".join(runs) or "no runs yet"
        yield f"{plan.study}: {found['selected']} of {found['arms']} arms selected; {told}"


class Left(NamedTuple):
    """What is left to do: runs, seconds of training and bytes of disk, None until a first run is recorded."""

    runs: int
    seconds: float | None
    bytes: float | None


def _left(study: Study, plans: Sequence[ArmPlan]) -> Left:
    """Return what is left, from the runs that the ledger holds."""
    left = [max(p.planned - p.done, 0) for p in plans]  # what is done may count configurations that lost
    known = [p.seconds for p in plans if p.seconds is not None]
    if not known:
        return Left(sum(left), None, None)
    typical = sum(known) / len(known)
    seconds = sum(n * (typical if p.seconds is None else p.seconds) for n, p in zip(left, plans, strict=True))
    sizes = [p.bytes for p in plans if p.bytes is not None]
    return Left(sum(left), seconds, sum(left) * (sum(sizes) / len(sizes) if sizes else 0.0))


def _estimate(study: Study, plans: Sequence[ArmPlan]) -> str:
    left = _left(study, plans)
    if left.seconds is None or left.bytes is None:
        return "time and disk: unknown until a first run is recorded"
    slots = max(1, int((os.cpu_count() or 1) // (study.resources.cpus * study.resources.workers)))
    return (
        f"left: up to {left.runs} runs, {left.seconds:.0f} s of training,"
        f" about {left.seconds / slots:.0f} s on this machine's {slots} slots, {left.bytes / 2**20:.1f} MB of disk"
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _unsearched(arm: Arm) -> str:
    """Return the end of a sentence where nothing of an arm, or nothing of its method's own, is searched."""
    if not arm.space:
        return "; nothing of it is searched"
    own = ", ".join(arm.unsearched)
    return f"; of the method's own parameters none is searched ({own})" if own else ""


def _values(values: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        or "nothing to set"
    )


def _domain(name: str, domain: space.Domain | space.Cases) -> str:
    if isinstance(domain, space.Cases):
        return f"{name} {' or '.join(_domain('', own).strip() for own in domain.domains)}"
    body = (
        "|".join(map(str, domain.choices)) if domain.kind == "choice" else "{:g}…{:g}".format(*domain.bounds)
    )
    return f"{name} {body}{' log' if domain.log else ''}"
