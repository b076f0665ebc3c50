"""How far a study is that another process carries out: told by its driver, forgotten when that falls silent."""

from __future__ import annotations

import io
import re
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from sweeper import cli
from sweeper.ledger.records import RunRecord
from sweeper.ledger.storage import Storage
from sweeper.ledger.uris import open_storage
from sweeper.models.errors import UserError
from sweeper.planning.planner import Planner
from sweeper.running import watched as under_way
from sweeper.running.watched import Watched
from sweeper.service import state
from sweeper.service.progress import AROUND, Progress, line, tables
from sweeper.service.session import announcement
from sweeper.study.schema import parse
from sweeper.study.unfold import unfold

STUDY = {"study": "far", "dataset": "synthetic", "methods": ["joint", "lfm"], "train": {"epochs": 20}}


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "store"))


@pytest.fixture
def watched(storage):
    return Watched(storage, "accuracy")


@pytest.fixture
def progress(watched):
    """A study of two arms: one run of the first done, one of each under way, of which one has told of an epoch."""
    planner = Planner(parse(STUDY), unfold(parse(STUDY)), {}, {}, lambda record: None)
    found = Progress(planner, io.StringIO(), watched)
    first, *rest = [planner.take() for _ in range(3)]
    planner.settle(
        first.key, RunRecord(key=first.key, status="done", metrics={"validation": {"accuracy": 0.75}})
    )
    for run in rest:
        watched.begin(run, found.names[run.arm.key])
    beats(watched, rest[0].key, 5)
    return found


def beats(watched, key, epoch):
    """Let a run have begun long ago and tell of an epoch."""
    run = watched.runs[key]
    watched.runs[key] = replace(run, began=time.time() - 60)
    entry = {"epoch": epoch, "validation/accuracy": 0.5 + epoch / 100}
    watched.storage.write(watched.storage.run(key) / "heartbeat.json", {"at": 0, "curve": [entry]})


def test_the_line_says_what_is_running_and_where_it_is(progress):
    assert line(progress.state(0)) == (
        "runs 1/34 · 2 running: lfm #0 epoch 5/20, joint #1 starting · best joint 0.750 #0"
    )


def test_of_a_run_under_way_the_table_says_seed_epoch_value_and_time(progress):
    out = Console(file=io.StringIO(), width=110, height=40)
    out.print(tables(progress.state(0), 40))
    rows = [re.split(r" {2,}", row.strip()) for row in out.file.getvalue().splitlines()]
    assert ["lfm", "0", "0", "5/20", "0.550", "1:00"] in rows
    assert ["joint", "1", "0", "starting", "0:00"] in rows


@pytest.mark.parametrize("height", [8, 12, 16, 24])
def test_both_tables_fit_the_terminal(progress, height):
    out = Console(file=io.StringIO(), width=110, height=height)
    out.print(tables(progress.state(0), height))
    assert len(out.file.getvalue().splitlines()) <= max(height, AROUND + 2)


def test_a_run_that_ended_is_no_longer_running(progress, watched):
    for key in list(watched.runs):
        watched.end(key)
    assert progress.state(0).running == ()


def test_heartbeats_are_read_once_in_a_beat(progress, watched, monkeypatch):
    reads = []
    monkeypatch.setattr(under_way, "curve_so_far", lambda storage, key: reads.append(key) or [])
    for _ in range(50):
        watched.look()
    assert len(reads) == 1  # the other run has just begun


def test_what_the_driver_tells_another_process_reads(progress, storage):
    assert state.read("far", storage) is None
    progress.show()
    found = state.read("far", storage)
    assert line(found) == line(progress.state(0))
    state.remove("far", storage)
    assert state.read("far", storage) is None


def test_a_driver_that_fell_silent_is_not_at_work(progress, storage, monkeypatch):
    progress.show()
    later = time.time() + state.SILENT_BEATS * storage.beat_seconds + 1
    monkeypatch.setattr(state.time, "time", lambda: later)
    assert state.read("far", storage) is None


def test_a_bucket_that_is_away_is_no_end_of_a_study(progress, storage, monkeypatch):
    def away(*_):
        raise UserError("bucket 'b' cannot be used (EndpointConnectionError)")

    for name in ("write", "read"):
        monkeypatch.setattr(Storage, name, away)
    progress.show()
    assert progress.state(0).finished == 1


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"study": 3}', "null"])
def test_a_damaged_state_says_nothing(storage, damaged):
    storage.live("far").parent.mkdir()
    storage.live("far").write_text(damaged)
    assert state.read("far", storage) is None


@pytest.fixture
def announced(progress, storage):
    planned = parse(STUDY)
    ledger = storage.open_ledger()
    ledger.note(announcement(planned, unfold(planned), [], "abc"))
    return storage


def test_status_tells_what_is_carried_out_now(announced, progress, capsys):
    assert cli.main(["status", "--storage", str(announced.root)]) == 0
    assert capsys.readouterr().out == "far: 0 of 2 arms selected; no runs yet\n"
    progress.show()
    assert cli.main(["status", "--storage", str(announced.root)]) == 0
    assert capsys.readouterr().out == (
        f"far: 0 of 2 arms selected; no runs yet\n  now: {line(progress.state(0))}\n"
    )


def test_watching_ends_with_the_study(announced, progress, capsys):
    progress.show()
    said = line(progress.state(0))
    threading.Timer(0.5, state.remove, ("far", announced)).start()
    assert cli.main(["status", "--watch", "far", "--storage", str(announced.root)]) == 0
    assert capsys.readouterr().out == f"far: {said}\nfar: 0 of 2 arms selected; no runs yet\n"


def test_watching_a_study_that_nobody_carries_out_says_how_far_it_is(announced, capsys):
    assert cli.main(["status", "--watch", "--storage", str(announced.root)]) == 0
    assert capsys.readouterr().out == "far: 0 of 2 arms selected; no runs yet\n"


def test_watching_an_unknown_study_is_refused(announced, capsys):
    assert cli.main(["status", "fat", "--watch", "--storage", str(announced.root)]) == 2
    assert "did you mean 'far'" in capsys.readouterr().err
