"""A method on the test rows under each condition: the same weights, several draws of the same corruption."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.feed import Feed
from sweeper.models.data.noise.conditions import parse
from sweeper.models.method import Method
from sweeper.models.tasks.base import Task
from sweeper.models.training.evaluation import Evaluation, all_scores, evaluate

Columns = dict[str, np.ndarray]


def under(
    method: Method,
    dataset: Dataset,
    rows: np.ndarray,
    condition: str,
    device: torch.device | str = "cpu",
    more: Collection[str] = (),
) -> tuple[dict[str, float], Columns]:
    """Return (metrics, predictions) on `rows` under a condition.

    Metrics, with those of other modules that `more` names, are means over the condition's repeats, `headline/hit:a+b`
    among them: the task's first metric on the rows where just the modalities a and b were hit (`hit:none`: on those
    left clean). Predictions are `columns` of all repeats, one after another, with `repeat` (R · N,) and `hit_<m>` (R ·
    N,) bool beside them.
    """
    wanted = parse(condition)
    dtype = method.dtype
    scores: list[dict[str, float]] = []
    parts: list[Columns] = []
    for repeat in range(wanted.repeats if wanted.changes else 1):
        feed = Feed(dataset, rows, device, dtype, wanted, repeat)
        found = evaluate(method, feed)
        own = columns(found)
        if wanted.changes:
            own |= {"repeat": np.full(len(rows), repeat)} | {f"hit_{m}": hit for m, hit in feed.hits.items()}
        scores.append(all_scores(method.task, found, more) | by_hit(method.task, found, feed.hits))
        parts.append(own)
    return means(scores), {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def columns(found: Evaluation) -> Columns:
    """Return what is kept of an evaluation, row by row, numbers as float32."""
    numbers = {"predicted": found.predicted}
    numbers |= {f"unimodal_{m}": p for m, p in found.unimodal.items()}
    numbers |= {name.replace("/", "_"): value for name, value in found.extra.items()}
    kept = {name: value.astype(np.float32) for name, value in numbers.items()}
    return kept | {"target": found.target, "index": found.index}


def by_hit(task: Task, found: Evaluation, hits: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the task's first metric on the rows of every combination of modalities that were hit."""
    if not any(hit.any() for hit in hits.values()):
        return {}
    which = np.stack(list(hits.values()), axis=1)
    scores = {}
    for pattern in np.unique(which, axis=0):
        rows = (which == pattern).all(1)
        name = "+".join(m for m, hit in zip(hits, pattern, strict=True) if hit) or "none"
        scores[f"{task.headline}/hit:{name}"] = task.quick(found.predicted[rows], found.target[rows])
    return scores


def means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each metric's mean over the draws that have it."""
    names = dict.fromkeys(name for one in scores for name in one)
    return {name: float(np.mean([one[name] for one in scores if name in one])) for name in names}
