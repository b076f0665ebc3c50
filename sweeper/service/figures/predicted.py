"""Figures of what the nets of a finished study predicted: confusion matrices, and how uncertain they were."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.bridge import parse_condition
from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError, choose
from sweeper.reports.figures import file_name
from sweeper.reports.plots.densities import Panel, densities
from sweeper.reports.plots.heatmaps import Square, squares
from sweeper.service.figures.kept import each_arm
from sweeper.tracking import predictions

if TYPE_CHECKING:
    import numpy as np

UNCERTAINTY = "uncertainty"  # of the fused prediction; with _<modality> behind it of that alone
Drawn = tuple[list[Path], list[str]]


def confusion(history: History, storage: Storage, condition: str, certain: float | None) -> Drawn:
    """Draw each arm's confusion matrix over its report seeds, a figure for each dataset, and write its counts as CSV.

    With `certain` that of the rows whose uncertainty is at most so much stands beside it. Return the files and a
    sentence for each arm that is left out. Raises UserError if that is so of all, or the study has no such condition.
    """
    study = history.plan.study
    choose("condition", condition, history.plan.conditions, f"the conditions of study {study!r}")

    def matrices(_: ArmPlan, final: Mapping[int, RunRecord]) -> list[np.ndarray]:
        runs = [_predictions(record, storage, condition) for record in final.values()]
        parts = [runs] if certain is None else [runs, [_certain(own, certain) for own in runs]]
        return [_counts(own) for own in parts]

    found, left_out = each_arm(history, matrices)
    folder, made = storage.study(study) / "figures", []
    for dataset, arms in found.items():
        beside = "" if condition == "clean" else f" {condition}"
        path = folder / file_name(f"confusion {dataset}{beside}")
        panels = [
            Square("\n".join(filter(None, (name, part, _error(own[0], counts)))), counts)
            for name, own in arms.items()
            for part, counts in zip(_parts(certain), own, strict=True)
        ]
        made += [*squares(panels, path, together=len(_parts(certain))), _table(arms, certain, path)]
    storage.keep(folder)
    return made, left_out


def uncertainty(history: History, storage: Storage) -> Drawn:
    """Draw how uncertainty is distributed over test rows with noise and without, a figure for each arm.

    A row of panels for each set of modalities that conditions are for: each of these alone, then the fused prediction.
    Return the files and a sentence for each arm that is left out. Raises UserError if that is so of all.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for label in history.plan.conditions:
        groups.setdefault(parse_condition(label).modalities, []).append(label)
    clean = [label for label in groups.get((), ()) if label == "clean"]
    groups = {
        m: list(dict.fromkeys([*clean, *labels])) for m, labels in groups.items() if labels != clean
    } or groups

    def rows(_: ArmPlan, final: Mapping[int, RunRecord]) -> list[list[Panel]]:
        found = {
            label: {seed: _predictions(record, storage, label) for seed, record in final.items()}
            for label in history.plan.conditions
        }
        return [
            _panels(modalities, {label: found[label] for label in own}) for modalities, own in groups.items()
        ]

    found, left_out = each_arm(history, rows)
    folder, made = storage.study(history.plan.study) / "figures", []
    for dataset, arms in found.items():
        for name, panels in arms.items():
            whole = f"{dataset} {name}" if len(found) > 1 else name
            made += densities(panels, folder / file_name(f"uncertainty {whole}"), whole)
    storage.keep(folder)
    return made, left_out


def _predictions(record: RunRecord, storage: Storage, condition: str) -> predictions.Arrays:
    with storage.lend(storage.run(record.key)) as folder:
        found = predictions.read(folder).get(condition)
    if found is None:
        raise UserError(f"run {record.key} keeps no predictions under {condition}")
    return found


def _certain(arrays: predictions.Arrays, most: float) -> predictions.Arrays:
    if UNCERTAINTY not in arrays:
        raise UserError("its method says no uncertainty of a prediction")
    kept = arrays[UNCERTAINTY] <= most
    return {name: arrays[name][kept] for name in ("target", "predicted")}


def _counts(runs: Sequence[predictions.Arrays]) -> np.ndarray:
    found = [predictions.confusion(arrays) for arrays in runs]
    if any(counts is None for counts in found):
        raise UserError("what it predicts is no class")
    return sum(found)


def _parts(certain: float | None) -> list[str]:
    """Return what the matrices of an arm are of."""
    return [""] if certain is None else ["all rows", f"uncertainty ≤ {certain:g}"]


def _error(every: np.ndarray, counts: np.ndarray) -> str:
    """Return the share of errors, and how many of all rows these are where it is not all."""
    n, total = counts.sum(), every.sum()
    error = f"error {100 * (1 - counts.trace() / n):.1f} %" if n else "no rows"
    return error if n == total else f"{error}, {100 * n / total:.1f} % of rows"


def _table(arms: Mapping[str, Sequence[np.ndarray]], certain: float | None, path: Path) -> Path:
    """Write the counts of a figure, a line for each method, part, class and class predicted."""
    lines = [("method", "rows", "class", "predicted", "count")]
    for name, own in arms.items():
        for part, counts in zip(_parts(certain), own, strict=True):
            lines += [
                (name, part or "all rows", c, k, n)
                for c, row in enumerate(counts.tolist())
                for k, n in enumerate(row)
            ]
    file = path.with_name(f"{path.name}.csv")
    file.unlink(missing_ok=True)  # a link that lies there is not followed
    with file.open("w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(lines)
    return file


def _panels(modalities: Sequence[str], found: Mapping[str, Mapping[int, predictions.Arrays]]) -> list[Panel]:
    """Return the panels of noise in these modalities, without any in all: each alone, then all fused."""
    one = next(iter(next(iter(found.values())).values()))
    alone = [name for name in one if name.startswith(f"{UNCERTAINTY}_")]
    if modalities:
        alone = [name for name in alone if name.removeprefix(f"{UNCERTAINTY}_") in modalities]
    names = [*alone, *([UNCERTAINTY] if UNCERTAINTY in one else [])]
    if not names:
        raise UserError("its method says no uncertainty of a prediction")
    noise = f"noise in {' and '.join(modalities)}" if modalities else "noise in all modalities"
    panels = []
    for name in names:
        of = f"{name.removeprefix(f'{UNCERTAINTY}_')} alone" if name in alone else "fused"
        lines = {
            _brief(label): {seed: arrays[name] for seed, arrays in seeds.items()}
            for label, seeds in found.items()
        }
        panels.append(Panel(f"{of}, {noise}" if len(found) > 1 else of, lines))
    return panels


def _brief(label: str) -> str:
    """Return a condition without the modalities that it is for."""
    return replace(parse_condition(label), modalities=()).label
