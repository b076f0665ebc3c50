"""Ray itself killed, workers that hang, a disk that is full, Ctrl-C twice: a sentence, nothing lost, nothing left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.running.processes import descendants, processes
from tests.sweeper.running.place import STOPPING, Place, keys, records, small_disk, table, wait

pytestmark = pytest.mark.slow

HANGING = '''
import os, time
from pathlib import Path
from sweeper.models.method import Method


class Hanging(Method):
    """Joint training that hangs once."""

    def on_epoch_start(self, ctx):
        mark = Path(os.environ["MARKS"]) / "hung"
        if ctx.epoch == 1 and not mark.exists():
            mark.touch()
            time.sleep(10_000)
'''
LONG = '''
import os, time
from pathlib import Path
from sweeper.models.method import Method


class Long(Method):
    """Joint training that notes every epoch it begins."""

    def on_epoch_start(self, ctx):
        with (Path(os.environ["MARKS"]) / "epochs").open("a") as marks:
            marks.write(f"{ctx.epoch}\\n")
        time.sleep(0.5)
'''
FIXED = {"train.optimizer": "sgd", "train.lr": 0.05, "train.weight_decay": 0.0, "train.batch_size": 32}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    (tmp_path / "hanging.py").write_text(HANGING)
    (tmp_path / "long.py").write_text(LONG)
    yield made
    for driver in made.started:
        if driver.poll() is None:
            driver.kill()
        driver.communicate()


def one(place: Place, method: str, epochs: int, **changes: object) -> Path:
    """A study of a single run."""
    entry = {"name": method, "space": FIXED}
    final, train = {"seeds": [100]}, {"epochs": epochs}
    return place.study(methods=[entry], plugins=[method], final=final, train=train, **changes)


def core(place: Place, name: str) -> int | None:
    """The number of the driver's process of Ray, if it is there."""
    mine = {p.pid for p in processes().values() if p.name == name}
    return next((pid for pid in place.processes() if pid in mine), None)


@pytest.mark.parametrize("victim", ["raylet", "gcs_server"])
@pytest.mark.parametrize("early", [True, False])
def test_ray_killed_as_the_study_starts_or_later(place, victim, early):
    storage, study = place.root / "store", place.study()
    driver = place.start(storage, study)
    pid = wait(lambda: core(place, victim), victim)
    if not early:
        wait(lambda: len(records(storage)) >= 2, "the first runs")
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    _, err = driver.communicate(timeout=90)
    # Ray waits 15 s for its own start with the interpreter's lock
    assert time.monotonic() - began < (25 if early else 20)
    last, died = err.splitlines()[-1], f"sweeper: Ray's process {victim!r} died; what is done is kept"
    if early:  # it may die before or after Ray's own start has seen it
        assert driver.returncode in (1, 2)
        assert last.startswith((died, "sweeper: Ray did not start ("))
    else:
        assert driver.returncode == 1
        assert last == f"{died}, and the same command goes on from here"
    wait(lambda: not place.processes(), "the end of all processes", 20)
    if not early:
        done = keys(storage)
        code, _, err = place.run(storage, study)
        assert code == 0, err
        assert len(records(storage)) == len(keys(storage))
        assert keys(storage).items() >= done.items()


def test_interrupted_a_run_saves_its_state_and_goes_on_from_there(place):
    storage, study = place.root / "store", one(place, "long", 12)
    marks = place.marks / "epochs"
    driver = place.start(storage, study)
    wait(lambda: marks.exists() and len(marks.read_text().split()) >= 3, "the third epoch")
    os.killpg(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert STOPPING in err.splitlines()
    assert "| long" in out
    assert records(storage) == []
    wait(lambda: not place.processes(), "the end of all processes", 20)
    before = marks.read_text().split()
    assert len(before) < 12
    code, _, err = place.run(storage, study)
    assert code == 0, err
    assert marks.read_text().split() == [str(epoch) for epoch in range(12)]  # none was trained twice


def test_interrupted_twice_it_ends_at_once(place):
    storage, study = place.root / "store", one(place, "hanging", 3)
    driver = place.start(storage, study)
    wait(lambda: (place.marks / "hung").exists(), "a run that hangs")
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(3)
    assert driver.poll() is None  # it waits for the run
    os.killpg(driver.pid, signal.SIGINT)
    _, err = driver.communicate(timeout=20)
    assert driver.returncode == 130, err
    wait(lambda: not place.processes(), "the end of all processes", 20)


def test_a_worker_that_hangs_is_ended_and_its_run_tried_again(place):
    storage, study = place.root / "store", one(place, "hanging", 3, resources={"silence": 3})
    code, _, err = place.run(storage, study)
    assert code == 0, err
    assert (place.marks / "hung").exists()
    [record] = records(storage)
    assert record["status"] == "done"
    assert not list((storage / "runs" / record["key"]).glob("hung*"))


def test_what_a_killed_driver_left_is_ended_at_the_next_start(place):
    """Two agents of Ray outlive a driver by half a minute, and longer if they are stopped."""
    storage, study = place.root / "store", place.study()
    driver = place.start(storage, study)
    wait(lambda: len(records(storage)) >= 1, "the first run")
    alive = processes()
    own = descendants(driver.pid, alive)
    stopped = next(pid for pid in own if alive[pid].name.startswith("ray::RuntimeEnv"))
    os.kill(stopped, signal.SIGSTOP)
    driver.kill()
    driver.communicate()
    wait(lambda: not place.processes(), "the end of what ends by itself", 20)
    assert stopped in processes()
    code, _, err = place.run(storage, study)
    assert code == 0, err + str(records(storage))
    assert stopped not in processes()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
def test_a_disk_that_is_full(place):
    code, _, err = place.run(place.root / "undisturbed", place.study())
    assert code == 0, err
    storage = place.root / "store"
    with small_disk(storage, "1m"):
        code, _, err = place.run(storage, place.study())
        assert code == 2, err
        last = err.splitlines()[-1]
        assert re.fullmatch(
            r"sweeper: no space is left for .*; free some, and the same command goes on from here", last
        )
        assert "Traceback" not in err
        done = keys(storage)
        subprocess.run(["mount", "-o", "remount,size=100m", storage], check=True)
        code, _, err = place.run(storage, place.study())
        assert code == 0, err
        assert table(storage) == table(place.root / "undisturbed")
        assert keys(storage).items() >= done.items()
        lines = (storage / "ledger.jsonl").read_text().splitlines()
        assert all(json.loads(line) for line in lines)


def test_runs_on_several_workers_that_end_early_leave_nothing_behind(place):
    """Two at once; the last of the search learns nothing, and is stopped by what the first three reached."""
    space = {**FIXED, "train.lr": {"choice": [0.2, 0.1, 0.05, 1e-9]}}
    search = {"configurations": 5, "seeds": [0], "sampler": "grid", "early_stopping": "once", "ahead": 2}
    study = place.study(
        methods=[{"name": "joint", "space": space}],
        plugins=[],
        search=search,
        final={"seeds": [100]},
        train={"epochs": 8},
        resources={"workers": 2, "cpus": (os.cpu_count() or 1) / 4},
    )
    storage = place.root / "store"
    code, _, err = place.run(storage, study, patience=480)
    assert code == 0, err
    found = [record["status"] for record in records(storage)]
    assert len(found) == 6
    assert "pruned" in found
    assert not list(storage.glob("runs/*/train"))
    wait(lambda: not place.processes(), "the end of all processes", 20)
