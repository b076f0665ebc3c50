"""Grad-CAM of a finished study: which part of an image each of its methods looks at, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper import bridge
from sweeper.bridge import Focus
from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError, choose
from sweeper.reports.figures import file_name
from sweeper.reports.plots.heatmaps import overlays
from sweeper.service.kept import each_arm, order_of


def draw(
    history: History, storage: Storage, data_root: Path | None, modality: str, rows: Sequence[int]
) -> tuple[list[Path], list[str]]:
    """Draw a figure for each dataset of a study, a line for each arm at its first report seed.

    Return the files and, for arms that are left out, why. Raises UserError if that is so of all.
    """

    def focus(arm: ArmPlan, final: Mapping[int, RunRecord]) -> Focus:
        if modality not in arm.reads:
            raise UserError(f"it does not read {modality}")
        record = final[min(final)]
        order = order_of(record, storage, data_root)
        with storage.lend(storage.run(record.key)) as folder:
            made = bridge.Order(order["payload"], folder, order["data_root"], storage.cache)
            return bridge.gradcam(made, modality, rows)

    found, left_out = each_arm(history, focus)
    folder = storage.study(history.plan.study) / "figures"
    made = []
    for dataset, own in found.items():
        first = next(iter(own.values()))
        below = {"": [f"class {target}" for target in first.target]}
        below |= {name: [f"says {said}" for said in focus.predicted] for name, focus in own.items()}
        path = folder / f"{file_name(f'gradcam {dataset} {modality}')}.png"
        made.append(overlays(first.images, {name: focus.maps for name, focus in own.items()}, below, path))
    storage.keep(folder)
    return made, left_out


def images_of(history: History, storage: Storage, data_root: Path | None) -> list[str]:
    """Return the names of a study's modalities that are images; raise UserError if it has no finished run."""
    runs = [run for arm in history.selected for run in history.final(arm).values()]
    if not runs:
        raise UserError(f"study {history.plan.study!r} has no finished run; carry it out first")
    order = order_of(runs[0], storage, data_root)
    named = order["payload"]["dataset"]
    inputs = bridge.inputs(named["name"], bridge.options_of(named), root=order["data_root"])
    return [m for m, spec in inputs.items() if spec.kind == "image"]


def chosen(modality: str | None, images: Sequence[str], study: str) -> str:
    """Return the modality to draw, by default the first image; raise UserError if it is none."""
    if not images:
        raise UserError(f"study {study!r} has no modality that is an image")
    return choose("modality", modality or images[0], images, f"the images of study {study!r}")
