"""Killing anything at any moment gives the same table; a failure is data, and ends nothing but its own run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.cli import main
from sweeper.ledger.file import Ledger
from sweeper.ledger.storage import Storage
from sweeper.tracking import connection, writing
from tests.sweeper.running.place import (
    PATIENCE,
    STOPPING,
    STUDY,
    Place,
    assert_quiet,
    keys,
    records,
    table,
    wait,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("faults"))
    yield made
    for driver in made.started:
        if driver.poll() is None:
            driver.kill()
        driver.communicate()


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> Path:
    """The storage of a study that nothing happened to."""
    storage = place.root / "undisturbed"
    code, out, err = place.run(storage, place.study())
    assert code == 0, err
    assert "| slow" in out
    assert_quiet(err)
    place.threads = {mark.name: mark.read_text().splitlines() for mark in place.marks.iterdir()}
    return storage


@pytest.mark.slow
def test_all_runs_of_a_worker_happen_in_one_thread(place, undisturbed):
    """In threads of their own each would keep memory; a native number, unlike Python's, is not used again."""
    epochs = [line for lines in place.threads.values() for line in lines]
    runs = [record for record in records(undisturbed) if record["axes"]["method"] == "slow"]
    assert len(epochs) == STUDY["train"]["epochs"] * len(runs) == 4 * 7
    assert len(place.threads) <= 2 < len(runs)
    assert {len(set(lines)) for lines in place.threads.values()} == {1}


@pytest.mark.slow
def test_a_study_survives_interrupt_death_of_the_driver_and_death_of_a_worker(place, undisturbed):
    storage, study = place.root / "disturbed", place.study()

    driver = place.start(storage, study)
    wait(lambda: len(records(storage)) >= 2, "the first runs")
    began = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    out, err = driver.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < 30
    assert driver.returncode == 130, err
    assert err.splitlines()[-1] == "sweeper: interrupted; the same command goes on from here"
    assert_quiet(err.replace(STOPPING + "\n", "").rpartition("sweeper: ")[0], hurried=True)
    assert "| joint" in out
    done = len(records(storage))
    assert 2 <= done < len(records(undisturbed))
    wait(lambda: not place.processes(), "the end of all processes", 20)

    driver = place.start(storage, study)
    wait(lambda: len(records(storage)) >= done + 2, "more runs")
    driver.kill()
    driver.communicate()
    done = len(records(storage))
    assert done < len(records(undisturbed))
    wait(lambda: not place.processes(), "the end of all processes", 20)

    for mark in place.marks.iterdir():
        mark.unlink()
    driver = place.start(storage, study)
    worker = int(wait(lambda: next(place.marks.iterdir(), None), "a worker that trains").name)
    os.kill(worker, signal.SIGKILL)
    _, err = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, err
    assert_quiet(err)

    assert table(storage) == table(undisturbed)
    assert keys(storage) == keys(undisturbed)
    assert len(records(storage)) == len(keys(storage))  # nothing was done twice
    wait(lambda: not place.processes(), "the end of all processes", 20)


@pytest.mark.slow
def test_what_runs_raise_is_told_in_the_table_and_tried_again_at_the_next_start(place):
    storage = place.root / "failures"
    fixed = {"train.optimizer": "sgd", "train.lr": 0.01, "train.weight_decay": 0.0, "train.batch_size": 64}
    searched = {
        "train.optimizer": "sgd",
        "train.lr": {"float": [0.001, 0.1]},
        "train.weight_decay": 0.001,
        "train.batch_size": 64,
    }
    methods = [
        *({"name": name, "space": fixed} for name in ("joint", "broken", "diverging", "hungry")),
        {"name": "broken", "label": "searched", "space": searched},
    ]
    changes = {"methods": methods, "plugins": ["broken", "diverging", "hungry"], "train": {"epochs": 2}}
    study = place.study(**changes, search={"configurations": 6, "seeds": [0], "ahead": 1})
    (place.marks / "mended").unlink(missing_ok=True)

    code, out, err = place.run(storage, study)
    assert code == 1, err
    assert_quiet(err)
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if line.startswith("|")}
    assert re.search(r"\d+\.\d ± \d+\.\d", rows["joint"])
    assert "failed 2/2 (ValueError" in rows["broken"]
    assert "failed 2/2 (OOM" in rows["hungry"]
    assert "2/2 (diverged)" in rows["diverging"]
    found = {method: [] for method in rows}
    for record in records(storage):
        found[record["axes"]["method"]].append(record)
    assert [r["status"] for r in found["joint"]] == ["done"] * 2
    assert [r["error"] for r in found["broken"]] == [
        {"class": "ValueError", "message": "no such thing as 7"}
    ] * 2
    assert "broken.py" in found["broken"][0]["trace"]
    assert [r["error"]["class"] for r in found["hungry"]] == ["OOM"] * 2
    assert [r["status"] for r in found["diverging"]] == ["diverged"] * 2
    assert len(found["searched"]) == 3  # of six: the same error three times stops the arm

    (place.marks / "mended").touch()
    code, out, err = place.run(storage, study)
    assert code == 1, err
    again = [r["axes"]["method"] for r in records(storage)[sum(map(len, found.values())) :]]
    assert {name: again.count(name) for name in set(again)} == {"broken": 2, "hungry": 2, "searched": 8}
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if line.startswith("|")}
    assert re.search(r"\d+\.\d ± \d+\.\d", rows["broken"])
    assert re.search(r"\d+\.\d ± \d+\.\d", rows["searched"])
    assert "failed 2/2 (OOM" in rows["hungry"]


def test_a_storage_that_another_driver_uses(place, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(place.root)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "ledger.jsonl").touch()
    other = Ledger(tmp_path / "store" / "ledger.jsonl")
    other.lock()
    assert main(["run", str(place.study()), "--storage", str(tmp_path / "store")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(rf"sweeper: storage '.*' is in use by process {os.getpid()}; .*\n", told.err)
    other.unlock()


@pytest.mark.slow
def test_a_result_without_a_record_is_adopted(place, undisturbed, tmp_path, capsys, monkeypatch):
    """A worker had finished its run, and the driver died before it wrote the record."""
    storage = Path(shutil.copytree(undisturbed, tmp_path / "store"))
    ledger = storage / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    assert json.loads(lines[-1])["kind"] == "run"
    ledger.write_text("".join(lines[:-1]))
    result = storage / "runs" / json.loads(lines[-1])["key"] / "result.json"
    before = result.stat().st_mtime_ns

    monkeypatch.syspath_prepend(place.root)
    assert main(["run", str(place.study()), "--storage", str(storage)]) == 0
    assert result.stat().st_mtime_ns == before
    assert {**json.loads(ledger.read_text().splitlines()[-1]), "git": "", "versions": ""} == {
        **json.loads(lines[-1]),
        "git": "",
        "versions": "",
    }
    assert table(storage) == table(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("garbage", ['{"kind":"run","key":', "\x00\x00", '{"kind":"run"}', "[]"])
def test_a_line_of_the_ledger_that_cannot_be_read(place, undisturbed, tmp_path, capsys, monkeypatch, garbage):
    storage = Path(shutil.copytree(undisturbed, tmp_path / "store"))
    ledger = storage / "ledger.jsonl"
    lines = ledger.read_text().splitlines()
    lines.insert(5, garbage)
    ledger.write_text("\n".join(lines) + "\n")

    monkeypatch.syspath_prepend(place.root)
    assert main(["run", str(place.study()), "--storage", str(storage)]) == 0
    assert "ledger line 6 cannot be read; it is kept and skipped" in capsys.readouterr().err
    assert ledger.read_text().splitlines() == lines
    assert table(storage) == table(undisturbed)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.slow
def test_a_database_that_a_driver_died_over_is_made_anew(tmp_path, monkeypatch):
    """MLflow needs seconds to make one, and can do nothing with half of one."""
    connect = connection.connect

    def dies(uri: str) -> None:
        Path(uri.removeprefix("sqlite:///")).write_text("half a database")
        raise Killed

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setattr(connection, "connect", dies)
    with pytest.raises(Killed):
        writing.Mirror(uri, "faults", Storage(tmp_path))
    monkeypatch.setattr(connection, "connect", connect)
    assert writing.Mirror(uri, "faults", Storage(tmp_path)).experiment
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


SHARDED = """
import os
from sweeper.running.address import closed

os.environ.update(closed())
import sweeper.running.tune as tune
from sweeper.cli import program

tune.SHARD, tune.WAVES = 5, 1
program()
"""


@pytest.mark.slow
def test_a_study_on_several_tuners_is_the_same(place, undisturbed, tmp_path):
    words = [sys.executable, "-c", SHARDED, "run", str(place.study()), "--storage", str(tmp_path / "store")]
    told = subprocess.run(
        words, cwd=place.root, env=place.environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert_quiet(told.stderr)
    assert table(tmp_path / "store") == table(undisturbed)
    assert keys(tmp_path / "store") == keys(undisturbed)
