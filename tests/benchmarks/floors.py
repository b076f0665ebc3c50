"""Nets beside the linear floor on small real sets cut into modalities, with the defaults and eight configurations."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np
import yaml
from sklearn import datasets

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History

WHOLE = "all"
SPLITS = range(4)
METHODS = ["linear", "joint", "unimodal"]


def sets() -> dict[str, dict[str, np.ndarray]]:
    """Return {name: arrays} of scikit-learn's wine, breast cancer and digits, their columns shared out."""
    wine, cancer, digits = (
        load(return_X_y=True)
        for load in (datasets.load_wine, datasets.load_breast_cancer, datasets.load_digits)
    )
    columns = np.arange(64)
    cut = {
        "wine": (wine, {"first": range(4), "second": range(4, 9), "rest": range(9, 13)}),
        "cancer": (cancer, {"mean": range(10), "error": range(10, 20), "worst": range(20, 30)}),
        "digits in 4": (digits, {f"rows{k}": columns[16 * k : 16 * k + 16] for k in range(4)}),
        "digits in 6": (digits, {f"sixth{k}": columns[k::6] for k in range(6)}),
    }
    return {
        name: {"y": y, **{f"x_{m}": x[:, list(own)].astype(np.float32) for m, own in parts.items()}}
        for name, ((x, y), parts) in cut.items()
    }


def main() -> None:
    """Print the accuracy of every net on test rows and that of the linear model of the same modalities, in %."""
    with tempfile.TemporaryDirectory() as place:
        folder, named = Path(place), []
        for name, arrays in sets().items():
            np.savez(folder / f"{name}.npz", **arrays)
            splits = SPLITS if len(arrays["y"]) < 1000 else [0]
            named += [
                {"name": "arrays", "path": f"{name}.npz", "label": f"{name}, split {n}", "split_seed": n}
                for n in splits
            ]
        study = {"study": "floors", "dataset": named, "methods": METHODS, "search": {"configurations": 8}}
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        command = [sys.executable, "-m", "sweeper.cli", "run", str(folder / "study.yaml")]
        command += ["--storage", str(folder / "store"), "--data-root", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        history = History.read("floors", Ledger(folder / "store" / "ledger.jsonl"))
    found: defaultdict[tuple[str, str], dict[str, list[float]]] = defaultdict(
        lambda: {"net": [], "floor": []}
    )
    for arm in history.plan.arms:
        modality = arm.reads[0] if len(arm.reads) == 1 else WHOLE
        own = found[arm.axes["dataset"].split(",")[0], modality]["floor" if arm.floor else "net"]
        own.append(fmean(run.metrics["test/clean"]["accuracy"] for run in history.final(arm.key).values()))
    for (name, modality), own in found.items():
        net, floor = (100 * fmean(own[who]) for who in ("net", "floor"))
        print(
            f"  {name}, {modality}: {net:.1f}, floor {floor:.1f} ({net - floor:+.1f}, splits {len(own['net'])})"
        )
