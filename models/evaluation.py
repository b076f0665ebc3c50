"""Predictions of a method on a split, exact on any number of ranks, and the metrics computed from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models import metrics, parallel
from models.data.feed import Feed
from models.method import Method
from models.tasks import Task


@dataclass(frozen=True)
class Evaluation:
    """Predictions on a split in file order: fused (N, C), unimodal {m: (N, C)}, features {m: (N, D)}, target, index.

    `extra` holds whatever a method says of each row, such as its weight of a modality, (N, …) by name.
    """

    predicted: np.ndarray
    unimodal: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    extra: dict[str, np.ndarray]
    target: np.ndarray
    index: np.ndarray
    loss: float


def evaluate(method: Method, feed: Feed, batch_size: int = 512) -> Evaluation:
    """Run the method in evaluation mode over every row of the split, each row on exactly one rank."""
    training = method.training
    method.eval()
    columns: dict[str, list[Tensor]] = {}
    own = torch.arange(len(feed), device=feed.device).tensor_split(parallel.world())[parallel.rank()]
    with torch.no_grad():
        # a rank without rows still runs one empty batch, so that every rank knows every column
        for positions in own.split(batch_size) if len(own) else [own]:
            batch = feed.batch(positions)
            output = method(batch)
            row = {"index": batch.index, "target": batch.target, "predicted": method.predict(output)}
            row |= {f"unimodal/{m}": method.task.predict(logits) for m, logits in output.unimodal.items()}
            row |= {f"features/{m}": z for m, z in output.features.items()}
            row |= {f"extra/{name}": value for name, value in output.extra.items()}
            row["loss"] = method.task.loss_of_predictions(row["predicted"], batch.target)
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        whole = {name: parallel.gather(torch.cat(parts)).cpu().numpy() for name, parts in columns.items()}
    method.train(training)

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
    )


def quick_scores(task: Task, found: Evaluation) -> dict[str, float]:
    """Return what every epoch reports: loss, the headline metric fused and per modality, gap, modality distance."""
    name = task.headline
    own = {m: task.correct(p, found.target) for m, p in found.unimodal.items()}
    scores = {"loss": found.loss, name: task.correct(found.predicted, found.target)}
    scores |= {f"{name}/{m}": value for m, value in own.items()}
    if len(own) > 1:
        scores["gap"] = metrics.gap(own)
    distance = metrics.modality_distance(found.features)
    return scores if distance is None else scores | {"modality_distance": distance}


def all_scores(task: Task, found: Evaluation) -> dict[str, float]:
    """Return every metric of the task for the fused prediction and, by `metric/modality`, for each modality."""
    scores = quick_scores(task, found) | task.score(found.predicted, found.target)
    for m, predicted in found.unimodal.items():
        scores |= {f"{name}/{m}": value for name, value in task.score(predicted, found.target).items()}
    return scores
