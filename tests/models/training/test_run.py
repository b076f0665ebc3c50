"""One run: which rows it reads, what its folder holds, how it fails, how it goes on; and whether it can be built."""

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

from sweeper.models.data import cache, load_dataset
from sweeper.models.data.cache import Datasets
from sweeper.models.errors import UserError
from sweeper.models.training import run
from sweeper.models.training.run import Order

Execute = Callable[..., dict[str, Any]]

DATASET = {"name": "synthetic", "train": 64, "validation": 48, "test": 40}


def payload(stage: str = "search", seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a run of joint training, with changes; a final one is tested on clean data."""
    return {
        "dataset": {**DATASET, "fingerprint": "f", "label": "small"},
        "encoders": {},
        "augment": {},
        "fusion": {"name": "concat"},
        "method": {"name": "joint"},
        "train": {"epochs": 4},
        "metric": "accuracy",
        "conditions": ["clean"] if stage == "final" else [],
        "stage": stage,
        "seed": seed,
        "code": "c",
        **changes,
    }


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Carry out a run with changes, its dataset loaded anew, in the folder tmp_path/run unless another is named."""

    def call(stage: str = "search", seed: int = 0, folder: str = "run", on_epoch: Any = None, **options: Any):
        monkeypatch.setattr(run, "_datasets", Datasets())
        fields = Order.__dataclass_fields__
        order = {k: v for k, v in options.items() if k in fields}
        value = payload(stage, seed, **{k: v for k, v in options.items() if k not in fields})
        return run.execute(Order(value, tmp_path / folder, **order), on_epoch=on_epoch)

    return call


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Write a method of the user's whose loss is `body`, and return the run's changes that use it."""

    def write(body: str) -> dict[str, Any]:
        (tmp_path / "own_method.py").write_text(
            "import torch\nfrom sweeper.models.method import Method\n\n\nclass Own(Method):\n"
            f'    """A method of the user\'s."""\n\n    def loss(self, output, batch, ctx):\n        {body}\n'
        )
        monkeypatch.syspath_prepend(tmp_path)
        sys.modules.pop("own_method", None)
        return {"method": {"name": "own_method.own"}}

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
    load = cache.load_dataset

    def spoiled(*arguments: Any, **options: Any) -> Any:
        dataset = load(*arguments, **options)
        for array in dataset.inputs.values():
            array[dataset.rows["test"]] = np.nan
        dataset.target[dataset.rows["test"]] = -1
        return replace(dataset, rows=Sealed(dataset.rows))

    return lambda: monkeypatch.setattr(cache, "load_dataset", spoiled)


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
    result = execute(train={"epochs": 6, "lr": 0.5})
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
    monkeypatch.setattr(run, "SAVE_EVERY_SECONDS", 0.0)
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
    result = execute(**plugin('raise ValueError("no\\n  good")'))
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
    result = execute(**plugin(body))
    assert (result["status"], result["error"]["class"]) == ("failed", "OOM")


def test_a_loss_that_is_not_finite_is_divergence(execute, plugin):
    result = execute(**plugin("return output.fused.sum() * float('nan')"))
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


def test_what_only_is_lacking_is_done(execute, tmp_path):
    """A finished run whose weights are there is tested under a further condition, and not trained again."""
    seen: list[Any] = []
    first = execute("final")
    curve = (tmp_path / "run" / "curve.json").read_bytes()
    told = tmp_path / "run" / "result.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"hardware": {"capability": "another"}}))
    second = execute("final", conditions=["clean", "feature-5"], on_epoch=seen.append)
    assert seen == []
    assert list(second["metrics"]) == ["validation", "test/clean", "test/feature-5"]
    assert {**second["metrics"], "test/feature-5": 0} == {**first["metrics"], "test/feature-5": 0}
    assert second["seconds"] > first["seconds"]
    assert second["hardware"] == {"capability": "another"}  # which trained it
    assert (tmp_path / "run" / "curve.json").read_bytes() == curve
    assert (tmp_path / "run" / "predictions-feature-5.npz").exists()
    (tmp_path / "run" / "best.pt").unlink()
    third = execute("final", conditions=["feature-10"], on_epoch=seen.append)
    assert len(seen) == 4
    assert third["metrics"] == second["metrics"] | {"test/feature-10": third["metrics"]["test/feature-10"]}
    with np.load(tmp_path / "run" / "predictions.npz") as clean:
        assert len(clean["index"]) == 40  # of test, not those on validation


def test_a_training_that_runs_share_outlives_them(execute, tmp_path):
    shared, seen = tmp_path / "trainings" / "t.pt", []
    first = execute("final", folder="lr", method={"name": "rw", "regressor": "lr"}, training=shared)
    rf = {"name": "rw", "regressor": "rf"}
    second = execute("final", folder="rf", method=rf, training=shared, on_epoch=seen.append)
    assert seen == []
    assert shared.exists()
    assert second["curve"] == first["curve"]
    assert second["metrics"] != first["metrics"]
    assert second["metrics"] == execute("final", folder="alone", method=rf)["metrics"]
    assert not list(tmp_path.glob("*/checkpoint.pt"))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_result_says_which_weights_were_kept(execute, keep):
    result = execute(train={"epochs": 6, "lr": 0.5, "keep": keep})
    assert result["kept"] == keep
    assert result["best_epoch"] < 6 or keep == "last"
    assert result["curve"][result["best_epoch"] - 1] == result["metrics"]["validation"]["accuracy"]


def test_runs_of_one_dataset_load_it_once_whatever_it_is_called(tmp_path, monkeypatch):
    loads: list[str] = []
    monkeypatch.setattr(
        cache,
        "load_dataset",
        lambda name, *given, **more: loads.append(name) or load_dataset(name, *given, **more),
    )
    monkeypatch.setattr(run, "_datasets", Datasets())
    for seed, label in enumerate(("one", "two", "two")):
        value = payload(seed=seed, dataset={**DATASET, "fingerprint": "f", "label": label})
        assert run.execute(Order(value, tmp_path / str(seed)))["status"] == "done"
    assert loads == ["synthetic"]


@pytest.mark.parametrize("body", ["return super().loss(output, batch, ctx)", "raise ValueError"])
def test_memory_is_given_back_after_every_run(execute, plugin, monkeypatch, body):
    given_back: list[bool] = []
    monkeypatch.setattr(run.memory, "trim", lambda: given_back.append(True))
    result = execute(**plugin(body))
    assert given_back == [True]
    assert result["memory_mb"] > 50
    assert result["gpu_memory_mb"] == result["gpu_total_mb"] == 0.0


def test_the_options_of_a_dataset_are_all_but_what_it_is_called():
    named = {**DATASET, "fingerprint": "f", "label": "small"}
    assert run.options_of(named) == {"train": 64, "validation": 48, "test": 40}


def test_what_a_result_lacks():
    wanted = payload("final", conditions=["clean", "feature-5"])
    tested = {"validation": {}, "test/clean": {}}
    assert run.uncovered({"status": "done", "metrics": tested}, wanted) == ["feature-5"]
    assert run.uncovered({"status": "done", "metrics": tested}, payload("search")) == []
    assert run.uncovered({"status": "diverged"}, wanted) == []


SPEC = load_dataset("synthetic", run.options_of(DATASET)).spec


def test_what_fits_together_builds():
    run.check_builds(SPEC, payload("final", conditions=["clean", "gaussian-5"]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": {"name": "jont"}}, "did you mean 'joint'"),
        ({"method": {"name": "lfm", "tau": 0.0}}, "tau is 0.0; admissible: a number above 0"),
        ({"fusion": {"name": "decoder"}}, "fusion 'decoder' is for segmentation"),
        (
            {"method": {"name": "rw", "match": "matched"}, "fusion": None, "conditions": ["clean", "salt-5"]},
            "method 'rw' cannot be tested under 'salt-5'; admissible: clean, gaussian-5, gaussian-10",
        ),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused(changes, told):
    with pytest.raises(UserError, match=told):
        run.check_builds(SPEC, payload("final", **changes))


def test_a_method_that_fits_to_every_condition_may_be_tested_under_each():
    matched = {"name": "rw", "match": "matched", "noise": ["salt-5"]}
    run.check_builds(SPEC, payload("final", method=matched, fusion=None, conditions=["clean", "salt-5"]))


def test_what_a_plugin_raises_when_it_is_built_is_told_in_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "no_way.py").write_text(
        "from sweeper.models.method import Method\n\n\nclass Odd(Method):\n"
        '    def __init__(self, net, task):\n        raise ValueError("no\\n  way")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"method 'odd' cannot be built \(ValueError: no way\)"):
        run.check_builds(SPEC, payload(method={"name": "no_way.odd"}))
