"""The table of cases: one row per method, from which every contract test is parametrised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import Dataset
from sweeper.models.method import Method
from sweeper.models.training.build import build_method
from sweeper.models.training.settings import Settings
from sweeper.models.training.trainer import Outcome, splits_of, train


@dataclass(frozen=True)
class Case:
    """A method with options that make a small run meaningful, and those (if any) under which it is joint training."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    neutral: dict[str, Any] | None = None
    permutes: bool = True  # False: the order of modalities matters by design, as the docstring says

    @property
    def named(self) -> dict[str, Any]:
        return {"name": self.method, **self.options}


CASES = [
    Case("cl_dmdf"),
    Case("eruw"),
    Case("joint", neutral={}),
    Case("label_smoothing", neutral={"eps": 0.0}),
    Case(
        "lfm",
        {"schedule": "learned", "alpha0": 0.5, "tau": 0.5},
        neutral={"schedule": "constant", "alpha": 0.0},
    ),
    Case("mla", permutes=False),
    Case("ogm", {"end": 1.0}, neutral={"alpha": 0.0, "ge": False}),
    Case("rw"),
    Case("uniform"),
    Case(
        "udml",
        neutral={
            "uncertainty": "none",
            "dependency": False,
            "progression": False,
            "gamma": 0.0,
            "p_clean": 1.0,
        },
    ),
    Case("unimodal", {"modality": "m0"}),
    Case("unimodal_sum"),
]
# variants that take other paths through the code than the case of their method
VARIANTS = [
    Case("eruw", {"score": "Evd", "probability": "softmax"}),
    Case("lfm", {"schedule": "heuristic"}),
    Case("lfm", {"schedule": "constant", "alpha": 1.0}),
    Case("lfm", {"schedule": "constant", "match": "posterior"}),
    Case("lfm", {"schedule": "learned", "solver": "cg"}),
    Case("mla", {"variant": "released", "combine": "mean"}, permutes=False),
    Case("udml", {"warmup": 0.5, "beta": 1e-3}),
    Case("udml", {"variant": "released", "progression": False}),
    Case("udml", {"uncertainty": "variance", "scope": "sample"}),
    Case("udml", {"uncertainty": "energy", "dependency": False}),
    Case("rw", {"regressor": "rf"}),
    Case("rw", {"match": "matched", "noise": ["feature-5"]}),
    Case("rw", {"regressor": "svr", "fit_rows": "held_out"}),
    Case("cl_dmdf", {"positives": "same_label", "modality_neg": "exp", "gate": "soft", "moddrop": 0.3}),
    Case("cl_dmdf", {"positives": "label_centroid", "centroid": "incl_self", "attn": "ratio"}),
    Case("cl_dmdf", {"detached": True, "fuse": "features", "gate": "hard", "lambda_con": 1.0}),
]

by_method = [(case, case.method) for case in CASES]


def synthetic(modalities: int = 2, **options: Any) -> Dataset:
    """Return a small dataset that every method can learn."""
    sizes = {"train": 96, "validation": 64, "test": 64}
    kind = {"kind": "image"} if options.get("task") == "segmentation" else {}
    return load_dataset("synthetic", {"modalities": modalities, "signal": 2.0, **sizes, **kind, **options})


def build(
    named: dict[str, Any],
    dataset: Dataset,
    seed: int = 0,
    fusion: str | None = "concat",
    dtype: torch.dtype = torch.float32,
    encoder: dict[str, Any] | None = None,
) -> Method:
    """Return a method on small encoders."""
    dense = dataset.spec.task == "segmentation"
    small = {"name": "maps", "width": 8, "dim": 8} if dense else {"name": "mlp", "hidden": 16, "dim": 8}
    encoders = dict.fromkeys(dataset.spec.modalities, encoder or small)
    return build_method(dataset.spec, encoders, {"name": fusion} if fusion else None, named, seed).to(dtype)


SETTINGS = Settings(epochs=3, batch_size=32, lr=0.05)


def fit(
    method: Method, dataset: Dataset, settings: Settings = SETTINGS, seed: int = 0, **options: Any
) -> Outcome:
    """Train a method on a dataset, for the best headline of its task."""
    options = {"metric": method.task.headline, **options}
    return train(method, splits_of(dataset, method, seed), settings, seed, **options)


def weights(method: Method) -> dict[str, torch.Tensor]:
    """Return the net's parameters by name, copied."""
    return {name: p.detach().clone() for name, p in method.net.named_parameters()}
