"""Three rounds of chaos, and a harness that finds fault with a driver that forgets; `make chaos` makes 25."""

from __future__ import annotations

import pytest

from tests.chaos.harness import FAULTS, Found, disturbed, undisturbed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return undisturbed(tmp_path_factory.mktemp("chaos") / "undisturbed")


@pytest.mark.parametrize("fault", [name for name in ("raylet", "torn line", "full disk") if name in FAULTS])
def test_nothing_is_lost_and_the_tables_are_the_same(tmp_path, expected, fault):
    assert len(expected.runs) >= 50
    assert expected.from_mlflow == expected.table
    outcome = disturbed(tmp_path / "round", fault, 1, expected)
    assert outcome.passed, outcome


def test_the_harness_finds_fault_with_a_driver_that_forgets_what_workers_left(tmp_path, expected):
    assert not disturbed(tmp_path / "round", "torn line", 1, expected, forgetful=True).passed
