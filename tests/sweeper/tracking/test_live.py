"""MLflow shows runs under way with their curves so far, and afterwards what the ledger says of them alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sweeper.ledger.storage import Storage
from sweeper.tracking.live import points
from sweeper.tracking.writing import Mirror
from tests.sweeper.tracking.test_tracking import plan, proposed, run, written

BEGAN = 1_700_000_000.0


def under_way(seed=0):
    return SimpleNamespace(
        key=f"joint-1-search-{seed}",
        arm="joint",
        arm_key="arm-joint",
        configuration=1,
        stage="search",
        seed=seed,
        began=BEGAN,
    )


def beat(storage, epochs, seed=0):
    curve = [{"epoch": e, "validation/accuracy": e / 100, "loss/total": 1 / e} for e in range(1, epochs + 1)]
    storage.write(storage.run(under_way(seed).key) / "heartbeat.json", {"at": BEGAN, "curve": curve})


def test_only_epochs_that_are_new_are_points():
    curve = [{"epoch": e, "loss/total": float(e)} for e in (1, 2, 3)]
    assert points(curve, 1, BEGAN) == [("loss/total", 2.0, BEGAN, 2), ("loss/total", 3.0, BEGAN, 3)]


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path)


@pytest.fixture
def mirror(storage):
    return Mirror(f"sqlite:///{storage.root}/mlflow.db", "study", storage)


def children(mirror):
    """{key: (status, epochs shown)} of the runs that MLflow shows below configurations."""
    found = {}
    for one in mirror.client.search_runs([mirror.experiment], "tags.`sweeper.kind` = 'run'"):
        history = mirror.client.get_metric_history(one.info.run_id, "validation/accuracy")
        found[one.data.tags["sweeper.key"]] = one.info.status, [point.step for point in history]
    return found


def test_a_run_under_way_is_running_with_its_curve_until_its_record_takes_its_place(storage, mirror):
    records = [plan(), proposed("joint", 1)]
    beat(storage, 3)
    mirror.update(records, False, [under_way(), under_way(seed=1)])  # the second has told of nothing yet
    assert children(mirror) == {"joint-1-search-0": ("RUNNING", [1, 2, 3])}
    beat(storage, 5)
    mirror.update(records, False, [under_way()])
    assert children(mirror) == {"joint-1-search-0": ("RUNNING", [1, 2, 3, 4, 5])}
    done = run("joint", 1, "search", 0)
    written(storage, done)
    mirror.update([*records, done], False, [])
    ((status, _),) = children(mirror).values()
    assert status == "FINISHED"


def test_what_a_driver_that_died_left_running_is_taken_away_by_the_next(storage, mirror):
    beat(storage, 3)
    mirror.update([plan(), proposed("joint", 1)], False, [under_way()])
    again = Mirror(f"sqlite:///{storage.root}/mlflow.db", "study", storage)
    assert children(again) == {}


def test_at_the_end_nothing_is_running(storage, mirror):
    beat(storage, 3)
    mirror.update([plan(), proposed("joint", 1)], False, [under_way()])
    mirror.update([plan(), proposed("joint", 1)], True)
    assert children(mirror) == {}
