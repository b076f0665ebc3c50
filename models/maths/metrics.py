"""Metrics as pure functions of predictions, targets and features (NumPy arrays), and which way is better.

Shapes: N rows, C classes, L labels, D features. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from sweeper.models.errors import Misfit, UserError, choose
from sweeper.models.schema.entries import Entry, entry
from sweeper.models.schema.plugins import full_name

Direction = Literal["max", "min"]


class Definition(NamedTuple):
    """A metric: which way is better, its unit (a share is shown in percent), what it is, and whose definition."""

    direction: Direction
    unit: str
    meaning: str
    source: str = ""


SHARE, SCORE, OF_TARGET = "share", "number", "that of the target"
_LFM = "LFM, section 4.1"
_F4 = "two-stage dynamic fusion (10.1287/ijoc.2023.0448), appendix F.4"
_F8 = "two-stage dynamic fusion (10.1287/ijoc.2023.0448), appendix F.8"
_MMSA = "MMSA (Mao et al., ACL 2022 demo)"
_NYU = "the evaluation of semantic segmentation on NYU Depth v2"
METRICS: dict[str, Definition] = {
    "accuracy": Definition("max", SHARE, "rows whose most probable class is the target", _LFM),
    "macro_f1": Definition("max", SHARE, "F1 averaged over classes (labels), each counting alike", _LFM),
    "weighted_f1": Definition("max", SHARE, "F1 averaged over classes, each by its rows", _LFM),
    "map": Definition(
        "max", SHARE, "average precision of each class against the rest, averaged over classes", _LFM
    ),
    "ece": Definition(
        "min", SCORE, "mean distance of confidence from accuracy, in 15 bins", "Guo et al., ICML 2017"
    ),
    "aurc": Definition(
        "min",
        SCORE,
        "area under the risk–coverage curve: the error among the surest rows",
        "El-Yaniv and Wiener, JMLR 2010",
    ),
    "acc_upper": Definition("max", SHARE, "rows on which any modality alone is right", _F4),
    "acc_lower": Definition("max", SHARE, "rows on which every modality alone is right", _F4),
    "correlation": Definition(
        "max", SCORE, "Pearson's r of a method's weights with being right, over modalities", _F4
    ),
    "coverage": Definition(
        "max", SHARE, "rows that are kept where those of uncertainty above 0.6 are rejected", _F8
    ),
    "rejected_error": Definition("min", SHARE, "error among the rows that `coverage` keeps", _F8),
    "micro_f1": Definition("max", SHARE, "F1 over all rows and labels together"),
    "macro_f1_harmonic": Definition(
        "max", SHARE, "harmonic mean of macro precision and macro recall", "CL-DMDF, equation 6"
    ),
    "mae": Definition("min", OF_TARGET, "mean absolute error", _MMSA),
    "corr": Definition("max", SCORE, "Pearson's r of prediction and target, 0 where one is constant", _MMSA),
    "acc7": Definition("max", SHARE, "rows whose whole number, clipped to ±3, is the target's", _MMSA),
    "acc5": Definition("max", SHARE, "rows whose whole number, clipped to ±2, is the target's", _MMSA),
    "acc2_has0": Definition("max", SHARE, "rows told right as negative or not", _MMSA),
    "f1_has0": Definition("max", SHARE, "weighted F1 of negative or not", _MMSA),
    "acc2_non0": Definition(
        "max", SHARE, "rows told right as positive or not, without those of target 0", _MMSA
    ),
    "f1_non0": Definition("max", SHARE, "weighted F1 of positive or not, without rows of target 0", _MMSA),
    "miou": Definition(
        "max", SHARE, "intersection over union of each class, averaged, over all pixels", _NYU
    ),
    "pixel_accuracy": Definition("max", SHARE, "pixels whose class is right, void ones left out", _NYU),
    "loss": Definition("min", SCORE, "mean loss of the task on the prediction"),
    "gap": Definition(
        "min",
        "that of the task's first metric",
        "the best modality's value of the task's first metric minus the worst's",
        "LFM, tables",
    ),
    # Diagnostics more than aims: LFM (figure 2) reads a larger distance as the better representation, and no
    # modality's weight is better for being large.
    "modality_distance": Definition(
        "max",
        "number, 0 to 2",
        "distance of the modalities' mean features on the unit sphere; a diagnostic",
        "Liang et al., Mind the Gap, NeurIPS 2022",
    ),
    "weight": Definition(
        "max", "number", "mean weight that a method gives a modality; a diagnostic, always of one modality"
    ),
    "dependency": Definition(
        "max",
        "number",
        "mean of how much an output hangs on a modality, 1 where all alike; a diagnostic, always of one modality",
        "UDML (arXiv:2603.19681), equation 13",
    ),
}
DIRECTIONS = {name: metric.direction for name, metric in METRICS.items()}
OF_MODALITIES = ("weight", "dependency")  # which have no value without one
OF_EVERY_TASK = ("loss", "gap", "modality_distance", *OF_MODALITIES)
OF_SEVERAL = ("gap", "modality_distance", "acc_upper", "acc_lower", "correlation")  # modalities together
NEVER_ALONE = (*OF_SEVERAL, "coverage", "rejected_error")  # which no modality has by itself
OF_TASK: dict[str, tuple[str, ...]] = {
    "classification": (
        *("accuracy", "macro_f1", "weighted_f1", "map", "ece", "aurc", "acc_upper", "acc_lower"),
        *("correlation", "coverage", "rejected_error"),
        *OF_EVERY_TASK,
    ),
    "multilabel": ("micro_f1", "macro_f1", "macro_f1_harmonic", *OF_EVERY_TASK),
    "regression": (
        *("mae", "corr", "acc7", "acc5", "acc2_has0", "f1_has0", "acc2_non0", "f1_non0"),
        *OF_EVERY_TASK,
    ),
    "segmentation": ("miou", "pixel_accuracy", *OF_EVERY_TASK),
}


def direction(name: str) -> Direction:
    """Return which way metric `name` is better; it may carry a modality after a slash, as in `accuracy/left`.

    Raises UserError for an unknown metric.
    """
    if added := _added(name):
        return choose("direction", added.facts["better"], ("max", "min"), f"metric {added.full!r}")
    return DIRECTIONS[choose("metric", name.partition("/")[0], DIRECTIONS)]


def full_metric(name: str, plugins: Sequence[str]) -> str:
    """Return a metric with its name in full, if it is one that plug-ins or distributions bring; raise UserError."""
    own, slash, modality = name.partition("/")
    return full_name("metric", own, plugins, DIRECTIONS) + slash + modality


def is_share(name: str) -> bool:
    """Return whether metric `name`, which may carry a modality after a slash, is a share, from 0 to 1."""
    if added := _added(name):
        return added.facts["share"]
    metric = METRICS.get(name.partition("/")[0])
    return metric is not None and metric.unit == SHARE


def check_metric(name: str, task: str) -> None:
    """Raise UserError unless `task` has the metric `name`, which may carry a modality after a slash."""
    if added := _added(name):
        if task not in added.facts["tasks"]:
            raise UserError(f"metric {added.full!r} is for {', '.join(added.facts['tasks'])}, not for {task}")
        return
    own, _, modality = name.partition("/")
    if choose("metric", own, OF_TASK[task], task) == name and name in OF_MODALITIES:
        raise UserError(f"metric {name!r} is that of a modality; write {name}/<modality>")
    if modality and own in NEVER_ALONE:
        raise UserError(f"metric {own!r} is never that of one modality; leave out '/{modality}'")


def check_measured(name: str, modalities: Collection[str]) -> None:
    """Raise Misfit unless whoever always reads these modalities, and no other, is measured by the metric `name`."""
    own, _, modality = name.partition("/")
    has = ", ".join([own] * (own not in OF_MODALITIES) + [f"{own}/{m}" for m in modalities])
    if own in OF_SEVERAL and len(modalities) < 2:
        raise Misfit(f"metric {name!r} is of several modalities together, which it does not always read")
    if modality and modality not in modalities:
        raise Misfit(f"metric {name!r} is of a modality that it does not always read; it has {has or 'none'}")


def _added(name: str) -> Entry | None:
    """Return the metric of another module that a name in full means, which has a dot; None for the project's own."""
    own = name.partition("/")[0]
    return entry("metric", own) if "." in own else None


def accuracy(probabilities: np.ndarray, target: np.ndarray) -> float:
    """Return the share of rows whose most probable class, of (N, C), is the target (N,)."""
    return float((probabilities.argmax(1) == target).mean())


def classification(probabilities: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return accuracy, macro_f1, weighted_f1 and map of probabilities (N, C) against the target (N,).

    F1 is averaged over the classes present or predicted, plainly or by their rows; a class that is only one
    of the two has 0. MAP is the plain mean, over the classes present, of the average precision of one class
    against the rest, without interpolation. Source: the metrics of LFM section 4.1.
    """
    f1, rows, counted = _f1_of_classes(probabilities.argmax(1), target, probabilities.shape[1])
    precisions = [average_precision(probabilities[:, c], target == c) for c in np.unique(target)]
    return {
        "accuracy": accuracy(probabilities, target),
        "macro_f1": float(f1[counted].mean()),
        "weighted_f1": float(f1 @ rows / len(target)),
        "map": float(np.mean(precisions)),
    }


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return Σ_k (R_k - R_{k-1}) P_k over the distinct scores (N,), falling; `positive` (N,) bool holds a True.

    Rows of equal score enter together, so that their order does not matter.
    """
    levels, at = np.unique(-scores, return_inverse=True)
    found, taken = (np.bincount(at, weights=w, minlength=len(levels)) for w in (positive, None))
    return float(found @ (found.cumsum() / taken.cumsum()) / positive.sum())


def multilabel(probabilities: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return micro_f1, macro_f1 and macro_f1_harmonic of probabilities (N, L) above 1/2 against 0 and 1 (N, L).

    The two macro F1 are the mean of every label's F1, and the harmonic mean of mean precision and mean recall,
    which is CL-DMDF's equation 6 where its text says the former. All L labels count, 0 / 0 is 0.
    """
    predicted, target = probabilities > 0.5, target.astype(bool)
    hits, found, there = ((x.sum(0)) for x in (predicted & target, predicted, target))
    precision, recall = _ratio(hits, found).mean(), _ratio(hits, there).mean()
    return {
        "micro_f1": float(_ratio(2 * hits.sum(), found.sum() + there.sum())),
        "macro_f1": float(_ratio(2 * hits, found + there).mean()),
        "macro_f1_harmonic": float(_ratio(2 * precision * recall, precision + recall)),
    }


def regression(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return mae, corr, acc7, acc5, and acc2 and weighted F1 of the sign, of numbers (N,) against the target (N,).

    corr is Pearson's, 0 where one side is constant. acc7 and acc5 compare whole numbers, halves rounded to
    even, after clipping to ±3 and ±2. `has0` tells negative from the rest in all rows; `non0` leaves out rows
    whose target is 0 and tells positive from the rest, 0 if there are none left.

    Source: the protocol of sentiment analysis on CMU-MOSI and MOSEI, as in MMSA (Mao et al., ACL 2022 demo).
    """
    predicted, target = predicted.astype(np.float64), target.astype(np.float64)
    r, left = pearson(predicted, target), target != 0
    has0 = _signs(predicted >= 0, target >= 0)
    non0 = _signs(predicted[left] > 0, target[left] > 0)
    scores = {"mae": float(np.abs(predicted - target).mean()), "corr": 0.0 if np.isnan(r) else r}
    for name, bound in (("acc7", 3), ("acc5", 2)):
        whole, true = (np.clip(x, -bound, bound).round() for x in (predicted, target))
        scores[name] = float((whole == true).mean())
    return scores | dict(zip(("acc2_has0", "f1_has0", "acc2_non0", "f1_non0"), has0 + non0, strict=True))


def segmentation(confusion: np.ndarray) -> dict[str, float]:
    """Return miou and pixel_accuracy of pixels counted by true and predicted class (C, C), void ones left out.

    A class that is neither present nor predicted is left out of the mean, which others count as 0. Source:
    the evaluation of semantic segmentation on NYU Depth v2.
    """
    hits, union = confusion.diagonal(), confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return {
        "miou": float(_ratio(_ratio(hits, union).sum(), (union > 0).sum())),
        "pixel_accuracy": float(_ratio(hits.sum(), confusion.sum())),
    }


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's r of x (N,) and y (N,); NaN if one is constant or N is 0."""
    if not len(x) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else float("nan")


def gap(unimodal: Mapping[str, float]) -> float:
    """Return the best minus the worst modality's value of one metric; 0 for a single modality.

    Source: the difference of two modalities in the tables of LFM; greatest minus least extends it to more.
    """
    return max(unimodal.values()) - min(unimodal.values())


def modality_distance(features: Mapping[str, np.ndarray]) -> float | None:
    """Return how far apart the modalities' features {m: (N, D_m)} lie on the unit sphere, from 0 to 2.

    For a pair it is ‖mean_i u_i - mean_i v_i‖ of the unit-normalised rows u and v (Liang et al., Mind the
    Gap, NeurIPS 2022); pairs of equal width are averaged, None is returned where there is none. A row of
    zeros, such as that of an absent modality, has no direction and is left out.
    """
    centres = [_centre(z) for z in features.values()]
    distances = [np.linalg.norm(a - b) for a, b in combinations(centres, 2) if a.shape == b.shape]
    return float(np.mean(distances)) if distances else None


def _centre(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    units = np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)
    return units.sum(0) / max(np.count_nonzero(norms), 1)


def _f1_of_classes(
    predicted: np.ndarray, target: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each class's F1 (C,), its rows (C,), and whether it is present or predicted (C,)."""
    every = (target[predicted == target], predicted, target)
    hits, found, there = (np.bincount(x, minlength=classes) for x in every)
    return _ratio(2 * hits, found + there), there, found + there > 0


def _signs(predicted: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Return accuracy and weighted F1 of bool (N,), 0 without rows."""
    if not len(target):
        return 0.0, 0.0
    f1, rows, _ = _f1_of_classes(predicted.astype(int), target.astype(int), 2)
    return float((predicted == target).mean()), float(f1 @ rows / len(target))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, 0 where b is."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), 0.0)
