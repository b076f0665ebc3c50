"""The report: ledger records to a table and its caption; pure but for `write`.

A study's record says what was planned, its `selected` records which runs count, run records the numbers; so the
same table can be built from any copy of the ledger, the one that MLflow keeps included.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.bridge import direction, is_share
from sweeper.ledger.file import enter, runs_of
from sweeper.models.errors import choose
from sweeper.planning.proposals import guided_from
from sweeper.reports import tables
from sweeper.reports import writers as formats
from sweeper.reports.tables import Result

Record = Mapping[str, Any]
SUFFIXES = {"md": "md", "latex": "tex", "csv": "csv", "html": "html"}
DIAGNOSTICS = ("gap", "modality_distance", "weight", "coverage")


@dataclass(frozen=True)
class Report:
    """A study's results, where they stand in the table, and what the caption says of how they came about."""

    results: list[Result]
    rows: list[str]
    columns: list[str]
    metrics: list[str]
    order: dict[str, list[str]]
    caption: list[str]
    headline: str

    @property
    def complete(self) -> bool:
        """Whether every cell has all its report seeds."""
        return all(len(result.values) == len(result.planned) for result in self.results)

    def table(self, *, partial: bool = False) -> tables.Table:
        """Return the table."""
        directions = {m: None if m.split("/")[0] in DIAGNOSTICS else direction(m) for m in self.metrics}
        return tables.pivot(
            self.results,
            self.rows,
            self.columns,
            self.metrics,
            directions,
            order=self.order,
            partial=partial,
            percent=[m for m in self.metrics if is_share(self.headline if m == "gap" else m)],
        )

    def text(self, format: str = "md", *, partial: bool = False) -> str:
        """Return the table and its caption as md, latex, csv or html."""
        return formats.render(self.table(partial=partial), format, self.caption)


def build(
    study: str,
    records: Sequence[Record],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Report:
    """Return the report of a study; `rows`, `columns`, `metrics` take the place of the study's own layout.

    Axes without which two results would share a cell are added to it.

    Raises UserError if the records hold no such study.
    """
    plans = {r["study"]: r for r in records if r["kind"] == "study"}
    if study not in plans:
        choose("study", study, plans, "the ledger")
    plan = plans[study]
    runs = runs_of(records)
    latest = {r["key"]: r for r in records if r["kind"] == "run"}
    selected = [r for r in records if r["kind"] == "selected" and r["study"] == study]
    planned = {arm["key"] for arm in plan["arms"]}
    chosen = {r["arm"]: r for r in selected if r["arm"] in planned}
    results = [
        _result(arm, condition, plan, chosen.get(arm["key"]), runs, latest)
        for arm in plan["arms"]
        for condition in plan["conditions"]
    ]
    layout = plan["layout"]
    placed = _placed(results, list(rows) or layout["rows"], list(columns) or layout["columns"])
    order = {axis: list(dict.fromkeys(r.axes[axis] for r in results)) for axis in results[0].axes}
    return Report(
        results,
        *placed,
        list(dict.fromkeys(metrics))
        or _measured(layout["metrics"], results)
        or _default_metrics(plan, results),
        order,
        _caption(plan, records, selected, chosen, runs),
        plan["select"]["metric"],
    )


def searched(plan: Record, records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the search runs {arm: records} that the arms of a study plan used, whoever carried them out."""
    found: dict[str, list[Record]] = {arm["key"]: [] for arm in plan["arms"]}
    seeds, runs = set(plan["search"]["seeds"]), dict[str, Record]()
    for record in records:
        if record["kind"] == "run":
            enter(runs, record)
        searched = record["kind"] in ("run", "shared") and record["stage"] == "search"
        if searched and record["arm"] in found and record["seed"] in seeds:
            found[record["arm"]].append(record if record["kind"] == "run" else runs[record["key"]])
    return found


def write(found: Report, folder: Path) -> list[Path]:
    """Write the table in every format into the study's folder and return the files."""
    made = []
    for name, suffix in SUFFIXES.items():
        path = folder / f"table.{suffix}"
        path.write_text(found.text(name) + "\n")
        made.append(path)
    return made


def _result(
    arm: Record,
    condition: str,
    plan: Record,
    chosen: Record | None,
    runs: Mapping[str, Record],
    latest: Mapping[str, Record],
) -> Result:
    values: dict[int, dict[str, float]] = {}
    failed: dict[int, str] = {}
    for seed, key in (chosen["runs"] if chosen else {}).items():
        found = runs.get(key, {}).get("metrics", {}).get(f"test/{condition}")
        if found:
            values[int(seed)] = found
        elif key in latest and latest[key]["status"] != "done":  # else it was done before this was asked
            record = latest[key]
            failed[int(seed)] = record["error"]["class"] if record.get("error") else record["status"]
    axes, seeds = {**arm["axes"], "condition": condition}, tuple(plan["final"]["seeds"])
    return Result(axes, seeds, values, failed, "" if chosen else _errors(arm["key"], runs))


def _errors(arm: str, runs: Mapping[str, Record]) -> str:
    """Return what went wrong in an arm of which nothing is selected."""
    found = [r["error"] for r in runs.values() if r["arm"] == arm and r.get("error")]
    if not found:
        return ""
    worst = Counter(f"{error['class']}: {error['message']}" for error in found).most_common(1)[0][0]
    return f"nothing selected; {len(found)} runs failed, most often with {worst}"


def _placed(
    results: Sequence[Result], rows: Sequence[str], columns: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return rows and columns with the axes added without which two results would share a cell."""

    def cells(axes: Sequence[str]) -> int:
        return len({tuple(result.axes.get(axis) for axis in axes) for result in results})

    added = {"rows": list(rows), "columns": list(columns)}
    for axis in ("dataset", "condition", "method", "fusion", "encoders"):
        placed = [*added["rows"], *added["columns"]]
        if cells([*placed, axis]) > cells(placed):
            added["columns" if axis in ("dataset", "condition") else "rows"].append(axis)
    return added["rows"], added["columns"]


def _measured(metrics: Sequence[str], results: Iterable[Result]) -> list[str]:
    """Return those of the metrics that some result has."""
    measured = {name for r in results for values in r.values.values() for name in values}
    return [name for name in metrics if name in measured]


def _default_metrics(plan: Record, results: Iterable[Result]) -> list[str]:
    """Return the selection metric, the same for each modality, and the gap between modalities."""
    metric = plan["select"]["metric"].split("/")[0]
    measured = dict.fromkeys(name for r in results for values in r.values.values() for name in values)
    own = [name for name in measured if name.startswith(f"{metric}/") and ":" not in name]
    return list(dict.fromkeys([metric, *own, *(["gap"] if "gap" in measured else [])]))


def _caption(
    plan: Record,
    records: Sequence[Record],
    selected: Sequence[Record],
    chosen: Mapping[str, Record],
    runs: Mapping[str, Record],
) -> list[str]:
    search, final = plan["search"], plan["final"]
    rules = sorted({record["rule"] for record in chosen.values()})
    looks = {_looks(arm["axes"], selected, runs) for arm in plan["arms"]}
    codes = {
        r["git"]
        for record in chosen.values()
        for k in record["runs"].values()
        if (r := runs.get(k)) and "git" in r
    }
    return [
        f"Study {plan['study']}: selected by {'; '.join(rules) or 'nothing yet'}.",
        f"Budget per method and arm: {_budget(plan)} configurations ({_sampler(search)}, the published defaults"
        f" first), racing {search['racing']}, early stopping {search['early_stopping']}; {_spent(plan, records)}.",
        f"Tuning seeds {_listed(search['seeds'])}; report seeds {_listed(final['seeds'])}.",
        f"Test looks per arm: {_listed(sorted(looks))}.",
        f"Code: {_listed(sorted(codes) or [plan['git']])}.",
    ]


def _looks(axes: Mapping[str, str], selected: Sequence[Record], runs: Mapping[str, Record]) -> int:
    """Return how many configurations have ever been shown the test data under these axes, whatever the space was."""
    shown = {
        json.dumps(record["parameters"], sort_keys=True)
        for record in selected
        if record["axes"] == axes
        and any(runs[k]["status"] == "done" for k in record["runs"].values() if k in runs)
    }
    return len(shown)


def _budget(plan: Record) -> str:
    """Return how many configurations each method had, where a space is too small for all that were granted."""
    granted = plan["search"]["configurations"]
    sizes = {arm["axes"]["method"]: arm.get("size", granted) for arm in plan["arms"]}
    fewer = ", ".join(f"{name} {size}" for name, size in sizes.items() if size < granted)
    return f"{granted} ({fewer}: no more to try)" if fewer else str(granted)


def _sampler(search: Mapping[str, Any]) -> str:
    if search["sampler"] != "tpe":
        return search["sampler"]
    first = guided_from(search["ahead"])
    if first >= search["configurations"]:
        return f"random: tpe would begin with #{first}"
    return f"tpe, random before #{first}"


def _spent(plan: Record, records: Sequence[Record]) -> str:
    """Return what searching took, by method: runs and seconds, over its arms."""
    names = {arm["key"]: arm["axes"]["method"] for arm in plan["arms"]}
    spent = {name: [0, 0.0, 0] for name in names.values()}
    for arm, runs in searched(plan, records).items():
        total = spent[names[arm]]
        total[0] += len(runs)
        total[1] += sum(run["seconds"] for run in runs)
        total[2] += sum("error" in run for run in runs)
    said = [
        f"{name} {n} runs in {_time(s)}" + f" ({bad} failed)" * (bad > 0)
        for name, (n, s, bad) in spent.items()
    ]
    return "search spent " + ", ".join(said)


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
