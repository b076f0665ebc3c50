"""What a run under way tells of itself: its curve so far, at most once in a beat, gone with its end."""

from __future__ import annotations

import pytest

from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.running import heartbeats
from sweeper.running.heartbeats import FILE, Heart, curve_so_far


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path)


def order(storage):
    return {"folder": storage.address(storage.run("abc"))}


def test_a_heartbeat_holds_all_epochs_so_far_and_comes_once_a_second_at_most(storage, clock):
    written = []
    with Heart(order(storage)) as heart:
        for epoch in range(1, 31):  # a quarter of a second each
            clock[0] += 0.25
            heart({"epoch": epoch, "validation/accuracy": epoch / 100})
            if (seen := len(curve_so_far(storage, "abc"))) not in written:
                written.append(seen)
    assert written == [0, 4, 8, 12, 16, 20, 24, 28]


def test_the_last_epoch_told_is_the_last_that_was_logged(storage, clock):
    with Heart(order(storage)) as heart:
        clock[0] += 5
        heart({"epoch": 7, "loss/total": 0.5})
        assert curve_so_far(storage, "abc") == [{"epoch": 7, "loss/total": 0.5}]


def test_an_ended_run_has_no_heartbeat(storage, clock):
    with Heart(order(storage)) as heart:
        clock[0] += 5
        heart({"epoch": 1})
        assert (storage.run("abc") / FILE).exists()
    assert not (storage.run("abc") / FILE).exists()


def test_a_bucket_that_is_away_fails_no_run(storage, clock, monkeypatch):
    def away(*_):
        raise UserError("bucket 'b' cannot be used (EndpointConnectionError)")

    with Heart(order(storage)) as heart:
        clock[0] += 5
        heart({"epoch": 1})
        for name in ("write", "remove", "read"):
            monkeypatch.setattr(Storage, name, away)
        clock[0] += 5
        heart({"epoch": 2})
        assert curve_so_far(storage, "abc") == []
    assert heart.beats == 2


def test_a_short_run_writes_none(storage, clock):
    with Heart(order(storage)) as heart:
        heart({"epoch": 1})
        assert not storage.run("abc").exists()


@pytest.mark.parametrize("damaged", ["", "{", "[]", "7", '{"curve": 3}', '{"curve": [4]}', '{"at": 1}'])
def test_a_damaged_heartbeat_says_nothing(storage, damaged):
    storage.run("abc").mkdir(parents=True)
    (storage.run("abc") / FILE).write_text(damaged)
    assert curve_so_far(storage, "abc") == []
