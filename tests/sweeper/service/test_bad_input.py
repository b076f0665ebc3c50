"""What a user can get wrong: one line that begins `sweeper: `, exit code 2, and nothing written below the storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ray

from sweeper.cli import main
from sweeper.running import cluster, room

Refused = Callable[..., str]


@pytest.fixture
def pretended(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there is a cluster of 4 CPUs; a slow test gets a real one."""
    if request.node.get_closest_marker("slow"):
        return
    for name in ("start", "stop"):
        monkeypatch.setattr(cluster, name, lambda *_: None)
    monkeypatch.setattr(room, "present", lambda: [{"CPU": 4.0}])


@pytest.fixture
def refused(
    pretended: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Run the command line, see that it refuses properly, and return the sentence."""
    monkeypatch.delenv("SWEEPER_DATA", raising=False)
    monkeypatch.delenv("SWEEPER_STORAGE", raising=False)
    store = tmp_path / "store"

    def call(command: str, *arguments: object, storage: object = store) -> str:
        code = main([command, *map(str, arguments), "--storage", str(storage)])
        told = capsys.readouterr()
        assert code == 2
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert told.err.startswith("sweeper: ")
        assert not store.exists() or os.listdir(store) == []
        return told.err

    return call


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"methods": ["jont"]}, "did you mean 'joint'"),
        (
            {"dataset": "digits", "methods": ["jont"]},
            "did you mean 'joint'",
        ),  # data that are hashed into the cache
        ({"dataset": "synthetik"}, "did you mean 'synthetic'"),
        ({"dataset": {"name": "synthetic", "trian": 64}}, "did you mean 'train'"),
        ({"fusion": "concatt"}, "did you mean 'concat'"),
        ({"encoders": {"m0": "mpl"}}, "did you mean 'mlp'"),
        ({"encoders": {"m9": "mlp"}}, "unknown modality 'm9'"),
        ({"train": {"epoch": 2}}, "did you mean 'epochs'"),
        ({"methods": [{"name": "unimodal", "space": {"modalty": "m0"}}]}, "did you mean 'modality'"),
        ({"methods": [{"name": "unimodal", "space": {"modality": "m9"}}]}, "unknown modality 'm9'"),
        (
            {"methods": [{"name": "unimodal", "space": {"modality": {"choice": ["m0", "m9"]}}}]},
            "unknown modality 'm9' in method",
        ),
        ({"select": {"metric": "acuracy"}}, "did you mean 'accuracy'"),
        ({"report": {"metrics": ["acuracy"]}}, "did you mean 'accuracy'"),
        ({"plugins": ["no_such_module"]}, "plugin 'no_such_module' cannot be imported"),
        ({"serch": {}}, "did you mean 'search'"),
        ({"search": {"configuration": 3}}, "did you mean 'configurations'"),
        ({"search": {"configurations": "three"}}, "'three'"),
        ({"search": {"configurations": 0}}, "greater than or equal to 1"),
        ({"final": {"seeds": ["a"]}}, "'a'"),
        ({"final": {"seeds": []}}, "final.seeds"),
        ({"final": {"seeds": [7, 7]}}, "twice"),
        ({"train": {"epochs": "many"}}, "a whole number"),
        ({"checkpoints": "some"}, "best"),
        ({"search": {"seeds": [5, 6]}, "final": {"seeds": [6, 7]}}, "seed 6"),
        ({"space": {"train.lr": {"float": []}}}, "at least one value"),
        ({"space": {"train.lr": {"float": [0.2, 0.1]}}}, "low"),
        ({"space": {"train.optimizer": {"choice": ["sgd", "lion"]}}}, "sgd | adam | adamw"),
        ({"methods": [{"name": "joint", "space": {"tau": {"float": [0.1, 1.0]}}}]}, "'tau'"),
        ({"methods": ["lfm"], "dataset": {"name": "synthetic", "modalities": 1}}, "at least 2 modalities"),
        ({"methods": ["joint", "joint"]}, "label"),
        ({"study": "x" * 101}, "100"),
        ({"train": {"lr": float("inf")}}, "train.lr is inf; admissible: a number from 0"),
        ({"conditions": ["salt-101"]}, "level is 101.0; admissible: a number from 0 to 100"),
        ({"select": {"metric": "weight"}}, "write weight/<modality>"),
        ({"report": {"metrics": ["accuracy/m7"]}}, "admissible: m0, m1"),
        ({"report": {"rows": ["method"], "columns": ["method"]}}, "in report.rows and in report.columns"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_a_study_that_is_wrong(refused: Refused, study_file, changes, told):
    assert told in refused("run", study_file(**changes))


def test_an_override_that_is_wrong(refused: Refused, study_file):
    assert "a.b=c" in refused("run", study_file(), "--set", "epochs")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("study: [", "YAML"),
        ("", "mapping"),
        ("- joint", "mapping"),
        ("study: x\ndataset: digits", "missing"),
    ],
)
def test_a_file_that_is_no_study(refused: Refused, tmp_path, text, told):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    assert told in refused("run", path)


def test_a_study_that_is_not_there(refused: Refused, tmp_path):
    assert "does not exist" in refused("run", tmp_path / "none.yaml")
    assert "did you mean 'quickstart'" in refused("run", "quickstar")


def test_data_that_are_not_there(refused: Refused, study_file, tmp_path):
    study = study_file(dataset="digits3", methods=["joint"])
    assert "--data-root or SWEEPER_DATA" in refused("run", study)
    assert "put the file of spoken, written and signed digits there" in refused(
        "run", study, "--data-root", tmp_path
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fusion": "decoder"}, "fusion 'decoder' is for segmentation"),
        ({"encoders": {"m0": "convnet"}}, "encoder 'convnet' takes"),
        ({"encoders": {"m0": {"name": "mlp", "dim": -3}}}, "dim is -3"),
        ({"methods": [{"name": "lfm", "space": {"tau": 0.0}}]}, "tau is 0.0; admissible: a number above 0"),
        ({"methods": [{"name": "ogm", "space": {"start": 0.9, "end": 0.1}}]}, "start 0.9 lies after end 0.1"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together(refused: Refused, study_file, changes, told):
    assert told in refused("run", study_file(**{"methods": ["joint"], **changes}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"conditions": ["clean", "blur-5"]},
            "'blur-5' fits no modality of dataset 'synthetic': m0 (vector)",
        ),
        ({"conditions": ["gaussian-5@m9"]}, "unknown modality 'm9' in condition 'gaussian-5@m9'"),
        ({"conditions": [{"name": "gaussian-5", "mode": "qmf"}]}, "(mode qmf)' fits no modality"),
        ({"resources": {"workers": 2, "gpus": 0.5}}, "a run on several needs whole GPUs, or none"),
    ],
    ids=str,
)
def test_what_is_refused_is_refused_by_plan_too(refused: Refused, study_file, changes, told):
    for command in ("plan", "run"):
        assert told in refused(command, study_file(**changes))


def test_a_condition_that_a_method_was_not_fitted_to(refused: Refused, study_file):
    """Whether the method file's defaults say so or the study does; before any run, and before anything is written."""
    told = refused("run", study_file(methods=["rw"], conditions=["clean", "salt-5"]))
    assert told == (
        "sweeper: arm synthetic (train 64, validation 48, test 48)/default/none/rw: method 'rw' cannot be tested under"
        " 'salt-5'; admissible: clean, gaussian-5, gaussian-10\n"
    )
    matched = {"name": "rw", "space": {"match": "matched", "noise": ["salt-5"]}}
    told = refused("run", study_file(methods=[matched], conditions=["salt-5", "salt-10"]))
    assert "'salt-10'; admissible: clean, salt-5\n" in told


def test_a_further_condition_that_a_method_was_not_fitted_to(here, study_file, tmp_path):
    """What has been run before is checked again for what is new."""
    study = {
        "methods": ["rw"],
        "search": {"configurations": 1},
        "final": {"seeds": [100]},
        "train": {"epochs": 1},
    }
    assert here("run", study_file(**study, conditions=["clean", "gaussian-5"])).code == 0
    ledger = tmp_path / "store" / "ledger.jsonl"
    before = ledger.read_bytes()
    told = here("run", study_file(**study, conditions=["clean", "gaussian-5", "salt-5"]))
    assert (told.code, told.out, told.runs) == (2, "", [])
    assert "'salt-5'; admissible: clean, gaussian-5, gaussian-10" in told.err
    assert ledger.read_bytes() == before


@pytest.mark.slow  # once with a cluster that starts meanwhile, and ends
def test_a_plugin_that_imports_what_is_not_there(refused: Refused, study_file, tmp_path, monkeypatch):
    text = 'import no_such_library\nfrom sweeper.models.method import Method\n\n\nclass Odd(Method):\n    """Odd."""\n'
    (tmp_path / "odd_method.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    told = refused("run", study_file(methods=["odd"], plugins=["odd_method"]))
    assert "No module named 'no_such_library'" in told
    assert not ray.is_initialized()


GOOD = {
    "x_a": np.ones((12, 3), np.float32),
    "x_b": np.ones((12, 2), np.float32),
    "y": np.tile([0, 1, 2], 4),
    "split": np.repeat(["train", "validation", "test"], [6, 3, 3]),
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"x_b": np.ones((11, 2))}, "x_b has shape (11, 2)"),
        ({"x_b": np.full((12, 2), np.nan)}, "NaN"),
        ({"x_b": np.full((12, 2), np.inf)}, "infinity"),
        ({"y": np.tile([-1, 1, 2], 4)}, "labels reach from -1"),
        ({"y": np.tile([0.5, 1, 2], 4)}, "unknown metric 'accuracy' in regression; "),
        ({"y": np.repeat([0, 1, 2], [3, 3, 6])}, "class 2"),
        ({"split": np.repeat(["train", "held out", "test"], [6, 3, 3])}, "'held out'"),
        ({"x_b": np.full((12, 2), "word")}, "plain numbers"),
        ({"x_b": np.full((12, 2), None)}, "an array of Python objects; pad it to one shape"),
    ],
    ids=str,
)
def test_arrays_that_cannot_be_used(refused: Refused, study_file, tmp_path, changes, told):
    np.savez(tmp_path / "own.npz", **{**GOOD, **changes})
    study = study_file(dataset={"name": "arrays", "path": "own.npz"}, methods=["joint"])
    assert told in refused("run", study, "--data-root", tmp_path)


def test_a_file_of_arrays_that_is_damaged(refused: Refused, study_file, tmp_path):
    (tmp_path / "own.npz").write_text("no archive")
    study = study_file(dataset={"name": "arrays", "path": "own.npz"}, methods=["joint"])
    assert "cannot be read" in refused("run", study, "--data-root", tmp_path)


def test_a_method_that_needs_two_modalities(refused: Refused, study_file, tmp_path):
    np.savez(tmp_path / "own.npz", **{k: v for k, v in GOOD.items() if k != "x_b"})
    study = study_file(dataset={"name": "arrays", "path": "own.npz"}, methods=["lfm"])
    assert "at least 2 modalities" in refused("run", study, "--data-root", tmp_path)


@pytest.mark.parametrize("below", ["taken", "taken/deeper"])
def test_a_storage_that_cannot_be_written(refused: Refused, study_file, tmp_path, below):
    (tmp_path / "taken").write_text("a file, not a folder")
    assert "not writable" in refused("run", study_file(), storage=tmp_path / below)
    assert sorted(os.listdir(tmp_path)) == ["study.yaml", "taken"]


def test_a_storage_without_a_name(refused: Refused, study_file):
    assert "storage is empty" in refused("run", study_file(), storage="")


def test_a_storage_of_an_unknown_kind(refused: Refused, study_file):
    assert "'gs'" in refused("run", study_file(), storage="gs://bucket/sweeps")


@pytest.mark.parametrize("storage", ["http://[", "a" * 300, "~no_such_user/x", "file:///a%00b"])
def test_a_storage_that_is_no_path(refused: Refused, study_file, storage):
    for command, word in (("run", study_file()), ("status", "tiny")):
        assert refused(command, word, storage=storage).startswith("sweeper: storage ")


def test_questions_about_what_is_not_there(refused: Refused):
    assert "'nothing'" in refused("report", "nothing")
    assert "'nothing'" in refused("status", "nothing")
    assert "no run begins with 'abc'" in refused("repro", "abc")


def test_a_tracking_server_that_cannot_be_read(refused: Refused, tmp_path):
    assert "cannot be read" in refused("report", "tiny", "--from-mlflow", "foo://bar")
    missing = f"sqlite:///{tmp_path}/none.db"
    assert "there is no MLflow database" in refused("report", "tiny", "--from-mlflow", missing)
    assert not (tmp_path / "none.db").exists()


def test_a_format_that_is_not_known(refused: Refused):
    assert "did you mean 'latex'" in refused("report", "tiny", "--format", "latx")


def test_more_than_the_cluster_has(refused: Refused, study_file):
    study = study_file(resources={"workers": 2, "cpus": 1000})
    assert "needs 2 × (1000 CPU, 0 GPU), but the cluster has 4 CPU and 0 GPU" in refused("run", study)
