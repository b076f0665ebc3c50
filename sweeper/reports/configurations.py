"""Which configurations a study tried on validation, and which it selected: as values, and as a table for a paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.bridge import is_share
from sweeper.ledger.history import History
from sweeper.ledger.records import Proposed, RunRecord, Shared
from sweeper.reports.names import capital, in_percent, titled
from sweeper.reports.statistics import mean_std
from sweeper.reports.writers.ascii import escaped
from sweeper.reports.writers.latex import TEXT, floats, note, stacked


@dataclass(frozen=True)
class Tried:
    """A configuration of an arm: its search runs by tuning seed, and whether it is the selected one."""

    number: int
    parameters: Mapping[str, Any]
    runs: dict[int, RunRecord]
    selected: bool

    def validation(self, metric: str) -> list[float]:
        """Return what its finished search runs found on validation."""
        return [run.validation[metric] for run in self.runs.values() if run.done and metric in run.validation]

    def said(self, metric: str, headline: str = "") -> str:
        """Return mean ± std (ddof 1) on validation, in percent where the metric is shown so, and n."""
        values, scale = self.validation(metric), 100 if in_percent(metric, headline or metric) else 1
        if not values:
            return "—"
        mean, std, n = mean_std(values)
        spread = "" if std is None else f" ± {std * scale:.2f}"
        return f"{mean * scale:z.2f}{spread} (n={n})".replace("-", "−")


def tried(history: History) -> dict[str, list[Tried]]:
    """Return each arm's configurations in the order of their numbers: those with search runs, and the selected one."""
    seeds = set(history.plan.search.seeds)
    runs: dict[str, dict[int, dict[int, RunRecord]]] = {arm.key: {} for arm in history.plan.arms}
    parameters: dict[tuple[str, int], Mapping[str, Any]] = {}
    for record in history.records:
        if isinstance(record, Proposed):
            parameters[record.arm, record.configuration] = record.parameters
        if not isinstance(record, RunRecord | Shared) or record.arm not in runs:
            continue
        run = history.runs.get(record.key)
        if run and record.stage == "search" and record.seed in seeds:
            runs[record.arm].setdefault(record.configuration, {})[record.seed] = run
            parameters.setdefault((record.arm, record.configuration), run.parameters)
    for arm, chosen in history.selected.items():
        runs[arm].setdefault(chosen.configuration, {})
        parameters[arm, chosen.configuration] = chosen.parameters
    chosen_numbers = {arm: one.configuration for arm, one in history.selected.items()}
    return {
        arm: [
            Tried(
                number, parameters[arm, number], dict(sorted(own.items())), chosen_numbers.get(arm) == number
            )
            for number, own in sorted(found.items())
        ]
        for arm, found in runs.items()
    }


def common(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters that have the same value in all."""
    first = found[0] if found else {}
    return {
        name: value
        for name, value in first.items()
        if all(name in own and own[name] == value for own in found)
    }


def listed(parameters: Mapping[str, Any], without: Iterable[str] = ()) -> str:
    """Return parameters in words, by their names, floats to four digits."""
    left = set(without)
    return ", ".join(
        f"{name} {shown(value)}" for name, value in sorted(parameters.items()) if name not in left
    )


def shown(value: object) -> str:
    """Return a parameter's value as it is read."""
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def latex(history: History) -> str:
    """Return the selected configurations as a table for a paper, labelled `tab:<study>-configurations`."""
    plan, metric = history.plan, history.plan.select.metric
    chosen = {history.names[arm]: one for arm, own in tried(history).items() for one in own if one.selected}
    shared = common([one.parameters for one in chosen.values()]) if len(chosen) > 1 else {}
    room = TEXT - max(map(len, chosen), default=0) - 30  # characters
    rows = []
    for name, one in chosen.items():
        words = listed(one.parameters, shared)
        text = rf"\parbox[t]{{{room / TEXT:.2f}\linewidth}}{{\raggedright {escaped(words)}\strut}}"
        row = f"{escaped(name)} & {one.number} & {escaped(one.said(metric))} & {text}" + r" \\"
        rows.append((math.ceil(len(words) / room), [row]))
    score = escaped(titled(metric, [metric] * is_share(metric)))
    head = [f"Arm & No. & {score} & Parameters" + r" \\", r"\midrule"]
    said = [
        "No. 0 is the published default.",
        f"{capital(metric)}: mean ± std (ddof 1) on validation over the tuning seeds.",
        *([f"All: {listed(shared)}."] if shared else []),
    ]
    blocks = [*stacked("lrll", head, rows), note(said, wide=True)]
    title = "Selected configurations." if chosen else "Selected configurations: none yet."
    return floats(title, blocks, name=f"{plan.study}-configurations", wide=True)
