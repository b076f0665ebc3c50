"""The report: ledger records to a table and its caption; pure but for `write`.

A study's record says what was planned, its `selected` records which runs count, run records the numbers; so the
same table can be built from any copy of the ledger, the one that MLflow keeps included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper import formats, tables
from sweeper.bridge import choose, direction
from sweeper.tables import Result

Record = Mapping[str, Any]
SUFFIXES = {"md": "md", "latex": "tex", "csv": "csv", "html": "html"}
DIAGNOSTICS = ("gap", "modality_distance")


@dataclass(frozen=True)
class Report:
    """A study's results, where they stand in the table, and what the caption says of how they came about."""

    results: list[Result]
    rows: list[str]
    columns: list[str]
    metrics: list[str]
    order: dict[str, list[str]]
    caption: list[str]

    @property
    def complete(self) -> bool:
        """Whether every cell has all its report seeds."""
        return all(len(result.values) == len(result.planned) for result in self.results)

    def table(self, *, partial: bool = False) -> tables.Table:
        """Return the table."""
        directions = {m: None if m.split("/")[0] in DIAGNOSTICS else direction(m) for m in self.metrics}
        return tables.pivot(
            self.results, self.rows, self.columns, self.metrics, directions, order=self.order, partial=partial
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

    Raises UserError if the records hold no such study.
    """
    plans = {r["study"]: r for r in records if r["kind"] == "study"}
    if study not in plans:
        choose("study", study, plans, "the ledger")
    plan = plans[study]
    runs = {r["key"]: r for r in records if r["kind"] == "run"}
    chosen = {r["arm"]: r for r in records if r["kind"] == "selected" and r["study"] == study}
    results = []
    for arm in plan["arms"]:
        for condition in plan["conditions"]:
            results.append(_result(arm, condition, plan, chosen.get(arm["key"]), runs))
    layout = plan["layout"]
    order = {axis: list(dict.fromkeys(r.axes[axis] for r in results)) for axis in results[0].axes}
    return Report(
        results,
        list(rows) or layout["rows"],
        list(columns) or layout["columns"],
        list(metrics) or layout["metrics"] or _default_metrics(plan, results),
        order,
        _caption(plan, records, chosen, runs),
    )


def write(found: Report, folder: Path) -> list[Path]:
    """Write the table in every format into the study's folder and return the files."""
    made = []
    for name, suffix in SUFFIXES.items():
        path = folder / f"table.{suffix}"
        path.write_text(found.text(name) + "\n")
        made.append(path)
    return made


def _result(
    arm: Record, condition: str, plan: Record, chosen: Record | None, runs: Mapping[str, Record]
) -> Result:
    values: dict[int, dict[str, float]] = {}
    failed: dict[int, str] = {}
    for seed, key in (chosen["runs"] if chosen else {}).items():
        record = runs.get(key)
        if record and record["status"] == "done":
            values[int(seed)] = record["metrics"][f"test/{condition}"]
        elif record:
            failed[int(seed)] = record["error"]["class"] if record.get("error") else record["status"]
    return Result({**arm["axes"], "condition": condition}, tuple(plan["final"]["seeds"]), values, failed)


def _default_metrics(plan: Record, results: Iterable[Result]) -> list[str]:
    """Return the selection metric, the same for each modality, and the gap between modalities."""
    metric = plan["select"]["metric"].split("/")[0]
    measured = dict.fromkeys(name for r in results for values in r.values.values() for name in values)
    own = [name for name in measured if name.startswith(f"{metric}/")]
    return [metric, *own, *(["gap"] if "gap" in measured else [])]


def _caption(
    plan: Record, records: Sequence[Record], chosen: Mapping[str, Record], runs: Mapping[str, Record]
) -> list[str]:
    search, final = plan["search"], plan["final"]
    rules = sorted({record["rule"] for record in chosen.values()})
    looks = {arm["key"]: _looks(arm["key"], plan["study"], records, runs) for arm in plan["arms"]}
    codes = {
        r["git"]
        for record in chosen.values()
        for k in record["runs"].values()
        if (r := runs.get(k)) and "git" in r
    }
    return [
        f"Study {plan['study']}: selected by {'; '.join(rules) or 'nothing yet'}.",
        f"Budget per method and arm: {search['configurations']} configurations ({search['sampler']}, the published"
        f" defaults first), racing {search['racing']}, early stopping {search['early_stopping']};"
        f" {_spent(plan, records)}.",
        f"Tuning seeds {_listed(search['seeds'])}; report seeds {_listed(final['seeds'])}.",
        f"Test looks per arm: {_listed(sorted(set(looks.values())))}.",
        f"Code: {_listed(sorted(codes) or [plan['git']])}.",
    ]


def _looks(arm: str, study: str, records: Sequence[Record], runs: Mapping[str, Record]) -> int:
    """Return how many configurations of the arm have ever been shown the test data."""
    shown = set()
    for record in records:
        mine = record["kind"] == "selected" and record["arm"] == arm and record["study"] == study
        if mine and any((r := runs.get(key)) and r["status"] == "done" for key in record["runs"].values()):
            shown.add(record["configuration"])
    return len(shown)


def _spent(plan: Record, records: Sequence[Record]) -> str:
    """Return what searching took, by method: runs and seconds, over its arms."""
    names = {arm["key"]: arm["axes"]["method"] for arm in plan["arms"]}
    spent = {name: [0, 0.0] for name in names.values()}
    for record in records:
        if record["kind"] == "run" and record["stage"] == "search" and record["arm"] in names:
            total = spent[names[record["arm"]]]
            total[0] += 1
            total[1] += record["seconds"]
    return "search spent " + ", ".join(f"{name} {n} runs in {_time(s)}" for name, (n, s) in spent.items())


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
