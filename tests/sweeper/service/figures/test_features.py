"""`sweeper features`: how each net of a finished study lays out the test rows."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.ledger.file import Ledger
from tests.sweeper.conftest import TINY

SMALL = {"search": {"configurations": 1, "seeds": [0]}, "final": {"seeds": [100]}, "train": {"epochs": 1}}


@pytest.fixture
def figures(tmp_path):
    return tmp_path / "store" / "studies" / "tiny" / "figures"


def test_every_net_has_its_features_drawn_and_written(here, study_file, figures, tmp_path):
    assert here("run", study_file(**SMALL)).code == 0
    told = here("features", "tiny")
    assert told.code == 0
    (table,) = figures.glob("features-*.npz")
    assert str(table) in told.out
    assert table.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    numbers = np.load(table)
    assert {"joint: features of m0", "joint: features of m1", "unimodal: features of m0"} <= {*numbers}
    assert "unimodal: points of modalities" not in numbers  # which takes two
    assert numbers["joint: points of modalities"].shape == (2 * 48, 2)
    assert numbers["joint: points of m0"].shape == (48, 2)
    for run in Ledger(tmp_path / "store" / "ledger.jsonl").runs.values():
        if run.stage == "final":
            right = numbers[f"{run.axes['method'].split()[0]}: logits"].argmax(1) == numbers["target"]
            assert right.mean() == pytest.approx(run.metrics["test/clean"]["accuracy"])


def test_what_cannot_be_drawn_is_told_in_a_sentence(here, study_file):
    changes = {"dataset": {**TINY["dataset"], "task": "regression"}, "select": {"metric": "mae"}}
    assert here("run", study_file(**{**TINY, **SMALL, **changes})).code == 0
    for study, said in (
        ("tiny", "has no arm to draw; joint: features are drawn by class"),
        ("tine", "unknown study"),
    ):
        told = here("features", study)
        assert (told.code, told.err.count("\n")) == (2, 1)
        assert said in told.err
