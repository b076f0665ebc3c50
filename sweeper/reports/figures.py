"""Which figures a study gets: table, comparisons, search, curves, what its methods logged, and what noise does.

`python -m sweeper.reports.figures STORAGE STUDY` draws them, and writes the page that they are part of, once its input
ends: a process of its own, which can make itself ready while the last runs are under way, and draw while all else is
closed. Optuna's database follows.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.bridge import direction, is_share, parse_condition
from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord
from sweeper.ledger.uris import locate
from sweeper.reports import fronts, page, report, selection
from sweeper.reports.differences.statements import titles
from sweeper.reports.names import in_percent, titled
from sweeper.reports.plots import comparisons, lines, tables
from sweeper.reports.plots.fronts import Axis, pareto
from sweeper.reports.report import Report
from sweeper.reports.searches import FILE, Searches
from sweeper.study.arms import short_names

Curve = list[dict[str, float]]  # by epoch
Curves = list[tuple[str, dict[int, list[float]]]]
LEAST_RANKED = 3  # of two methods, one number says all
COMMON = ("epoch", "loss/", "validation/")  # what every run logs; the rest is a method's own


def draw(history: History, found: Report, curve: Callable[[str], Curve], folder: Path) -> list[Path]:
    """Draw the figures of a study into `folder` and return the files; `curve` gives what a final run logged."""
    metric = history.plan.select.metric
    final = {name: history.final(arm) for arm, name in history.names.items() if arm in history.selected}
    folder.mkdir(parents=True, exist_ok=True)
    table = found.table(partial=True)
    made = tables.bars(table, folder / "table")
    if found.ranking and len(found.ranking.ranks) >= LEAST_RANKED:
        made += lines.mean_ranks(found.ranking, folder / "ranks")
    made += _comparisons(found, folder)
    names = list(history.names.values())
    share = {metric} if is_share(metric) else set()
    said: dict[str, Any] = {
        "ylabel": f"{titled(metric, share)} on validation",
        "scale": 100 if share else 1,
        "among": names,
    }
    curves = [(name, {s: list(r.curve) for s, r in own.items()}) for name, own in final.items() if own]
    if curves:
        made += lines.curves(curves, folder / "validation", **said)
    search = _search(history)
    if search:
        made += lines.best_so_far(search, folder / "search", direction=direction(metric), **said)
        made += comparisons.expected(
            _expected(history),
            folder / "expected",
            direction=direction(metric),
            ylabel=said["ylabel"],
            share=is_share(metric),
        )
    made += _pareto(history, folder)
    for kind, levels, quantities in _noise(found):
        for name, series in quantities.items():
            path = folder / file_name(f"{name} by {kind}")
            said = {
                "ylabel": f"{titled(name, table.percent)} on test",
                "scale": 100 if name in table.percent else 1,
            }
            made += lines.curves(series, path, xlabel=f"Level of {kind}", at=levels, **said)
    for name, logged in _logged(final, curve).items():
        made += lines.curves(logged, folder / file_name(name), ylabel=titled(name), among=names)
    return made


def file_name(quantity: str) -> str:
    r"""Return a name of a file that \includegraphics takes, for what a method may have called anything."""
    return re.sub(r"[^\w.+]+", "-", quantity, flags=re.ASCII)[:100].lstrip(".").rstrip("-.")


def _comparisons(found: Report, folder: Path) -> list[Path]:
    """Draw who differs by how much from the baseline, and means over datasets, where there are some."""
    made = []
    if found.compared:
        panels = list(zip(titles(found.compared), found.compared, strict=True))
        made += comparisons.differences(panels, folder / "differences")
    if found.overall and len(found.overall.names) >= LEAST_RANKED:
        made += comparisons.interquartile_means(found.overall, folder / "iqm")
    return made


def _search(history: History) -> list[tuple[str, list[tuple[float, float | None]]]]:
    """Return the means over seeds of each arm's configurations, by their number."""
    found = {
        name: selection.best_so_far(selection.means(history, arm)) for arm, name in history.names.items()
    }
    return [(name, values) for name, values in found.items() if values]


def _pareto(history: History, folder: Path) -> list[Path]:
    """Draw what was found by arms whose search went by two metrics."""
    metrics = history.plan.select.metrics
    arms = {history.names[arm.key]: arm for arm in history.plan.arms if arm.beside}
    panels = {name: own for name, arm in arms.items() if (own := fronts.found(history, arm.key))}
    if not panels:
        return []
    datasets = {name: arms[name].axes["dataset"] for name in panels}
    rivals = {
        name: [other for other in panels if other != name and datasets[other] == dataset]
        for name, dataset in datasets.items()
    }
    shown = [metric for metric in metrics if in_percent(metric, metrics[0])]
    axes = [Axis(titled(m, shown), direction(m), 100 if m in shown else 1) for m in metrics]
    return pareto(panels, rivals, axes, folder / "pareto")


def _expected(history: History) -> dict[str, list[tuple[str, list[float]]]]:
    """Return what a budget of n configurations is expected to find: {dataset: [(arm, by n)]}."""
    sense, found = direction(history.plan.select.metric), dict[str, dict[str, list[float]]]()
    for arm in history.plan.arms:
        values = selection.in_order(selection.means(history, arm.key), sense)
        if values:
            own = found.setdefault(arm.axes["dataset"], {})
            own[arm.key] = selection.expected_best(values)
    axes = {arm.key: {**arm.axes, "dataset": ""} for arm in history.plan.arms}
    return {
        dataset: list(zip(short_names([axes[arm] for arm in own]), own.values(), strict=True))
        for dataset, own in found.items()
    }


def _noise(found: Report) -> list[tuple[str, list[float], dict[str, Curves]]]:
    """Return (kind of noise, its levels, {metric: curves over them}) of each kind that has three levels.

    Clean is one, as level 0, of a kind that changes nothing at it.
    """
    conditions = {r.axes["condition"]: parse_condition(r.axes["condition"]) for r in found.results}
    kinds: dict[str, dict[float, str]] = {}  # by what each is called at level 0
    for label, condition in conditions.items():
        if condition.changes:
            kinds.setdefault(replace(condition, level=0.0).label, {})[condition.level] = label
    drawn = []
    for none, levels in kinds.items():
        clean = {(0.0, "clean")} if "clean" in conditions and not parse_condition(none).changes else set()
        order = sorted(levels.items() | clean)
        if len(order) >= 3:
            series = _over(found, [label for _, label in order])
            drawn.append((none.replace("-0", "", 1), [level for level, _ in order], series))
    return drawn


def _over(found: Report, labels: Sequence[str]) -> dict[str, Curves]:
    """Return {metric: curves over the conditions} of the seeds that have the metric under all of them."""
    arms = [r.axes for r in found.results if r.axes["condition"] == labels[0]]
    results = {tuple(r.axes.items()): r.values for r in found.results}
    series: dict[str, Curves] = {metric: [] for metric in found.metrics}
    names = short_names([{**axes, "condition": ""} for axes in arms])
    for name, axes in zip(names, arms, strict=True):
        own = [results[tuple({**axes, "condition": label}.items())] for label in labels]
        for metric, curves in series.items():
            seeds = {
                seed: [values[seed][metric] for values in own]
                for seed in own[0]
                if all(metric in values.get(seed, {}) for values in own)
            }
            if seeds:
                curves.append((name, seeds))
    return {metric: curves for metric, curves in series.items() if curves}


def _logged(final: Mapping[str, Mapping[int, RunRecord]], curve: Callable[[str], Curve]) -> dict[str, Curves]:
    """Return {quantity: curves} of what methods logged in final runs beside losses and validation metrics."""
    found: dict[str, Curves] = {}
    for label, own in final.items():
        quantities: dict[str, dict[int, list[float]]] = {}
        for seed, record in own.items():
            for entry in curve(record.key):
                for name, value in entry.items():
                    if not name.startswith(COMMON):
                        quantities.setdefault(name, {}).setdefault(seed, []).append(value)
        for name, values in quantities.items():
            found.setdefault(name, []).append((label, values))
    return found


def _main(root: str, study: str) -> None:
    storage = locate(root)
    lines.prepare()
    searches = Searches(storage.root / FILE)
    sys.stdin.read()
    found = report.build(History.read(study, storage.open_ledger()))
    folder = storage.study(study)
    made = draw(found.history, found, storage.curve, folder / "figures")
    page.write(found, folder, [path for path in made if path.suffix == ".png"])
    searches.enter(found.history)
    searches.write()


if __name__ == "__main__":
    _main(*sys.argv[1:])
