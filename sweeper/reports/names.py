"""What metrics and axes are called in print; tables for machines keep the names that studies use."""

from __future__ import annotations

from collections.abc import Collection

from sweeper.bridge import is_share

METRICS = {  # where it is more than the name with a capital letter
    "acc2_has0": "Acc-2, with 0",
    "acc2_non0": "Acc-2, without 0",
    "acc5": "Acc-5",
    "acc7": "Acc-7",
    "acc_lower": "Accuracy, lower",
    "acc_upper": "Accuracy, upper",
    "aurc": "AURC",
    "corr": "Pearson's r",
    "ece": "ECE",
    "f1_has0": "F1, with 0",
    "f1_non0": "F1, without 0",
    "mae": "MAE",
    "macro_f1": "Macro F1",
    "macro_f1_harmonic": "Macro F1, harmonic",
    "map": "MAP",
    "micro_f1": "Micro F1",
    "miou": "mIoU",
    "weighted_f1": "Weighted F1",
}


def titled(metric: str, percent: Collection[str] = ()) -> str:
    """Return a metric's name in print, as "Accuracy, spoken (%)" of `accuracy/spoken` if that is one in `percent`."""
    name, _, modality = metric.partition("/")
    words = METRICS.get(name) or capital(name.replace("_", " "))
    return ", ".join(filter(None, (words, modality))) + " (%)" * (metric in percent)


def in_percent(metric: str, headline: str) -> bool:
    """Say whether a metric is shown in percent; the gap is where the headline metric is."""
    return is_share(headline if metric == "gap" else metric)


def capital(words: str) -> str:
    """Return the words with a capital first letter, the others as they are."""
    return words[:1].upper() + words[1:]


def label(axis: str, name: str, percent: Collection[str] = ()) -> str:
    """Return what a label of an axis is called in print: metrics by their titles, all else as the study says."""
    return titled(name, percent) if axis == "metric" else name
