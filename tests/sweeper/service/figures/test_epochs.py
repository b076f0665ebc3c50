"""A run trained anew up to some epoch: with the weights that it had there, as `sweeper gradcam --epochs` draws them."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper import bridge
from sweeper.ledger.file import Ledger
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.service.figures.epochs import after
from sweeper.service.figures.kept import order_of

STUDY = {
    "dataset": {"name": "synthetic", "kind": "image", "train": 48, "validation": 24, "test": 24},
    "methods": ["joint", {"name": "mla", "label": "in turn"}],
    "search": {"configurations": 1, "seeds": [0]},
    "final": {"seeds": [100]},
    "train": {"epochs": 3, "keep": "last", "lr": 0.05},
}


@pytest.fixture
def finished(here, study_file):
    assert here("run", study_file(**STUDY)).code == 0
    return here


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path / "store")


def test_weights_are_those_that_the_run_had(finished, storage, tmp_path):
    for record in Ledger(storage.ledger).runs.values():
        order = order_of(record, storage, None)
        kept = bridge.features(
            bridge.Order(order["payload"], storage.run(record.key), cache=storage.cache)
        ).logits
        found = {}
        for epoch, made, apart in after([3, 1], record, order, tmp_path / record.key, storage.cache):
            assert apart == 0
            found[epoch] = bridge.features(made).logits
        assert list(found) == [1, 3]
        np.testing.assert_array_equal(found[3], kept)
        assert not np.allclose(found[1], kept)


def test_an_epoch_that_it_did_not_have_is_refused(finished, storage, tmp_path):
    record = next(iter(Ledger(storage.ledger).runs.values()))
    with pytest.raises(UserError, match="it has no epoch 4; admissible: 1 to 3"):
        next(after([1, 4], record, order_of(record, storage, None), tmp_path / "anew", storage.cache))
    assert not (tmp_path / "anew").exists()


def test_a_run_that_fails_says_why(finished, storage, tmp_path):
    record = next(iter(Ledger(storage.ledger).runs.values()))
    order = order_of(record, storage, None)
    order["payload"]["train"]["lr"] = 1e30
    with pytest.raises(UserError, match=r"trained anew it ended before epoch 3 \(loss became nan"):
        list(after([3], record, order, tmp_path / "anew", storage.cache))


def test_another_curve_than_the_recorded_one_is_told(finished, storage, tmp_path):
    storage.ledger.write_text(storage.ledger.read_text().replace('"curve":[', '"curve":[2.5,'))
    told = finished("gradcam", "tiny", "--rows", 0, "--epochs", 2)
    assert told.code == 0
    assert "joint: trained anew for 2 epochs, its accuracy on validation is up to" in told.out


def test_single_epochs_stand_beside_what_is_kept(finished, storage):
    told = finished("gradcam", "tiny", "--rows", 0, 1, "--epochs", 1, 2)
    assert (told.code, "trained anew" in told.out, "left out" in told.out) == (0, False, False)
    (file,) = (storage.study("tiny") / "figures").glob("gradcam-*-by-epoch.png")
    assert str(file) in told.out
