"""A dataset before anything of it is read: a row per sample, and in each row a cell of every modality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sweeper.models.data.readers.base import Cell


@dataclass(frozen=True)
class Samples:
    """What a table or a folder says of N samples.

    `cells` {modality: N cells}, None where a row lacks the modality. `split` names train, validation or test for each
    row, "" for none. `target` is what targets.checked takes of the task, or in segmentation N paths of masks; classes
    are numbered in the order of `classes`. `group` (N,) are the persons, videos or events that splits keep apart.
    """

    name: str
    ids: tuple[str, ...]
    cells: dict[str, list[Cell | None]]
    split: tuple[str, ...]
    target: np.ndarray
    task: str
    cite: str
    classes: tuple[str, ...] = ()
    group: np.ndarray | None = None
