"""Predictions of a method on a split, exact on any number of ranks, and the metrics computed from them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from math import isnan, prod

import numpy as np
import torch
from torch import Tensor

from sweeper.models import parallel
from sweeper.models.data.feed import Feed
from sweeper.models.maths import metrics, reliability
from sweeper.models.method import Method
from sweeper.models.schema.entries import entry
from sweeper.models.tasks.base import Task
from sweeper.models.tasks.classification import Classification

OUTPUTS_AT_ONCE = 2**24


@dataclass(frozen=True)
class Evaluation:
    """Predictions on a split in file order: fused (N, C), unimodal {m: (N, C)}, features {m: (N, D)}, target, index.

    Predictions and target are what the task keeps of them, features are pooled. `loss` is the mean over rows, `losses`
    {m: (N,)} are those of each modality alone. `extra` holds whatever a method says of each row, such as its weight
    of a modality, (N, …) by name; `present` {m: (N,) bool} which rows have the modality, for those that a row lacks.
    """

    predicted: np.ndarray
    unimodal: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    extra: dict[str, np.ndarray]
    target: np.ndarray
    index: np.ndarray
    loss: float
    losses: dict[str, np.ndarray] = field(default_factory=dict)
    present: dict[str, np.ndarray] = field(default_factory=dict)


def evaluate(method: Method, feed: Feed, batch_size: int = 512) -> Evaluation:
    """Run the method in evaluation mode over every row of the split, each row on exactly one rank."""
    modes, task = {module: module.training for module in method.modules()}, method.task
    method.eval()
    batch_size = max(1, min(batch_size, OUTPUTS_AT_ONCE // (task.n_outputs * prod(task.size))))
    columns: dict[str, list[Tensor]] = {}
    own = torch.arange(len(feed), device=feed.device).tensor_split(parallel.world())[parallel.rank()]
    with torch.no_grad():
        # a rank without rows still runs one empty batch, so that every rank knows every column
        for batch in feed.stream(own.split(batch_size) if len(own) else [own]):
            output = method(batch)
            predicted = method.predict(output)
            row = {"index": batch.index, "loss": task.losses_of_predictions(predicted, batch.target)}
            row["predicted"], row["target"] = task.kept(predicted, batch.target)
            for m, logits in output.unimodal.items():
                alone = task.predict(logits)
                row[f"unimodal/{m}"], _ = task.kept(alone, batch.target)
                row[f"losses/{m}"] = task.losses_of_predictions(alone, batch.target)
            row |= {f"features/{m}": z for m, z in output.pooled.items()}
            row |= {f"extra/{name}": value for name, value in output.extra.items()}
            row |= {f"present/{m}": there.byte() for m, there in batch.present.items()}
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        every = parallel.gathered({name: torch.cat(parts) for name, parts in columns.items()})
        whole = {name: value.cpu().numpy() for name, value in every.items()}
    for module, training in modes.items():
        module.training = training

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}

    return Evaluation(
        whole["predicted"],
        part("unimodal/"),
        part("features/"),
        part("extra/"),
        whole["target"],
        whole["index"],
        float(whole["loss"].mean()),
        part("losses/"),
        {m: there.astype(bool) for m, there in part("present/").items()},
    )


def quick_scores(task: Task, found: Evaluation) -> dict[str, float]:
    """Return what every epoch reports: loss and headline metric, fused and per modality, gap, modality distance."""
    name, alone = task.headline, _alone(found)
    own = {m: task.quick(found.unimodal[m][rows], found.target[rows]) for m, rows in alone.items()}
    scores = {"loss": found.loss, name: task.quick(found.predicted, found.target)}
    scores |= {f"loss/{m}": float(found.losses[m][rows].mean()) for m, rows in alone.items()}
    scores |= {f"{name}/{m}": value for m, value in own.items()}
    if len(own) > 1:
        scores["gap"] = metrics.gap(own)
    distance = metrics.modality_distance(found.features)
    return scores if distance is None else scores | {"modality_distance": distance}


def all_scores(task: Task, found: Evaluation, more: Collection[str] = ()) -> dict[str, float]:
    """Return every metric of the task for the fused prediction and, by `metric/modality`, for each modality.

    With them go those of other modules that `more` names in full. Those of reliability are for classification; they and
    the means of a modality's weight and dependency are there where the method says what they need. What is undefined,
    such as the correlation of a constant weight, is left out.
    """
    added = {name.partition("/")[0] for name in more if "." in name.partition("/")[0]}
    scores = quick_scores(task, found) | _scores_of(task, found.predicted, found.target, added)
    for m, rows in _alone(found).items():
        own = _scores_of(task, found.unimodal[m][rows], found.target[rows], added)
        scores |= {f"{name}/{m}": value for name, value in own.items()}
    said = [f"{name}/{m}" for name in metrics.OF_MODALITIES for m in found.unimodal]
    scores |= {name: float(found.extra[name].mean()) for name in said if name in found.extra}
    weights = {m: found.extra[f"weight/{m}"] for m in found.unimodal if f"weight/{m}" in found.extra}
    return scores | (_reliability(found, weights) if isinstance(task, Classification) else {})


def _alone(found: Evaluation) -> dict[str, np.ndarray]:
    """Return {m: (N,) bool}, the rows that have m, without a modality that none has."""
    every = np.ones(len(found.target), bool)
    rows = {m: found.present.get(m, every) for m in found.unimodal}
    return {m: own for m, own in rows.items() if own.any()}


def _scores_of(
    task: Task, predicted: np.ndarray, target: np.ndarray, added: Collection[str]
) -> dict[str, float]:
    scores = task.score(predicted, target)
    further = {name: float(entry("metric", name).load()()(predicted, target)) for name in sorted(added)}
    scores |= {name: value for name, value in further.items() if not isnan(value)}
    if isinstance(task, Classification):
        scores["ece"] = reliability.calibration_error(predicted, target)
        scores["aurc"] = reliability.aurc(1 - predicted.max(1), predicted.argmax(1) == target)
    return scores


def _reliability(found: Evaluation, weights: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the oracles, what weights {m: (N,)} have to do with being right, and what rejection leaves."""
    scores = {}
    right = np.stack([p.argmax(1) == found.target for p in found.unimodal.values()])
    present = np.stack([found.present.get(m, np.ones(right.shape[1], bool)) for m in found.unimodal])
    if len(right) > 1:
        scores["acc_upper"], scores["acc_lower"] = reliability.oracles(right, present)
    if len(weights) == len(right):
        scores["correlation"] = reliability.correlation(np.stack(list(weights.values())), right, present)
    if "uncertainty" in found.extra:
        kept = reliability.reject(found.extra["uncertainty"], found.predicted.argmax(1) == found.target)
        scores |= {"coverage": kept.coverage, "rejected_error": kept.error}
    return {name: value for name, value in scores.items() if not isnan(value)}
