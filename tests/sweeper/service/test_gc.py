"""`sweeper gc`: what no study needs goes, and only when it is asked for; the same studies then redo nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper import bridge
from sweeper.ledger.file import Ledger
from sweeper.models.training import run as training

FIXED = {"train.optimizer": "sgd", "train.lr": 0.1, "train.weight_decay": 0.0, "train.batch_size": 32}
SMALL = {
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48, "signal": 4.0},
    "search": {"configurations": 1},
    "train": {"epochs": 3},
    "space": FIXED,
}
STOPS = '''
import os
from pathlib import Path
from sweeper.models.method import Method


class Stops(Method):
    """Joint training that Ctrl-C ends in its third epoch, until it may go on."""

    def on_epoch_start(self, ctx):
        if ctx.epoch == 2 and not Path(os.environ["GO_ON"]).exists():
            raise KeyboardInterrupt
'''


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def swept(here, study_file):
    """Carry out a small study with changes."""
    return lambda **changes: here("run", study_file(**{**SMALL, **changes}))


@pytest.fixture
def files(store) -> Callable[[], dict[str, bytes]]:
    """What the storage holds, but for the tables and for whoever holds the ledger."""
    return lambda: {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".holder") and "studies" not in path.parts
    }


def folders(store: Path) -> set[str]:
    return {path.name for path in (store / "runs").iterdir()}


def keys(told) -> set[str]:
    return {run.key for run in told.runs}


def methods_of(told) -> list[str]:
    return [run.arm.method.name for run in told.runs]


def test_a_storage_of_which_all_is_needed_keeps_it(here, swept, files):
    swept(
        methods=["joint", "ogm"], search={"configurations": 3, "seeds": [0, 1], "racing": "halving"}, space={}
    )
    before = files()
    told = here("gc", "--remove")
    assert (told.code, told.out, told.err) == (0, "there is nothing to remove\n", "")
    assert files() == before


def test_an_index_that_was_not_finished_goes_and_a_whole_one_stays(here, swept, store):
    swept(methods=["joint"])
    (store / "ledger.index").write_bytes(b"whole")
    (store / "ledger.index.x7f").write_bytes(b"half")
    told = here("gc", "--remove")
    assert told.out.splitlines()[:2] == [
        "1 × an index that was not finished: 0.0 MB",
        f"  {store / 'ledger.index.x7f'}",
    ]
    assert sorted(path.name for path in store.glob("ledger.index*")) == ["ledger.index"]


def test_derived_data_that_nothing_used_for_a_month_go_with_all_that_belongs_to_them(here, swept, store):
    swept(methods=["joint"])
    cache = store / "cache"
    (cache / "features-aa").mkdir(parents=True)
    for name in (
        "features-aa/values.npy",
        "features-aa.lock",
        "image-bb.npy",
        "image-bb.json",
        "image-cc.npy",
    ):
        (cache / name).write_bytes(b"12345")
    (cache / "image-cc.json").write_bytes(b"1")
    (cache / "fingerprints.json").write_text("{}")
    long_ago = time.time() - 31 * 86400
    for path in cache.rglob("*"):
        if path.name != "image-cc.npy":  # one of the two was used
            os.utime(path, (long_ago, long_ago))
    told = here("gc", "--remove")
    lines = told.out.splitlines()
    assert lines[0].startswith("4 × samples or features that nothing used for 30 days: ")
    names = ("features-aa", "features-aa.lock", "image-bb.json", "image-bb.npy")
    assert [line.strip() for line in lines[1:5]] == [str(cache / name) for name in names]
    assert {path.name for path in cache.iterdir()} == {"fingerprints.json", "image-cc.json", "image-cc.npy"}


def test_it_tells_before_it_removes_what_no_plan_refers_to(here, swept, store, files):
    first = swept(methods=["joint", "ogm"])
    fewer = swept(methods=["joint"])
    assert fewer.runs == []
    gone = {run.key for run in first.runs if run.arm.method.name == "ogm"}
    assert len(gone) == 2
    before = files()
    told = here("gc")
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    size = sum(len(content) for name, content in before.items() if any(key in name for key in gone))
    assert lines[0] == f"2 × a run that no study refers to: {size / 2**20:.1f} MB"
    assert {line.strip() for line in lines[1:3]} == {str(store / "runs" / key) for key in gone}
    assert lines[3:] == [f"in all {size / 2**20:.1f} MB", "nothing is removed yet; --remove does it"]
    assert files() == before

    told = here("gc", "--remove")
    assert told.out.splitlines() == [*lines[:4], "removed"]
    assert folders(store) == keys(first) - gone
    assert files() == {
        name: content for name, content in before.items() if not any(key in name for key in gone)
    }
    assert here("gc").out == "there is nothing to remove\n"

    again = swept(methods=["joint"])
    assert (again.code, again.runs, again.out) == (0, [], fewer.out)
    # the ledger holds all results, of what has no folder as well
    again = swept(methods=["joint", "ogm"])
    assert (again.code, again.runs, again.out) == (0, [], first.out)


@pytest.mark.parametrize(("goes_on", "lost"), [("one", "joint"), ("two", "uniform")])
def test_what_another_study_needs_stays(here, swept, store, goes_on, lost):
    """Whichever of two studies that share the runs of ogm does without them from now on."""
    methods = {"one": ["joint", "ogm"], "two": ["ogm", "uniform"]}
    first, second = (swept(study=name, methods=own) for name, own in methods.items())
    assert methods_of(second) == ["uniform"] * 2  # it took what there was of ogm
    assert swept(study=goes_on, methods=["lfm"]).code == 0
    every = [*first.runs, *second.runs]
    here("gc", "--remove")
    assert {run.key for run in every} - folders(store) == {
        run.key for run in every if run.arm.method.name == lost
    }
    stays = {"one": "two", "two": "one"}[goes_on]
    again = swept(study=stays, methods=methods[stays])
    assert again.runs == []
    assert again.table == {"one": first, "two": second}[stays].table


def test_what_was_done_by_other_code_stays_where_it_counts(here, swept, store, monkeypatch):
    search = {"configurations": 3, "seeds": [0, 1], "racing": "halving"}
    first = swept(methods=["joint"], search=search, space={})
    monkeypatch.setattr(bridge, "code_digest", lambda parts: "other code")
    second = swept(methods=["joint"], search=search, space={}, reuse="any")
    assert second.runs == []
    assert here("gc").out == "there is nothing to remove\n"
    swept(methods=["joint"], search=search, space={}, reuse="code")
    here("gc", "--remove")
    assert folders(store).isdisjoint(keys(first))


@pytest.mark.parametrize(
    ("policies", "kept"),
    [
        (["all"], {"best.pt", "checkpoint.pt"}),
        (["best"], {"best.pt"}),
        (["none"], set()),
        (["none", "best"], {"best.pt"}),
        (["best", "none"], {"best.pt"}),
        (["all", "none"], {"best.pt", "checkpoint.pt"}),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else "-".join(value),
)
def test_checkpoints_are_those_that_a_study_keeps(here, swept, store, policies, kept):
    first = swept(study="study-0", methods=["joint"], checkpoints="all")
    (a, b) = keys(first)
    assert {path.name for path in (store / "runs" / a).glob("*.pt")} == {"best.pt", "checkpoint.pt"}
    for number, policy in enumerate(policies):
        assert swept(study=f"study-{number}", methods=["joint"], checkpoints=policy).runs == []
    told = here("gc", "--remove")
    for key in (a, b):
        found = {path.name for path in (store / "runs" / key).iterdir()}
        assert found == {"run.json", "result.json", "curve.json", "predictions.npz"} | kept
    lost = 2 * (2 - len(kept))
    assert told.out.startswith(f"{lost} × a checkpoint that no study keeps: " if lost else "there is nothing")
    assert swept(study="study-0", methods=["joint"], checkpoints=policies[0]).out == first.out


def test_trainings_are_kept_while_a_run_shares_them(here, swept, store):
    methods = [{"name": "rw", "label": kind, "space": {"regressor": kind}} for kind in ("lr", "rf")]
    first = swept(methods=[*methods, "joint"])
    shared = sorted((store / "trainings").iterdir())
    assert len(shared) == 2
    swept(methods=[methods[0], "joint"])
    told = here("gc", "--remove")
    assert told.out.startswith("2 × a run that no study refers to")
    assert sorted((store / "trainings").iterdir()) == shared
    assert swept(methods=[*methods, "joint"]).out == first.out
    swept(methods=["joint"])
    told = here("gc", "--remove")
    assert "2 × a training that no run shares" in told.out
    assert list((store / "trainings").iterdir()) == []


def test_more_than_ten_of_a_kind_are_counted(here, swept, store):
    swept(methods=["joint"], final={"seeds": list(range(100, 114))})
    swept(methods=["ogm"])
    lines = here("gc").out.splitlines()
    assert lines[0].startswith("14 × a run that no study refers to")
    assert lines[11] == "  and 4 more"
    assert len(lines) == 14


def test_half_done_runs_of_a_study_that_goes_on_stay(here, swept, store, tmp_path, monkeypatch):
    (tmp_path / "stops.py").write_text(STOPS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GO_ON", str(tmp_path / "go on"))
    monkeypatch.setattr(training, "SAVE_EVERY_SECONDS", 0.0)
    changes = {"methods": ["joint", "stops"], "plugins": ["stops"]}
    first = swept(**changes)
    assert first.code == 130
    half = first.runs[-1]
    assert half.arm.method.name == "stops"
    folder = store / "runs" / half.key
    assert {path.name for path in folder.iterdir()} == {"run.json", "checkpoint.pt"}
    assert half.key not in Ledger(store / "ledger.jsonl").runs

    assert here("gc", "--remove").out == "there is nothing to remove\n"
    (tmp_path / "go on").touch()
    second = swept(**changes)
    assert second.code == 0
    assert keys(first) & {run.key for run in second.runs} == {half.key}
    curve = json.loads((folder / "curve.json").read_text())
    assert [epoch["epoch"] for epoch in curve] == [1, 2, 3]


def test_half_done_runs_of_a_study_that_does_without_them_go(here, swept, store, tmp_path, monkeypatch):
    (tmp_path / "stops.py").write_text(STOPS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GO_ON", str(tmp_path / "go on"))
    half = swept(methods=["stops", "joint"], plugins=["stops"]).runs[-1]
    swept(methods=["joint"])
    told = here("gc", "--remove")
    assert told.out.startswith("1 × a run that no study refers to")
    assert half.key not in folders(store)


def test_without_a_ledger_there_is_nothing_to_look_into(here, store):
    told = here("gc", "--remove")
    assert (told.code, told.out) == (2, "")
    assert told.err == f"sweeper: there is no ledger in {store}; name the storage by --storage\n"
    assert not store.exists()


def test_a_storage_that_a_study_uses_is_left_alone(here, swept, store, files):
    swept(methods=["joint", "ogm"])
    swept(methods=["joint"])
    before, other = files(), Ledger(store / "ledger.jsonl")
    other.lock()
    told = here("gc", "--remove")
    other.unlock()
    assert told.code == 2
    assert "is in use by process" in told.err
    assert files() == before


def test_what_mlflow_shows_of_a_run_by_links_goes_with_it(here, swept, store):
    """Else nothing would be freed; what it shows of other runs stays."""
    own, other = keys(swept(methods=["joint"])), keys(swept(methods=["ogm"]))
    links = {}
    for key in own | other:
        links[key] = store / "mlartifacts" / f"shown-{key}" / "artifacts" / "best.pt"
        links[key].parent.mkdir(parents=True)
        links[key].hardlink_to(store / "runs" / key / "best.pt")
    told = here("gc")
    assert f"{len(own)} × the same file among MLflow's artifacts: 0.0 MB" in told.out
    here("gc", "--remove")
    assert {key for key, link in links.items() if link.exists()} == other
