"""Which figures a study gets: its table, its search, its curves, what its methods logged, and what noise does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.bridge import direction, parse_condition
from sweeper.ledger.file import runs_of
from sweeper.reports import plots as figures
from sweeper.reports.report import Report, searched
from sweeper.study.arms import short_names

Record = Mapping[str, Any]
Curves = list[tuple[str, dict[int, list[float]]]]
COMMON = ("epoch", "loss/", "validation/")  # what every run logs; the rest is a method's own


def draw(
    study: str, found: Report, records: Sequence[Record], run_folder: Callable[[str], Path], folder: Path
) -> list[Path]:
    """Draw the figures of a study into `folder` and return the files; curves are those of the final runs."""
    plan = next(r for r in reversed(records) if r["kind"] == "study" and r["study"] == study)
    metric = plan["select"]["metric"]
    names = short_names([arm["axes"] for arm in plan["arms"]])
    arms = dict(zip([arm["key"] for arm in plan["arms"]], names, strict=True))
    runs = runs_of(records)
    chosen = {r["arm"]: r for r in records if r["kind"] == "selected" and r["study"] == study}
    final = {
        name: {
            int(s): runs[k]
            for s, k in chosen[arm]["runs"].items()
            if k in runs and runs[k]["status"] == "done"
        }
        for arm, name in arms.items()
        if arm in chosen
    }
    folder.mkdir(parents=True, exist_ok=True)
    made = figures.bars(found.table(partial=True), folder / "table")
    curves = [(name, {s: list(r["curve"]) for s, r in own.items()}) for name, own in final.items() if own]
    if curves:
        made += figures.curves(curves, folder / "validation", ylabel=f"validation {metric}")
    search = _search(arms, searched(plan, records), metric)
    if search:
        made += figures.best_so_far(
            search, folder / "search", direction=direction(metric), ylabel=f"validation {metric}"
        )
    for kind, levels, quantities in _noise(found):
        for name, series in quantities.items():
            path = folder / f"{name} by {kind}".replace("/", "-")
            made += figures.curves(series, path, ylabel=f"test {name}", xlabel=f"level of {kind}", at=levels)
    for name, logged in _logged(final, run_folder).items():
        made += figures.curves(logged, folder / name.replace("/", "-"), ylabel=name)
    return made


def _search(
    arms: Mapping[str, str], runs: Mapping[str, Sequence[Record]], metric: str
) -> list[tuple[str, list[tuple[float, float | None]]]]:
    def value(run: Record) -> float | None:
        return run["metrics"]["validation"][metric] if run["status"] == "done" else None

    found = {name: [(n, value(run)) for n, run in enumerate(runs[arm], 1)] for arm, name in arms.items()}
    return [(name, values) for name, values in found.items() if values]


def _noise(found: Report) -> list[tuple[str, list[float], dict[str, Curves]]]:
    """Return (kind of noise, its levels, {metric: curves over them}) of each kind that has three levels, 0 included."""
    conditions = {r.axes["condition"]: parse_condition(r.axes["condition"]) for r in found.results}
    kinds: dict[str, dict[float, str]] = {}
    for label, condition in conditions.items():
        if condition.level:
            kind = replace(condition, level=0.0).label.replace("-0", "", 1)
            kinds.setdefault(kind, {})[condition.level] = label
    arms = [
        r.axes | {"condition": ""} for r in found.results if r.axes["condition"] == next(iter(conditions))
    ]
    results = {(r.axes["condition"], tuple((r.axes | {"condition": ""}).items())): r for r in found.results}
    drawn = []
    for kind, levels in kinds.items():
        order = sorted(levels.items() | ({(0.0, "clean")} if "clean" in conditions else set()))
        if len(order) < 3:
            continue
        quantities: dict[str, Curves] = {metric: [] for metric in found.metrics}
        for name, arm in zip(short_names(arms), arms, strict=True):
            own = [results[label, tuple(arm.items())].values for _, label in order]
            for metric, series in quantities.items():
                seeds = {
                    seed: [values[seed][metric] for values in own]
                    for seed in own[0]
                    if all(metric in values.get(seed, {}) for values in own)
                }
                if seeds:
                    series.append((name, seeds))
        drawn.append((kind, [level for level, _ in order], {m: s for m, s in quantities.items() if s}))
    return drawn


def _logged(
    final: Mapping[str, Mapping[int, Record]], run_folder: Callable[[str], Path]
) -> dict[str, Curves]:
    """Return {quantity: curves} of what methods logged in final runs beside losses and validation metrics."""
    found: dict[str, Curves] = {}
    for label, own in final.items():
        quantities: dict[str, dict[int, list[float]]] = {}
        for seed, record in own.items():
            path = run_folder(record["key"]) / "curve.json"
            for entry in json.loads(path.read_text()) if path.exists() else []:
                for name, value in entry.items():
                    if not name.startswith(COMMON):
                        quantities.setdefault(name, {}).setdefault(seed, []).append(value)
        for name, values in quantities.items():
            found.setdefault(name, []).append((label, values))
    return found
