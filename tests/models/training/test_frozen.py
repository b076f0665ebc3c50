"""Encoders that never train run once: every number is that of the slow way, and nothing is encoded twice."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper import ROOT
from sweeper.models.data import load_dataset
from sweeper.models.encoders.hf import Hf
from sweeper.models.pretrained import local
from sweeper.models.schema.entries import entries
from sweeper.models.training import frozen, run
from sweeper.models.training.features import features
from sweeper.models.training.run import Order
from tests.models.encoders.tiny import saved
from tests.models.training.test_run import payload

ROWS, CLASSES = 96, 3
CONDITIONS = [
    "clean",
    "gaussian-8@image (repeats 2)",
    "words-8 (share 1, repeats 2)",
    "dropout-6 (repeats 2)",
]
Carry = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write texts of all lengths, images that some rows lack, and numbers."""
    g = np.random.default_rng(0)
    y = g.integers(CLASSES, size=ROWS)
    length = g.integers(1, 7, ROWS)
    ids = np.where(np.arange(6) < length[:, None], g.integers(2, 11, (ROWS, 6)), 0)
    ids[:, 0] = 2 + y
    image = np.clip(g.integers(0, 60, (ROWS, 1, 8, 8)) + 60 * y[:, None, None, None], 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("arrays") / "own.npz"
    arrays = {
        "x_text": ids,
        "text_length": length,
        "x_image": image,
        "image_present": np.arange(ROWS) % 5 > 0,
    }
    np.savez(path, **arrays, x_plain=g.normal(size=(ROWS, 3)).astype(np.float32) + y[:, None], y=y)
    return path


@pytest.fixture
def carry(arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Carry:
    """Carry out a run on frozen encoders; return its result, and how many rows were encoded for it as `encoded`."""
    given, rows = Hf.given, [0]

    def counted(self: Hf, x: torch.Tensor, *more: Any) -> Any:
        rows[0] += len(x)
        return given(self, x, *more)

    monkeypatch.setattr(Hf, "given", counted)

    def call(
        *, cached: bool, folder: str = "", text: Any = (), image: Any = (), **changes: Any
    ) -> dict[str, Any]:
        hf = {"name": "hf", "trainable": "none"}
        encoders = {
            "text": {**hf, "model": str(saved("bert")), "fingerprint": "b", "dim": 4, **dict(text)},
            "image": {**hf, "model": str(saved("vit")), "fingerprint": "v", **dict(image)},
        }
        data = {"name": "arrays", "path": str(arrays), "kinds": {"text": "tokens"}, "fingerprint": "f"}
        value = {"dataset": data, "encoders": encoders, "train": {"epochs": 2, "least_steps": 1, "lr": 0.05}}
        value = payload(**{"stage": "final", "conditions": ["clean"], **value, **changes})
        place = tmp_path / f"run-{cached}{folder}"
        rows[0] = 0
        order = Order(value, place, cache=tmp_path / "cache" if cached else None)
        result = run.execute(order)
        assert result["status"] == "done", result
        return result | {"encoded": rows[0], "order": order}

    return call


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["metrics"].keys() == other["metrics"].keys()
    for condition, scores in one["metrics"].items():
        assert scores == pytest.approx(other["metrics"][condition], abs=1e-4), condition


@pytest.mark.parametrize("cached", [True, False])
def test_a_net_is_built_anew_from_the_weights_that_are_kept(carry, cached):
    """Where encoders never train these are those of all else."""
    done = carry(cached=cached)
    found = features(done["order"])
    right = found.logits.argmax(1) == found.target
    assert right.mean() == pytest.approx(done["metrics"]["test/clean"]["accuracy"])


def test_every_number_is_that_of_the_slow_way_under_every_condition(carry):
    slow = carry(cached=False, conditions=CONDITIONS)
    fast = carry(cached=True, conditions=CONDITIONS)
    same(slow, fast)
    clean = slow["metrics"]["test/clean"]["loss"]
    for condition in CONDITIONS[1:]:
        assert slow["metrics"][f"test/{condition}"]["loss"] != pytest.approx(clean, abs=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": {"name": "lstm"}},
        {"fusion": {"name": "mmtm"}},
        {"text": {"pooling": "attention"}, "image": {"pooling": "attention"}},
        {"text": {"pooling": "cls"}, "image": {"pooling": "mean", "dtype": "bfloat16"}},
        {
            "method": {"name": "rw", "noise": ["words-8"], "match": "matched"},
            "fusion": None,
            "train": {"epochs": 1},
        },
    ],
    ids=str,
)
def test_whatever_reads_features_finds_the_same(carry, changes):
    slow, fast = carry(cached=False, **changes), carry(cached=True, **changes)
    same(slow, fast)
    assert carry(cached=True, folder="-again", **changes)["encoded"] == 0 < fast["encoded"] < slow["encoded"]


def test_the_first_run_encodes_every_row_once_and_the_next_none(carry, arrays):
    rows = load_dataset("arrays", {"path": str(arrays), "kinds": {"text": "tokens"}}).rows
    absent = ROWS // 5 + 1
    first = carry(cached=True)
    probes = 2 * len(rows)  # a row of each modality and split tells the shape
    assert first["encoded"] == 2 * ROWS - absent + probes
    for seed in (1, 2):
        assert carry(cached=True, seed=seed, folder=str(seed))["encoded"] == 0


def test_a_condition_encodes_the_rows_that_it_hits_and_only_for_its_first_run(carry):
    carry(cached=True)
    hit = carry(cached=True, folder="1", conditions=["gaussian-8@image (repeats 2)"])["encoded"]
    test_rows = 2 * round(0.2 * ROWS)
    assert 0 < hit - 2 < test_rows
    assert carry(cached=True, folder="2", conditions=["gaussian-8@image (repeats 2)"])["encoded"] == 0
    assert carry(cached=True, folder="3", conditions=["gaussian-8@image (repeats 3)"])["encoded"] > 0
    assert carry(cached=True, folder="4", conditions=["dropout-6 (repeats 2)"])["encoded"] == 0


def test_a_search_run_encodes_no_test_row(carry):
    searched = carry(cached=True, stage="search", conditions=[])["encoded"]
    assert 0 < carry(cached=True, folder="-final")["encoded"] < searched


@pytest.mark.parametrize(
    "changes",
    [
        {"augment": {"image": [{"name": "flip"}]}, "text": {"trainable": "all"}},
        {"method": {"name": "agm"}},
        {"text": {"trainable": "top", "top": 1}, "image": {"from_scratch": True}},
        {"text": {"fingerprint": ""}, "image": {"fingerprint": ""}},
    ],
    ids=lambda c: "+".join(c),
)
def test_what_cannot_be_kept_runs_every_time(carry, changes):
    first, second = (carry(cached=True, folder=n, **changes)["encoded"] for n in "12")
    assert first == second > 3 * ROWS


@pytest.mark.parametrize(
    "changes",
    [
        {"text": {"fingerprint": "other"}, "image": {"fingerprint": "other"}},
        {"text": {"pooling": "cls"}, "image": {"pooling": "mean"}},
        {"text": {"dtype": "bfloat16"}, "image": {"dtype": "bfloat16"}},
    ],
    ids=str,
)
def test_other_weights_or_another_pooling_are_encoded_anew(carry, changes):
    first = carry(cached=True)["encoded"]
    assert carry(cached=True, folder="-other", **changes)["encoded"] == first
    narrower = carry(cached=True, folder="-narrower", text={"dim": 2})
    assert narrower["encoded"] == 0


def test_whoever_comes_while_another_encodes_waits_and_shows_that_it_lives(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "WAIT_SECONDS", 0.01)
    data = load_dataset("arrays", {"path": str(arrays), "kinds": {"text": "tokens"}})
    encoders = {"text": {"name": "hf", "model": str(saved("bert")), "trainable": "none", "fingerprint": "b"}}
    began, waited, encoded = threading.Event(), threading.Event(), []

    def features(pulse):
        given = {"reads": "pooled", "every_time": (), "fingerprint": "f", "cache": tmp_path, "device": "cpu"}
        return frozen.once(data, encoders, pulse=pulse, **given)[0].encodings["text"].spec

    def first():
        encoded.append("first")
        began.set()
        assert waited.wait(20)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(features, first)
        assert began.wait(20)
        assert features(waited.set).shape == (8,)
        assert other.result().shape == (8,)
    assert set(encoded) == {"first"}


@pytest.mark.parametrize("name", entries("method"))
def test_a_method_that_makes_inputs_of_its_own_says_so(name):
    method = entries("method")[name]
    tree = ast.parse(method.source.path.read_text())
    made = any(
        word.arg == "inputs"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
    )
    assert method.facts["changes_inputs"] == made


def test_what_was_not_finished_is_begun_anew(carry, tmp_path):
    carry(cached=True)
    for folder in list((tmp_path / "cache").glob("features-*")):
        if folder.is_dir():
            folder.rename(folder.with_suffix(".part"))
    assert carry(cached=True, folder="-again")["encoded"] > 0
    assert not list((tmp_path / "cache").glob("*.part"))


@pytest.mark.slow
def test_a_warm_run_on_kept_features_imports_no_transformers(carry, tmp_path):
    carry(cached=True)
    saved_payload = tmp_path / "payload.json"
    code = (
        "import json, pathlib, sys\nfrom sweeper.models.training.run import Order, execute\n"
        f"value = json.loads(pathlib.Path({str(saved_payload)!r}).read_text())\n"
        f"result = execute(Order(value, pathlib.Path({str(tmp_path / 'warm')!r}), cache=pathlib.Path("
        f"{str(tmp_path / 'cache')!r})))\nprint(result['status'], 'transformers' in sys.modules)"
    )
    orders: list[Order] = []
    execute = run.execute
    run.execute = lambda order: orders.append(order) or execute(order)
    try:
        carry(cached=True, folder="-warm")
    finally:
        run.execute = execute
    run.write_json(saved_payload, dict(orders[0].payload))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["done", "False"]


def test_real_texts_of_all_lengths_give_the_numbers_of_the_slow_way(tmp_path):
    folder = local("minilm")
    if folder is None:
        pytest.skip("minilm lies in the folder that SWEEPER_MODELS names")
    g = np.random.default_rng(0)
    length = g.integers(2, 12, 60)
    ids = np.where(np.arange(12) < length[:, None], g.integers(1000, 9000, (60, 12)), 0)
    np.savez(tmp_path / "t.npz", x_text=ids, text_length=length, y=np.arange(60) % 2)
    data = {
        "name": "arrays",
        "path": str(tmp_path / "t.npz"),
        "kinds": {"text": "tokens"},
        "fingerprint": "f",
    }
    encoder = {"name": "hf", "model": str(folder), "trainable": "none", "fingerprint": "m"}
    value = payload(
        "final",
        conditions=["clean"],
        dataset=data,
        encoders={"text": encoder},
        train={"epochs": 1, "least_steps": 1},
    )
    slow, fast = (run.execute(Order(value, tmp_path / str(c), cache=c)) for c in (None, tmp_path / "cache"))
    same(slow, fast)
