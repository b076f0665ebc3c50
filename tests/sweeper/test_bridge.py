"""One run: which rows it reads, what its folder holds, how it fails, how it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper import bridge
from sweeper.study import arms
from sweeper.study import schema as study

Execute = Callable[..., dict[str, Any]]

STUDY = {
    "study": "one",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 40},
    "methods": ["joint"],
    "train": {"epochs": 4},
}


@pytest.fixture
def execute(tmp_path: Path) -> Execute:
    """Carry out a run of a study with changes, in the folder tmp_path/run unless another is named."""

    def call(stage: str = "search", seed: int = 0, folder: str = "run", changes: Any = None, **options: Any):
        bridge._datasets.clear()
        arm = arms.unfold(study.parse({**STUDY, **(changes or {})}))[0]
        run = arms.Run(arm, 0, arm.defaults(), stage, seed)
        options.setdefault("plugins", tuple((changes or {}).get("plugins", ())))
        return bridge.execute(run.payload, tmp_path / folder, **options)

    return call


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Write a method of the user's whose loss is `body`, and return the study's changes that use it."""

    def write(body: str) -> dict[str, Any]:
        (tmp_path / "own_method.py").write_text(
            "import torch\nfrom models.method import Method\n\n\nclass Own(Method):\n"
            f'    """A method of the user\'s."""\n\n    def loss(self, output, batch, ctx):\n        {body}\n'
        )
        monkeypatch.syspath_prepend(tmp_path)
        sys.modules.pop("own_method", None)
        return {"methods": ["own_method"], "plugins": ["own_method"]}

    return write


class Sealed(dict):
    """Rows by split; whoever asks for those of the test set is found out."""

    def __getitem__(self, split: str) -> np.ndarray:
        if split == "test":
            raise AssertionError("the test rows were read")
        return super().__getitem__(split)


@pytest.fixture
def seal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Seal the test rows of every dataset loaded from then on, and spoil their contents."""
    load = bridge.load_dataset

    def spoiled(*arguments: Any, **options: Any) -> Any:
        dataset = load(*arguments, **options)
        for array in dataset.inputs.values():
            array[dataset.rows["test"]] = np.nan
        dataset.target[dataset.rows["test"]] = -1
        return replace(dataset, rows=Sealed(dataset.rows))

    return lambda: monkeypatch.setattr(bridge, "load_dataset", spoiled)


def test_a_search_run_never_touches_test_rows(execute, seal):
    plain = execute("search", folder="plain")
    seal()
    result = execute("search")
    assert result["status"] == "done"
    assert list(result["metrics"]) == ["validation"]
    assert result["metrics"] == plain["metrics"]


def test_a_final_run_does(execute, seal):
    seal()
    result = execute("final")
    assert result["status"] == "failed"
    assert result["error"] == {"class": "AssertionError", "message": "the test rows were read"}


@pytest.mark.parametrize(
    ("policy", "more"), [("none", set()), ("best", {"best.pt"}), ("all", {"best.pt", "checkpoint.pt"})]
)
def test_the_folder_holds_what_the_policy_says(execute, tmp_path, policy, more):
    result = execute(checkpoints=policy)
    folder = tmp_path / "run"
    assert {p.name for p in folder.iterdir()} == {"result.json", "curve.json", "predictions.npz"} | more
    assert json.loads((folder / "result.json").read_text()) == result
    assert len(json.loads((folder / "curve.json").read_text())) == result["epochs"] == 4
    others = sum(p.stat().st_size for p in folder.iterdir() if p.name != "result.json")
    assert result["bytes"] == others


@pytest.mark.parametrize(
    ("stage", "split", "rows"), [("search", "validation", 48), ("final", "test/clean", 40)]
)
def test_predictions_reproduce_the_recorded_accuracy(execute, tmp_path, stage, split, rows):
    recorded = execute(stage)["metrics"][split]
    with np.load(tmp_path / "run" / "predictions.npz") as found:
        assert found["predicted"].shape == (rows, 4)
        right = {name: found[name].argmax(1) == found["target"] for name in found if name[0] in "pu"}
        first = {"search": 64, "final": 64 + 48}[stage]
        assert found["index"].tolist() == list(range(first, first + rows))
    assert right["predicted"].mean() == recorded["accuracy"]
    assert right["unimodal_m0"].mean() == recorded["accuracy/m0"]


def test_best_pt_holds_the_weights_of_the_best_epoch(execute, tmp_path):
    result = execute(changes={"train": {"epochs": 6, "lr": 0.5}})
    curve = json.loads((tmp_path / "run" / "curve.json").read_text())
    values = [epoch["validation/accuracy"] for epoch in curve]
    assert result["curve"] == values
    assert result["best_epoch"] == 1 + values.index(max(values))
    assert result["metrics"]["validation"]["accuracy"] == max(values)
    assert torch.load(tmp_path / "run" / "best.pt", weights_only=True)


def test_a_limit_ends_a_run_early(execute):
    result = execute(limits={"2": 1.01})
    assert (result["status"], result["epochs"], len(result["curve"])) == ("pruned", 2, 2)
    assert execute(limits={"2": 0.0}, folder="other")["status"] == "done"


@pytest.mark.parametrize("policy", ["none", "all"])
def test_a_run_that_was_ended_early_is_whole_when_it_is_wanted_whole(execute, policy):
    assert execute(limits={"2": 1.01}, checkpoints=policy)["status"] == "pruned"
    result = execute(checkpoints=policy)
    assert (result["status"], result["epochs"]) == ("done", 4)
    assert result["metrics"] == execute(folder="other")["metrics"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", [1, 3])
def test_a_run_that_was_killed_goes_on_where_it_was(execute, tmp_path, monkeypatch, at):
    whole = execute("final", folder="whole")
    monkeypatch.setattr(bridge, "SAVE_EVERY_SECONDS", 0.0)
    seen: list[int] = []

    def dies(epoch: dict[str, float]) -> None:
        seen.append(int(epoch["epoch"]))
        if len(seen) == at:
            raise Killed

    with pytest.raises(Killed):
        execute("final", on_epoch=dies)
    assert not (tmp_path / "run" / "result.json").exists()
    resumed = execute("final", on_epoch=lambda epoch: seen.append(int(epoch["epoch"])))
    # the epoch in which it died was not saved, so it is done twice, and no other
    assert seen == [*range(1, at + 1), *range(at, 5)]
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["curve"] == whole["curve"]


def test_what_a_method_raises_becomes_the_result(execute, plugin, tmp_path):
    result = execute(changes=plugin('raise ValueError("no\\n  good")'))
    assert result["status"] == "failed"
    assert result["error"] == {"class": "ValueError", "message": "no good"}
    assert "own_method.py" in result["trace"]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result


@pytest.mark.parametrize(
    "body",
    [
        'raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")',
        "return torch.empty(10**15).sum()",
        "return torch.tensor(__import__('numpy').empty(10**15)).sum()",
        "raise MemoryError",
    ],
)
def test_too_little_memory_has_a_class_of_its_own(execute, plugin, body):
    result = execute(changes=plugin(body))
    assert (result["status"], result["error"]["class"]) == ("failed", "OOM")


def test_a_loss_that_is_not_finite_is_divergence(execute, plugin):
    result = execute(changes=plugin("return output.fused.sum() * float('nan')"))
    assert result["status"] == "diverged"
    assert result["error"]["class"] == "diverged"
    assert "epoch 1" in result["error"]["message"]


def test_threads_are_set(execute):
    before = torch.get_num_threads()
    try:
        execute(threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
