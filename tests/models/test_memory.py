"""The memory that a run reports is its own."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.models import memory


@pytest.mark.skipif(not memory.STATUS.exists(), reason="Linux alone counts the most memory anew")
def test_a_peak_is_forgotten():
    memory.forget_peaks("cpu")
    before = memory.peak_mb()
    large = np.ones(2**25)  # 256 MB
    assert memory.peak_mb() > before + 200
    del large
    memory.forget_peaks("cpu")
    assert memory.peak_mb() < before + 100


def test_where_nobody_counts_anew_the_peak_is_that_of_the_process(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert 50 < memory.peak_mb() < 10**6
