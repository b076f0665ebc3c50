"""Features of a finished study: how each of its nets lays out the test rows, modality by modality, and fused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sweeper import bridge
from sweeper.bridge import Features
from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan, RunRecord
from sweeper.ledger.storage import Storage
from sweeper.reports.figures import file_name
from sweeper.reports.plots.clouds import Cloud, Column, clouds
from sweeper.service.figures.kept import each_arm, order_of

MOST_ROWS = 1000  # that are drawn
Panels = dict[Column, Cloud]


def draw(history: History, storage: Storage, data_root: Path | None) -> tuple[list[Path], list[str]]:
    """Draw a figure for each dataset of a study, a line for each arm at its first report seed, on test rows.

    First the modalities in one plane, by principal components of features of length 1; then each modality and the fused
    logits by t-SNE, coloured by class. Features, logits and points are written as npz. Return the files and a
    sentence for each arm that is left out. Raises UserError if that is so of all.
    """

    def found_by(_: ArmPlan, final: Mapping[int, RunRecord]) -> Features:
        record = final[min(final)]
        order = order_of(record, storage, data_root)
        with storage.lend(storage.run(record.key)) as folder:
            return bridge.features(bridge.Order(order["payload"], folder, order["data_root"], storage.cache))

    found, left_out = each_arm(history, found_by)
    folder, made = storage.study(history.plan.study) / "figures", []
    for dataset, arms in found.items():
        path = folder / file_name(f"features {dataset}")
        total = len(next(iter(arms.values())).target)
        drawn = np.sort(np.random.default_rng(0).permutation(total)[:MOST_ROWS])
        panels = {name: dict(_panels(own, drawn)) for name, own in arms.items()}
        seed = min(history.plan.final.seeds)
        title = f"{len(drawn)} of {total} test rows, seed {seed}; modalities by PCA, all else by t-SNE"
        made += [*clouds(panels, path, title), _numbers(arms, panels, drawn, path)]
    storage.keep(folder)
    return made, left_out


def _panels(own: Features, drawn: np.ndarray) -> Iterator[tuple[Column, Cloud]]:
    """Yield the panels of a net."""
    names = tuple(own.features)
    there = {m: own.present.get(m, np.ones(len(own.target), bool))[drawn] for m in names}
    distance = bridge.modality_distance(own.features)
    if len({z.shape[1] for z in own.features.values()}) == 1 and len(names) > 1 and distance is not None:
        parts = [bridge.units(z[drawn][there[m]]) for m, z in own.features.items()]
        of = np.repeat(np.arange(len(names)), [len(part) for part in parts])
        points = bridge.principal(np.concatenate(parts))
        yield Column("modalities", names, False), Cloud(points, of, f"distance {distance:.2f}")
    classes = tuple(map(str, range(own.logits.shape[1])))
    for m, z in own.features.items():
        rows = drawn[there[m]]
        yield Column(m, classes, True), Cloud(bridge.neighbours(z[rows]), own.target[rows])
    yield (
        Column("fused (logits)", classes, True),
        Cloud(bridge.neighbours(own.logits[drawn]), own.target[drawn]),
    )


def _numbers(
    arms: Mapping[str, Features], panels: Mapping[str, Panels], drawn: np.ndarray, path: Path
) -> Path:
    """Write what the figure is drawn from: of each net features, logits and points, and which rows they are of."""
    first = next(iter(arms.values()))
    numbers = {"target": first.target, "index": first.index, "drawn": drawn}
    for name, own in arms.items():
        numbers |= {f"{name}: features of {m}": z for m, z in own.features.items()}
        numbers[f"{name}: logits"] = own.logits
        numbers |= {
            f"{name}: points of {column.title}": cloud.points for column, cloud in panels[name].items()
        }
    file = path.with_name(f"{path.name}.npz")
    file.unlink(missing_ok=True)  # a link that lies there is not followed
    np.savez_compressed(file, **{name.replace("/", "_"): values for name, values in numbers.items()})
    return file
