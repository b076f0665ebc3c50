"""A method under a condition: how often it is drawn, and what is kept of each draw."""

import numpy as np
import pytest

from sweeper.models.training.conditions import under
from tests.models.cases import build, synthetic

DATA = synthetic(kind="audio")
ROWS = DATA.rows["test"]


@pytest.mark.parametrize(
    ("condition", "repeats"),
    [("clean", 1), ("gaussian-0", 1), ("white-0 (repeats 3)", 3), ("white--20 (repeats 2)", 2)],
)
def test_what_changes_nothing_is_evaluated_once_and_noise_as_often_as_it_is_drawn(condition, repeats):
    scores, columns = under(build({"name": "joint"}, DATA), DATA, ROWS, condition)
    assert len(columns["target"]) == repeats * len(ROWS)
    noisy = condition.startswith("white")
    assert ("repeat" in columns) == ("hit_m0" in columns) == noisy
    assert any("/hit:" in name for name in scores) == noisy
    if noisy:
        assert np.unique(columns["repeat"]).tolist() == list(range(repeats))
