"""How configurations were selected: ties, runners-up, and what a budget is expected to find."""

from __future__ import annotations

import itertools
from dataclasses import replace
from statistics import fmean

import pytest

from sweeper.ledger.history import History
from sweeper.ledger.records import Shared
from sweeper.reports import figures, selection
from tests.sweeper.reports.test_report import JOINT, LFM, built, plan, run, selected


def searched(one, configuration, *accuracies, loss=None, key=""):
    """The search runs of a configuration on tuning seeds 0, 1, …."""
    found = []
    for seed, accuracy in enumerate(accuracies):
        record = run(f"{key}{one.key}{configuration}-{seed}", one, seed, accuracy, stage="search")
        scores = {"accuracy": accuracy, "loss": 1 - accuracy if loss is None else loss}
        found.append(replace(record, configuration=configuration, metrics={"validation": scores}))
    return found


def history(*records, chosen=0):
    return History.of("s", [plan(JOINT, LFM), *records, selected(JOINT, ["k0"], chosen)])


def choice(*records, chosen=0):
    (found,) = selection.choices(history(*records, chosen=chosen))
    return found


def test_the_runner_up_is_told_with_its_deficit_paired_over_seeds():
    found = choice(*searched(JOINT, 0, 0.9, 0.8), *searched(JOINT, 1, 0.88, 0.81), *searched(JOINT, 2, 0.5))
    assert (found.configuration, found.seeds, found.runner_up, found.rivals) == (0, 2, 1, 1)
    assert found.mean == pytest.approx(0.85)
    assert found.behind == (pytest.approx(0.005), pytest.approx(0.02121, abs=1e-4))
    assert (found.tied, found.decided) == ((), "")


@pytest.mark.parametrize(
    ("losses", "decided"),
    [((0.1, 0.2), "lower loss"), ((0.2, 0.2), "lower number"), ((0.3, 0.2), "last digit")],
)
def test_a_tie_says_what_broke_it(losses, decided):
    one, other = losses
    found = choice(
        *searched(JOINT, 0, 0.9, 0.8, loss=one),
        *searched(JOINT, 1, 0.8, 0.9, loss=other),
        *searched(JOINT, 2, 0.9),
    )
    assert found.tied == (1,)
    assert found.decided.startswith(decided)
    assert found.behind[0] == pytest.approx(0)


def test_the_caption_names_the_arms_that_a_tie_decided():
    records = [
        *searched(JOINT, 0, 0.9),
        *searched(JOINT, 1, 0.9),
        *searched(LFM, 0, 0.9),
        *searched(LFM, 1, 0.8),
    ]
    both = [*records, selected(JOINT, ["k0"], 0), selected(LFM, ["k1"], 0)]
    said = [line for line in built(plan(JOINT, LFM), *both).caption if line.startswith("Equal")]
    assert said == ["Equal on validation, so taken by the lower number: joint (2 configurations)."]
    tied = [replace(choice(*records), name=f"m{i}") for i in range(7)]
    assert selection.ties(tied, 9) == ["Equal on validation, so taken by the lower number: 7 of 9 arms."]
    assert selection.ties([], 9) == []


def test_an_arm_without_a_choice_has_none():
    assert selection.choices(history(*searched(JOINT, 0, 0.9))) == []
    assert selection.choices(history()) == []


def test_runs_carried_out_as_anothers_count_for_the_configuration_that_shares_them():
    other = searched(LFM, 4, 0.7)
    shared = Shared(arm=JOINT.key, configuration=1, stage="search", seed=0, key=other[0].key)
    found = choice(*searched(JOINT, 0, 0.9), *other, shared)
    assert (found.runner_up, found.behind) == (1, (pytest.approx(0.2), None))


def test_runs_that_failed_or_found_no_number_are_no_rivals():
    failed = replace(searched(JOINT, 1, 0.9)[0], status="failed", error={"class": "OOM", "message": "m"})
    lost = searched(JOINT, 2, float("nan"))
    found = choice(*searched(JOINT, 0, 0.8), failed, *lost, *searched(JOINT, 3, 0.7))
    assert found.runner_up == 3


def test_best_so_far_is_of_means_and_of_those_that_had_all_seeds():
    """The luckiest single seed is 0.99, of a configuration that its second seed would have shown to be no better."""
    records = [*searched(JOINT, 0, 0.9, 0.8), *searched(JOINT, 1, 0.99), *searched(JOINT, 3, 0.9, 0.9)]
    means = selection.means(history(*records), JOINT.key)
    assert means == {0: (2, pytest.approx(0.85)), 1: (1, 0.99), 3: (2, 0.9)}
    assert selection.best_so_far(means) == [(1, pytest.approx(0.85)), (2, None), (3, None), (4, 0.9)]
    assert selection.in_order(means, "max") == [0.99, pytest.approx(0.85), 0.9]
    assert selection.in_order(means, "min") == [0.99, 0.9, pytest.approx(0.85)]
    assert selection.best_so_far({}) == []


def test_the_expected_best_is_the_mean_over_all_draws():
    values = [0.2, 0.5, 0.5, 0.9]
    expected = [fmean(max(own) for own in itertools.product(values, repeat=n)) for n in (1, 2, 3, 4)]
    assert selection.expected_best(values) == pytest.approx(expected)


def test_the_expected_selected_is_by_order_and_not_by_value():
    values = [0.99, 0.8, 0.9]  # the first was dropped before the others, whatever its one seed said
    places = [fmean(values[max(own)] for own in itertools.product(range(3), repeat=n)) for n in (1, 2, 3)]
    assert selection.expected_best(values) == pytest.approx(places)


def test_figures_of_the_search_need_no_test_data(tmp_path):
    records = [*searched(JOINT, 0, 0.9, 0.8), *searched(JOINT, 1, 0.88, 0.81), *searched(LFM, 0, 0.7)]
    found = figures._expected(history(*records))
    assert {label: len(values) for label, values in found["digits"]} == {"joint": 2, "lfm": 1}
