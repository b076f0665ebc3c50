"""The table of cases: one row per method, from which every contract test is parametrised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import Dataset
from sweeper.models.method import Method
from sweeper.models.schema.entries import entries
from sweeper.models.training.build import build_method
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.training.trainer import Outcome, train
from tests.models.towers import NAMES, Towers


@dataclass(frozen=True)
class Case:
    """A method with options that make a small run meaningful, and those (if any) under which it is joint training."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    neutral: dict[str, Any] | None = None
    permutes: bool = True  # False: the order of modalities matters by design, as the docstring says
    fusion: str = "concat"  # one that the method can work with, if it uses any
    at_once: bool = False  # fitted without epochs, to an optimum that does not depend on the seed
    learns: bool = True  # False: what it predicts by was learned elsewhere, and means nothing for small rows

    @property
    def named(self) -> dict[str, Any]:
        return {"name": self.method, **self.options}

    @property
    def fuses_by(self) -> str | None:
        return self.fusion if entries("method")[self.method].facts["fuses"] else None


CASES = [
    Case("amss", neutral={"least": 1.0, "most": 1.0}),
    Case("agm", neutral={"alpha": 0.0, "clip": None}),
    Case("arl", {"warmup": 1}),
    Case("cl_dmdf"),
    Case("clip_zero_shot", {"model": Towers("clip"), "classes": NAMES}, at_once=True, learns=False),
    Case("cml", {"lambda_cml": 1.0}, neutral={"lambda_cml": 0.0}),
    # disagreement at all, and epochs of both phases
    Case("domfn", {"threshold": 0.05, "pretrain": 0.34}),
    Case("dgl"),
    Case("eruw"),
    Case("greedy", {"eps": 0.0, "start": 0}, permutes=False, fusion="mmtm"),
    Case("etmc", {"anneal": 2}),
    Case("gblend", {"probe": 1}),
    Case("joint", neutral={}),
    Case("label_smoothing", neutral={"eps": 0.0}),
    Case(
        "lfm",
        {"schedule": "learned", "alpha0": 0.5, "tau": 0.5},
        neutral={"schedule": "constant", "alpha": 0.0},
    ),
    Case("linear", {"penalty": 10.0}, permutes=False, at_once=True),
    Case("mbsd"),
    Case("mla", permutes=False),
    Case("mmcosine"),
    Case("mses", {"patience": 1}),
    Case("mslr", {"window": 2}, permutes=False),
    Case("mmpareto"),
    Case("ogm", {"end": 1.0}, neutral={"alpha": 0.0, "ge": False}),
    Case("pdf"),
    Case("qmf"),
    Case("reconboost", {"alone": 1, "together": 1}, permutes=False),
    Case("relearning", neutral={"count": 0}),
    Case("opm", {"warmup": 1, "p_exe": 1.0}, neutral={"p_exe": 0.0}),
    Case("pmr", {"per_epochs": 2}, neutral={"alpha": 0.0, "mu": 0.0}),
    Case("rw"),
    Case("tmc", {"anneal": 2}),
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
    Case("umt", {"weight": 1.0, "teachers": 0.25}, neutral={"weight": 0.0}),
    Case("unimodal", {"modality": "m0"}),
    Case("unimodal_sum"),
    Case("valuation", {"warmup": 1}, neutral={"level": "modality", "warmup": 0, "alpha": 0.0}),
]
# variants that take other paths through the code than the case of their method
VARIANTS = [
    Case("amss", {"unbiased": True}),
    Case("eruw", {"score": "Evd", "probability": "softmax"}),
    Case("gblend", {"mode": "offline"}),
    Case("lfm", {"schedule": "heuristic"}),
    Case("lfm", {"schedule": "constant", "alpha": 1.0}),
    Case("lfm", {"schedule": "constant", "match": "posterior"}),
    Case("lfm", {"schedule": "learned", "solver": "cg"}),
    Case("mla", {"variant": "released", "combine": "mean"}, permutes=False),
    Case("mmpareto", {"rescale": "tensor"}),
    Case("udml", {"warmup": 0.5, "beta": 1e-3}),
    Case("udml", {"variant": "released", "progression": False}),
    Case("udml", {"uncertainty": "variance", "scope": "sample"}),
    Case("udml", {"uncertainty": "energy", "dependency": False}),
    Case("qmf", {"margin": -1, "lam": 0.1}),
    Case("umt", {"norm": "l2"}),
    Case("rw", {"regressor": "rf"}),
    Case("rw", {"match": "matched", "noise": ["feature-5"]}),
    Case("rw", {"regressor": "svr", "fit_rows": "held_out"}),
    Case("cl_dmdf", {"positives": "same_label", "modality_neg": "exp", "gate": "soft", "moddrop": 0.3}),
    Case("cl_dmdf", {"positives": "label_centroid", "centroid": "incl_self", "attn": "ratio"}),
    Case("cl_dmdf", {"detached": True, "fuse": "features", "gate": "hard", "lambda_con": 1.0}),
    Case("valuation", {"level": "modality", "warmup": 0}),
]

by_method = [(case, case.method) for case in CASES]


def synthetic(modalities: int = 2, **options: Any) -> Dataset:
    """Return a small dataset that every method can learn."""
    sizes = {"train": 96, "validation": 64, "test": 64}
    kind = {"kind": "image"} if options.get("task") == "segmentation" else {}
    return load_dataset("synthetic", {"modalities": modalities, "signal": 2.0, **sizes, **kind, **options})


def of_all_lengths(**options: Any) -> Dataset:
    """Return a small dataset of three modalities with steps, whose rows are up to half shorter than the longest."""
    given = {"kind": ["sequence", "tokens", "audio"], "dim": 4, "shorter": 0.5, "signal": 6.0}
    return synthetic(3, **given, **options)


PERCEPTRON = {"name": "mlp", "hidden": 16, "dim": 8}
# by kind of input; but for images, whose features are to cost little, each kind's default
ENCODERS = {
    "vector": PERCEPTRON,
    "image": PERCEPTRON,
    "sequence": {"name": "sequence", "dim": 8},
    "tokens": {"name": "sequence", "dim": 8},
    "audio": {"name": "wave", "width": 4, "layers": 3, "dim": 8},
    "video": {"name": "convnet", "width": 4, "layers": 2, "dim": 8},
}


def build(
    named: dict[str, Any],
    dataset: Dataset,
    seed: int = 0,
    fusion: str | None = "concat",
    dtype: torch.dtype = torch.float32,
    encoder: dict[str, Any] | None = None,
) -> Method:
    """Return a method on small encoders, by default those of each modality's kind."""
    if fusion == "decoder":
        encoder = encoder or {"name": "maps", "width": 8, "dim": 8}
    encoders = {m: encoder or ENCODERS[spec.kind] for m, spec in dataset.spec.modalities.items()}
    return build_method(dataset.spec, encoders, {"name": fusion} if fusion else None, named, seed).to(dtype)


SETTINGS = Settings(epochs=3, batch_size=32, lr=0.05)


def fit(
    method: Method, dataset: Dataset, settings: Settings = SETTINGS, seed: int = 0, **options: Any
) -> Outcome:
    """Train a method on a dataset, for the best headline of its task."""
    options = {"metric": method.task.headline, **options}
    return train(method, splits_of(dataset, method, seed), settings, seed, **options)


def resumed(
    make: Callable[[], Method],
    dataset: Dataset,
    path: Path,
    settings: Settings = SETTINGS,
    *,
    killed: int = 2,
    **options: Any,
) -> tuple[Method, Outcome]:
    """Train until a run is killed in an epoch, then resume it; return what that gives."""

    class Killed(Exception):
        pass

    def kill(entry: dict[str, float]) -> None:
        if entry["epoch"] == killed:
            raise Killed

    with pytest.raises(Killed):
        fit(make(), dataset, settings, resume=path, on_epoch=kill, **options)
    method = make()
    return method, fit(method, dataset, settings, resume=path, **options)


def same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    """Say whether two states are equal to the bit, and where not."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    return True


def close(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], within: float = 1e-12
) -> bool:
    """Say whether two states in double precision are equal but for rounding, and where not."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], rtol=0, atol=within), name
    return True


def weights(method: Method) -> dict[str, torch.Tensor]:
    """Return the net's parameters by name, copied."""
    return {name: p.detach().clone() for name, p in method.net.named_parameters()}
