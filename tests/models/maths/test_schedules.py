"""Schedules: the published values, and where the published formulas need repair."""

import pytest

from sweeper.models.maths.schedules import constant, cubic, heuristic, poly5, stepwise


@pytest.mark.parametrize(("t", "omega"), [(1, 0.6321206), (2, 0.393469), (4, 0.221199), (20, 0.048771)])
def test_heuristic_is_the_papers_omega(t, omega):
    assert heuristic(t - 1, 100) == pytest.approx(omega, abs=1e-6)


def test_scale_stretches_the_heuristic():
    assert heuristic(9, 100, scale=10) == pytest.approx(heuristic(0, 100))


@pytest.mark.parametrize(("epoch", "value"), [(0, 0.7954), (50, 0.5633), (100, 0.4608), (199, 0.0840)])
def test_poly5_over_200_epochs_gives_the_released_values(epoch, value):
    assert poly5(epoch, 200) == pytest.approx(value, abs=5e-5)


def test_poly5_is_stretched_to_the_epochs_there_are():
    assert [poly5(e, 20) for e in range(20)] == pytest.approx([poly5(10 * e, 200) for e in range(20)])


def test_cubic_over_26_epochs_is_the_printed_polynomial():
    printed = [1.5e-4 * t**3 - 6.5e-3 * t**2 + 3.2e-2 * t + 1 for t in range(6, 27)]
    assert [cubic(t - 1, 26) for t in range(6, 27)] == pytest.approx(printed)
    assert [cubic(t - 1, 26) for t in range(1, 6)] == [1.0] * 5  # printed: up to 1.042


@pytest.mark.parametrize("epochs", [10, 26, 200])
def test_cubic_never_rises_again(epochs):
    values = [cubic(e, epochs) for e in range(epochs)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.0744, abs=1e-4)


def test_stepwise_flips_at_half_time():
    assert [stepwise(e, 5, start=0.95) for e in range(5)] == pytest.approx([0.95] * 3 + [0.05] * 2)
    assert [stepwise(e, 4, start=0.0) for e in range(4)] == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("schedule", [constant, stepwise, heuristic, cubic, poly5])
@pytest.mark.parametrize("epochs", [1, 7, 200])
def test_every_weight_lies_between_0_and_1(schedule, epochs):
    assert all(0 <= schedule(e, epochs) <= 1 for e in range(epochs))


def test_values_outside_are_clipped():
    assert constant(0, 1, value=1.5) == 1.0
    assert heuristic(0, 1, scale=-1.0) == 0.0
