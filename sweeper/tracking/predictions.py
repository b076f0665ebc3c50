"""Predictions as MLflow's pages preview them: a table of a run's rows, and confusion matrices as a page of HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Arrays = Mapping[str, "np.ndarray"]

MOST_CLASSES = 120  # that a page shows in a square
OF_MODALITY = "unimodal_"  # the beginning of a modality's own predictions
STYLE = """
body { font: 13px sans-serif; margin: 1em }
table { border-collapse: collapse; margin-bottom: 2em }
td, th { padding: 3px 6px; text-align: right; font-weight: normal }
th { color: #666 }
caption { text-align: left; padding-bottom: 6px; font-weight: bold }
"""


def read(folder: Path) -> dict[str, Arrays]:
    """Return the predictions in a run's folder by what they were made on: "clean", or another condition."""
    import numpy as np

    found = {}
    for path in sorted(folder.glob("predictions*.npz")):
        with np.load(path) as arrays:
            condition = path.stem.removeprefix("predictions").removeprefix("-") or "clean"
            found[condition] = {name: arrays[name] for name in arrays.files}
    return found


def table(found: Mapping[str, Arrays]) -> str:
    """Return the rows of the clean test as MLflow has a table, JSON; empty where a target is not one number."""
    import numpy as np

    arrays = found.get("clean")
    if arrays is None or arrays["target"].ndim > 1:
        return ""
    target, predicted = arrays["target"], arrays["predicted"]
    alone = {name.removeprefix(OF_MODALITY): a for name, a in arrays.items() if name.startswith(OF_MODALITY)}
    columns = {"row": arrays["index"], "target": target, "predicted": _said(predicted)}
    columns |= {f"predicted by {modality} alone": _said(a) for modality, a in alone.items()}
    if predicted.ndim > 1:
        columns["probability"] = np.round(predicted.max(axis=1).astype(float), 4)
        columns["right"] = columns["predicted"] == target
    else:
        columns["error"] = np.round((predicted - target).astype(float), 6)
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    return json.dumps({"columns": list(columns), "data": rows})


def confusion(arrays: Arrays) -> np.ndarray | None:
    """Return how often each class (row) was taken for each (column), (C, C); None if the target is no class."""
    import numpy as np

    target, predicted = arrays["target"], arrays["predicted"]
    if target.ndim > 1 or predicted.ndim != 2 or not np.issubdtype(target.dtype, np.integer):
        return None
    classes = predicted.shape[1]
    pairs = target * classes + predicted.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def page(matrices: Mapping[str, np.ndarray]) -> str:
    """Return confusion matrices as HTML, each under its title, coloured by shares of their rows; empty if none fits."""
    shown = {title: counts for title, counts in matrices.items() if len(counts) <= MOST_CLASSES}
    squares = "".join(_square(title, counts) for title, counts in shown.items())
    return f"<!doctype html><meta charset='utf-8'><style>{STYLE}</style>{squares}" if squares else ""


def _square(title: str, counts: np.ndarray) -> str:
    import numpy as np

    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    head = "".join(f"<th>{c}</th>" for c in range(len(counts)))
    lines = [f"<tr><th>class \\ predicted</th>{head}<th>n</th><th>recall</th></tr>"]
    for c, row in enumerate(counts):
        cells = "".join(
            f"<td style='background:rgba(31,119,180,{share:.2f})' title='{c} as {k}: {share:.1%}'>{n or ''}</td>"
            for k, (n, share) in enumerate(zip(row.tolist(), shares[c], strict=True))
        )
        recall = f"{shares[c, c]:.1%}" if totals[c] else "—"
        lines.append(f"<tr><th>{c}</th>{cells}<th>{totals[c]}</th><th>{recall}</th></tr>")
    right = f"{np.trace(counts) / max(totals.sum(), 1):.1%} of {totals.sum()} right"
    return f"<table><caption>{escape(title)}: {right}</caption>{''.join(lines)}</table>"


def _said(predicted: np.ndarray) -> np.ndarray:
    """Return the class of the largest column, or the number itself."""
    return predicted.argmax(axis=1) if predicted.ndim > 1 else predicted
