"""Grad-CAM of a finished study: which part of an image each of its methods looks at, row by row."""

from __future__ import annotations

import tempfile
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
from sweeper.service.figures.epochs import after
from sweeper.service.figures.kept import each_arm, order_of


def draw(
    history: History,
    storage: Storage,
    data_root: Path | None,
    modality: str,
    rows: Sequence[int],
    epochs: Sequence[int] = (),
) -> tuple[list[Path], list[str]]:
    """Draw a figure for each dataset of a study, a line for each arm at its first report seed.

    Above the weights that are kept stand those after `epochs`, for which the run is trained anew so far. Return the
    files, and sentences on arms that are left out or differ from their record. Raises UserError if that is so of all.
    """
    said: list[str] = []

    def focus(arm: ArmPlan, final: Mapping[int, RunRecord]) -> dict[str, Focus]:
        if modality not in arm.reads:
            raise UserError(f"it does not read {modality}")
        record = final[min(final)]
        order = order_of(record, storage, data_root)
        found: dict[str, Focus] = {}
        with tempfile.TemporaryDirectory(prefix="sweeper-gradcam-") as anew:
            for epoch, made, apart in (
                after(epochs, record, order, Path(anew), storage.cache) if epochs else ()
            ):
                found[f"epoch {epoch}"] = bridge.gradcam(made, modality, rows)
                if apart:
                    said.append(
                        f"{history.names[arm.key]}: trained anew for {epoch} epochs, its {history.plan.select.metric}"
                        f" on validation is up to {apart:.2g} away from what is recorded"
                    )
        with storage.lend(storage.run(record.key)) as folder:
            made = bridge.Order(order["payload"], folder, order["data_root"], storage.cache)
            return found | {"kept" if epochs else "": bridge.gradcam(made, modality, rows)}

    found, left_out = each_arm(history, focus)
    folder = storage.study(history.plan.study) / "figures"
    made = []
    for dataset, arms in found.items():
        lines = {
            "\n".join(filter(None, (name, at))): own for name, arm in arms.items() for at, own in arm.items()
        }
        first = next(iter(lines.values()))
        below = {"": [f"class {target}" for target in first.target]}
        below |= {name: [f"says {said}" for said in focus.predicted] for name, focus in lines.items()}
        path = folder / file_name(f"gradcam {dataset} {modality}{' by epoch' * bool(epochs)}")
        made += overlays(first.images, {name: focus.maps for name, focus in lines.items()}, below, path)
    storage.keep(folder)
    return made, [*left_out, *said]


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
