"""What the nets of a finished run make of test rows: features of each modality, and the logits they are fused to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.models.errors import UserError
from sweeper.models.training.run import Order, dataset_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Features:
    """Test rows in file order: features {m: (N, D_m)}, pooled, logits (N, C), target, index in the dataset (N,).

    `present` {m: (N,) bool} says which rows have a modality, for those that a row lacks.
    """

    features: dict[str, np.ndarray]
    logits: np.ndarray
    target: np.ndarray
    index: np.ndarray
    present: dict[str, np.ndarray]


def features(order: Order) -> Features:
    """Return the features of all test rows by a run's stored weights.

    Raises UserError for a run without weights, another task than classification, and a net without features.
    """
    import torch

    from sweeper.models.data.feed import Feed
    from sweeper.models.training.trained import trained

    spec = dataset_of(order).spec
    if spec.task != "classification":
        raise UserError(f"features are drawn by class; dataset {spec.name!r} is {spec.task}")
    method, dataset = trained(order)
    columns: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for batch in Feed(dataset, dataset.rows["test"]).batches(ROWS_AT_ONCE):
            output = method(batch)
            row = {f"features/{m}": z for m, z in output.pooled.items()}
            row |= {f"present/{m}": there for m, there in batch.present.items()}
            row |= {"logits": output.fused, "target": batch.target, "index": batch.index}
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
    found = {name: torch.cat(parts).float().numpy() for name, parts in columns.items()}
    own = {name.removeprefix("features/"): z for name, z in found.items() if name.startswith("features/")}
    if not own:
        raise UserError("its net has no features of single modalities")
    target, index = (found[name].astype(int) for name in ("target", "index"))
    present = {m: found[f"present/{m}"].astype(bool) for m in own if f"present/{m}" in found}
    return Features(own, found["logits"], target, index, present)
