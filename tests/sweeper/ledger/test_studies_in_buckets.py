"""A study in a bucket: the table of the same study in a folder, whatever dies and wherever it is gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import yaml

from sweeper import ROOT
from sweeper.cli import main
from sweeper.ledger.records import Proposed, RunRecord
from sweeper.ledger.uris import locate
from sweeper.running import ranks
from sweeper.running.orders import execute_here
from sweeper.running.ranks import execute_on_workers
from tests.sweeper.conftest import TINY

PATIENCE = 180.0  # on a machine that others use too
SLOW = '''
import time
from sweeper.models.method import Method


class Slow(Method):
    """Joint training that takes its time."""

    def on_epoch_start(self, ctx):
        time.sleep(0.2)
'''


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Go on as on a machine of that name, which has its own copies of what lies in the bucket."""
    return lambda name: monkeypatch.setenv("SWEEPER_SCRATCH", str(tmp_path / name))


@pytest.fixture
def uri(objects) -> str:
    return f"s3://{objects.name}/sweeps"


def records(uri: str) -> list[RunRecord]:
    return list(locate(uri).open_ledger().of(RunRecord))


def test_an_archive_is_entered_into_a_bucket_and_written_from_it(
    here, study_file, objects, uri, machine, tmp_path, reading
):
    if reading == "indexed":
        pytest.skip("once is enough")
    here("run", study_file())
    here("export", "tiny", tmp_path / "a.zip", "--weights")
    table = here("report", "tiny").out
    machine("a")
    assert here("import", tmp_path / "a.zip", "--storage", uri).code == 0
    machine("b")
    assert here("report", "tiny", "--storage", uri).out == table
    assert here("import", tmp_path / "a.zip", "--storage", uri).out.startswith("study tiny: 0 runs entered")
    key = records(uri)[-1].key
    assert "matches to the bit" in here("repro", key, "--storage", uri).out
    assert here("run", study_file(), "--storage", uri).runs == []
    here("export", "tiny", tmp_path / "b.zip", "--weights", "--storage", uri)
    with zipfile.ZipFile(tmp_path / "a.zip") as one, zipfile.ZipFile(tmp_path / "b.zip") as two:
        assert one.namelist() == two.namelist()
        same = [name for name in one.namelist() if one.read(name) == two.read(name)]
        assert {"ledger.jsonl", "study.yaml", "study/table.md", f"runs/{key}/best.pt"} <= set(same)


def test_a_study_in_a_bucket_is_that_in_a_folder(here, study_file, objects, uri, machine, store, tmp_path):
    study = study_file()
    folder = here("run", study)
    machine("a")
    bucket = here("run", study, "--storage", uri)
    assert bucket.code == folder.code == 0, bucket.err
    assert bucket.table == folder.table
    assert [run.key for run in bucket.runs] == [run.key for run in folder.runs]
    assert f"  {uri}/studies/tiny/table.md\n" in bucket.out
    assert f"  {uri}/ledger\n" in bucket.out

    machine("b")
    for command in (["report", "tiny"], ["report", "tiny", "--format", "csv"], ["status"], ["plan", study]):
        there, here_ = here(*command, "--storage", uri), here(*command)
        assert there.code == here_.code == 0
        assert [line for line in there.out.splitlines() if " s" not in line] == [
            line for line in here_.out.splitlines() if " s" not in line
        ]
    again = here("run", study, "--storage", uri)
    assert again.runs == []
    assert again.table == folder.table
    key = folder.runs[-1].key
    assert f"run {key}: " in here("repro", key, "--storage", uri).out
    assert "matches to the bit" in here("repro", key, "--storage", uri).out

    names = {key.rpartition("/")[2] for key in objects.list(f"sweeps/runs/{key}/")}
    assert names == {"run.json", "result.json", "curve.json", "best.pt", "predictions.npz"}
    secret = store["AWS_SECRET_ACCESS_KEY"].encode()
    assert not any(secret in objects.get(key).content for key in objects.list(""))
    assert not list((tmp_path / "a" / "work").iterdir())


def test_what_workers_left_without_a_record_is_adopted_and_all_else_follows_from_it(
    here, study_file, objects, uri, machine
):
    """The driver and its machine were lost before a line of the ledger was in the bucket."""
    study = study_file()
    machine("a")
    first = here("run", study, "--storage", uri)
    decided = [(r.arm, r.configuration, r.parameters) for r in locate(uri).open_ledger().of(Proposed)]
    objects.remove(objects.list("sweeps/ledger/"))
    machine("b")
    second = here("run", study, "--storage", uri)
    assert second.runs == []
    assert second.table == first.table
    found = [(r.arm, r.configuration, r.parameters) for r in locate(uri).open_ledger().of(Proposed)]
    assert sorted(found, key=str) == sorted(decided, key=str)


def test_gc_removes_from_the_bucket_what_no_study_needs(here, study_file, objects, uri, machine):
    machine("a")
    study = here("run", study_file(), "--storage", uri)
    objects.put("sweeps/runs/stray/best.pt", b"12")
    here("run", study_file(checkpoints="none"), "--storage", uri)
    machine("b")
    listed = here("gc", "--storage", uri)
    assert f"  {uri}/runs/stray" in listed.out.splitlines()
    assert f"{len(study.runs)} × a checkpoint that no study keeps" in listed.out
    assert here("gc", "--remove", "--storage", uri).out.splitlines()[-1] == "removed"
    assert not [key for key in objects.list("sweeps/runs/") if "stray" in key or key.endswith("best.pt")]
    assert here("gc", "--storage", uri).out == "there is nothing to remove\n"


@pytest.fixture
def order(here, study_file, uri, machine):
    """The order of a run that was carried out in the bucket, its result removed."""
    machine("a")
    key = here("run", study_file(), "--storage", uri).runs[-1].key
    storage = locate(uri)
    found = storage.order(key)
    storage.remove(storage.run(key))
    storage.write(storage.run(key) / "run.json", found)
    return found


def test_a_run_on_several_workers_leaves_its_result_in_the_bucket_and_nothing_of_ray_train(
    order, uri, machine, monkeypatch
):
    class Trainer:
        """Carries the order out as the ranks of another machine would."""

        def __init__(self, loop, **settings):
            self.loop, self.order = loop, settings["train_loop_config"]

        def fit(self):
            here = os.environ["SWEEPER_SCRATCH"]
            machine("another")
            self.loop(self.order)
            machine(here)

    group = SimpleNamespace(id=SimpleNamespace(hex=lambda: "0a"))
    freed = []
    monkeypatch.setattr(ranks, "TorchTrainer", Trainer)
    monkeypatch.setattr(ranks.leaving, "Pulse", lambda _: nullcontext(lambda: False))
    monkeypatch.setattr(ranks, "get_device", lambda: "cpu")
    monkeypatch.setattr(ranks, "get_current_placement_group", lambda: group)
    monkeypatch.setattr(ranks.train, "get_context", lambda: SimpleNamespace(get_world_rank=lambda: 0))
    monkeypatch.setattr(ranks, "remove_placement_group", freed.append)
    monkeypatch.setattr(ranks, "PlacementGroup", lambda id: id)
    monkeypatch.setattr(ray, "PlacementGroupID", bytes)
    assert execute_on_workers({**order, "workers": 2})["status"] == "done"
    storage = locate(uri)
    names = {path.name for path in storage.files(storage.run(order["key"]))}
    assert names == {"run.json", "result.json", "curve.json", "best.pt", "predictions.npz"}

    storage.write(storage.run(order["key"]) / ranks.RESERVED, "0a")  # the trial was killed
    ranks.release(order)
    assert freed == [b"\n"]
    assert not storage.files(storage.run(order["key"]) / ranks.SCRATCH)


def test_a_run_goes_on_from_the_checkpoint_that_another_machine_left(order, uri, machine, monkeypatch):
    from sweeper.models.training import checkpoint

    storage, seen, load = locate(uri), [], checkpoint.load
    with storage.lend(storage.run(order["key"])) as folder:
        checkpoint.save(folder / "checkpoint.pt", {"not": "a checkpoint"})
    monkeypatch.setattr(checkpoint, "load", lambda path, device: seen.append(load(path, device)))
    machine("b")
    assert execute_here(order)["status"] == "done"
    assert {"not": "a checkpoint"} in seen
    assert storage.read(storage.run(order["key"]) / "checkpoint.pt") is None


class Drivers:
    """Drivers in processes of their own, each as on a machine of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started: list[subprocess.Popen[str]] = []
        (root / "slow.py").write_text(SLOW)
        changes = {"methods": ["joint", "slow"], "plugins": ["slow"], "train": {"epochs": 4}}
        (root / "slow.yaml").write_text(yaml.safe_dump({**TINY, **changes}))

    def start(self, storage: object, machine: str, *changes: str) -> subprocess.Popen[str]:
        given = [option for change in changes for option in ("--set", change)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.root)]),
            "SWEEPER_SCRATCH": str(self.root / machine),
        }
        driver = subprocess.Popen(
            [sys.executable, "-m", "sweeper.cli", "run", "slow.yaml", "--storage", str(storage), *given],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(driver)
        return driver

    def run(self, storage: object, machine: str, *changes: str) -> list[str]:
        driver = self.start(storage, machine, *changes)
        out, err = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, err
        return [line for line in out.splitlines() if line.startswith("|")]


@pytest.fixture
def drivers(tmp_path, objects) -> Iterator[Drivers]:
    made = Drivers(tmp_path)
    yield made
    for driver in made.started:
        driver.kill()
        driver.communicate()


@pytest.mark.slow
def test_a_driver_is_killed_and_another_machine_goes_on(drivers, tmp_path, uri, machine, monkeypatch, capsys):
    undisturbed = drivers.run(tmp_path / "folder", "a")
    whole = {record.key for record in records(str(tmp_path / "folder"))}
    driver = drivers.start(uri, "b")
    machine("reader")
    end = time.monotonic() + PATIENCE
    while len(records(uri)) < 3:
        assert driver.poll() is None, driver.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.2)

    monkeypatch.syspath_prepend(tmp_path)
    machine("second")
    assert main(["run", str(tmp_path / "slow.yaml"), "--storage", uri]) == 2
    said = f"sweeper: storage '{uri}' is in use by process {driver.pid} on {os.uname().nodename}; wait for it"
    assert capsys.readouterr().err.startswith(said)

    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    done = [record.key for record in records(uri)]
    assert 3 <= len(done) < len(whole)
    assert drivers.run(uri, "c") == undisturbed
    machine("reader")
    found = [record.key for record in records(uri)]
    assert found[: len(done)] == done
    assert sorted(found) == sorted(whole)  # each once

    place = locate(uri)
    assert {path.name for path in place.files(place.study("tiny"))} >= {"table.md", "study.yaml", "table.pdf"}
    assert drivers.run(uri, "d") == undisturbed


@pytest.mark.slow
def test_a_study_of_runs_on_two_workers(drivers, tmp_path, uri):
    changes = ("resources.workers=2", f"resources.cpus={(os.cpu_count() or 1) / 2}", "final.seeds=[100]")
    changes += ("search.configurations=1", "search.seeds=[0]", "methods=[joint]", "train.epochs=2")
    assert drivers.run(uri, "a", *changes) == drivers.run(tmp_path / "folder", "a", *changes)
    storage = locate(uri)
    assert not [path for path in storage.files(storage.root / "runs") if ranks.SCRATCH in path.parts]
