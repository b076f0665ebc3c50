"""Test conditions: evaluated on finished weights, never trained for; and trainings that several runs share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.models.training import trainer
from sweeper.reports import report
from sweeper.running.orders import as_order, execute_here
from sweeper.service import run as service
from sweeper.service.session import Session, Workspace
from sweeper.study import schema as study
from sweeper.study.unfold import unfold

STUDY = {
    "study": "noisy",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 40, "signal": 3.0},
    "methods": ["joint"],
    "search": {"configurations": 1, "seeds": [0]},
    "final": {"seeds": [100, 101]},
    "train": {"epochs": 2},
    "conditions": ["clean", "feature-5"],
}
Carry = Callable[..., list[RunRecord]]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the epochs that each call of the trainer trained."""
    found: list[int] = []
    train = trainer.train

    def counted(*arguments: Any, **options: Any) -> Any:
        epochs: list[Any] = []
        outcome = train(*arguments, **{**options, "on_epoch": epochs.append})
        found.append(len(epochs))
        return outcome

    monkeypatch.setattr(trainer, "train", counted)
    return found


@pytest.fixture
def carry_out(tmp_path: Path) -> Carry:
    """Carry out a study with changes in this process, as the executor does; return records of its runs by seed."""

    def call(**changes: Any) -> list[RunRecord]:
        wanted = study.parse({**STUDY, **changes})
        place = Workspace(Storage(tmp_path))
        session = Session(wanted, place, unfold(wanted), [], Ledger(place.storage.ledger))
        before = len(session.ledger.records)
        session.unwritten, waiting = None, session.unwritten
        for record in waiting:
            session._write(record)
        while (run := session.take()) is not None:
            order = as_order(wanted, run, place.storage, None, wanted.resources)
            session._enter(run, execute_here(order))
        return [r for r in session.ledger.records[before:] if isinstance(r, RunRecord)]

    return call


def test_all_conditions_are_tested_on_one_training(carry_out, trainings):
    runs = carry_out()
    assert trainings == [2, 2]
    for record in runs:
        assert list(record.metrics) == ["validation", "test/clean", "test/feature-5"]


def test_a_further_condition_trains_nothing(carry_out, trainings, tmp_path):
    first = carry_out()
    more = carry_out(conditions=["clean", "feature-5", "feature-10"])
    assert trainings == [2, 2]
    for old, new in zip(first, more, strict=True):
        assert new.key == old.key
        assert list(new.metrics) == [*old.metrics, "test/feature-10"]
        assert all(new.metrics[split] == old.metrics[split] for split in old.metrics)
        assert new.seconds > old.seconds
    assert carry_out(conditions=["feature-10"]) == []
    found = report.build(
        History.of("noisy", Ledger(tmp_path / "ledger.jsonl").records), columns=["condition"]
    )
    assert found.complete


def test_without_its_weights_a_run_is_done_again_for_a_further_condition(carry_out, trainings):
    first = carry_out(checkpoints="none")
    second = carry_out(checkpoints="none", conditions=["clean", "feature-10"])
    assert trainings == [2, 2, 2, 2]
    for old, new in zip(first, second, strict=True):
        assert new.metrics == old.metrics | {"test/feature-10": new.metrics["test/feature-10"]}


def test_every_seed_meets_the_same_corruption(carry_out, tmp_path):
    """Corruption seeds are not training seeds: comparisons are paired."""
    hits = []
    for record in carry_out():
        with np.load(tmp_path / "runs" / record.key / "predictions-feature-5.npz") as found:
            hits.append({name: found[name] for name in found.files if name.startswith("hit_")})
            assert len(found["predicted"]) == len(found["repeat"]) == 5 * 40
            right = found["predicted"].argmax(1) == found["target"]
            assert record.metrics["test/feature-5"]["accuracy"] == pytest.approx(right.mean())
            none = ~found["hit_m0"] & ~found["hit_m1"]
            by_repeat = [right[none & (found["repeat"] == r)].mean() for r in range(5)]
            assert record.metrics["test/feature-5"]["accuracy/hit:none"] == pytest.approx(np.mean(by_repeat))
    assert all(np.array_equal(hits[0][m], hits[1][m]) for m in ("hit_m0", "hit_m1"))


def test_noise_of_level_0_is_clean(carry_out):
    for record in carry_out(conditions=["clean", "feature-0"]):
        clean, level_0 = (record.metrics[f"test/{c}"] for c in ("clean", "feature-0"))
        assert clean == level_0


def test_regressors_share_one_training(carry_out, trainings, tmp_path):
    kinds = ("lr", "rf", "svr", "emlp")
    space = {"noise": ["feature-5"]}  # what it is tested under
    methods = [{"name": "rw", "label": kind, "space": {"regressor": kind, **space}} for kind in kinds]
    runs = carry_out(methods=methods)
    assert sorted(trainings) == [0] * 6 + [2] * 2
    assert len({json.dumps(r.metrics["test/clean"]) for r in runs if r.seed == 100}) == 4
    assert len(list((tmp_path / "trainings").iterdir())) == 2


def test_of_runs_that_share_a_training_one_begins_alone(tmp_path):
    methods = [{"name": "rw", "label": kind, "space": {"regressor": kind}} for kind in ("lr", "rf")]
    wanted = study.parse({**STUDY, "methods": methods})
    session = Session(
        wanted, Workspace(Storage(tmp_path)), unfold(wanted), [], Ledger(tmp_path / "ledger.jsonl")
    )
    first, second = session.take(), session.take()
    assert (first.seed, second.seed) == (100, 101)
    assert session.take() is None  # the other regressor waits for either
    record = RunRecord(key=first.key, status="done", metrics={"test/clean": {}, "test/feature-5": {}})
    session.planner.settle(first.key, record)
    assert session.take().training == first.training
    assert session.take() is None


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (["gausian-5"], "unknown condition 'gausian'; did you mean 'gaussian'"),
        (["gaussian-5", {"name": "gaussian-5"}], "it names 'gaussian-5' twice"),
        (["gaussian"], "has no level"),
        ([], "conditions"),
    ],
)
def test_what_is_no_condition(conditions, message):
    with pytest.raises(UserError, match=message):
        study.parse({**STUDY, "conditions": conditions})


def test_a_condition_that_does_not_fit_the_data_ends_before_anything_is_written(tmp_path):
    wanted = study.parse({**STUDY, "conditions": ["gaussian-5@m7"]})
    with pytest.raises(UserError, match="unknown modality 'm7' in condition 'gaussian-5@m7'"):
        service.check(wanted, unfold(wanted), [], Workspace(Storage(tmp_path)), None)
