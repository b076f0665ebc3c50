"""The front of a search by two metrics, from fabricated records: who is on it, and what figure and page show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeper.ledger.history import History
from sweeper.ledger.records import ArmPlan
from sweeper.reports import figures, frames, fronts, page, report
from sweeper.reports.plots.fronts import Axis, pareto
from sweeper.study.schema import Select
from tests.sweeper.reports.test_page import section
from tests.sweeper.reports.test_report import AXES, plan, run, selected

JOINT = ArmPlan(key="a1", axes=AXES, beside="gap")
ALONE = ArmPlan(key="a2", axes={**AXES, "method": "unimodal"})
# by configuration: (accuracy, gap) of seed 0 and, where it earned one, of seed 1
FOUND = [
    [(0.8, 0.3)],  # the published defaults
    [(0.9, 0.2), (0.94, 0.24)],
    [(0.85, 0.1), (0.83, 0.12)],
    [(0.86, 0.21), (0.86, 0.25)],  # behind 1 in both
    [(0.1, 0.0), (0.1, 0.0)],  # behind the defaults
    [(0.95, 0.05)],  # one seed is no rival to two
]


def records():
    known = [replace(plan(JOINT, ALONE), select=Select(beside="gap")), selected(JOINT, ["k0", "k1"], 1)]
    for k, values in enumerate(FOUND):
        for seed, (accuracy, gap) in enumerate(values):
            own = run(f"{k}-{seed}", JOINT, seed, accuracy, stage="search")
            scores = {"accuracy": accuracy, "gap": gap, "loss": 1.0}
            known.append(replace(own, configuration=k, parameters={"lr": k}, metrics={"validation": scores}))
    return known


@pytest.fixture
def history():
    return History.of("s", records())


def test_the_front_is_of_those_with_all_seeds_that_are_not_behind_the_defaults(history):
    found = fronts.found(history, "a1")
    assert [one.number for one in found if one.on_front] == [1, 2]
    assert [one.number for one in found if one.whole] == [1, 2, 3, 4]
    assert [one.number for one in found if one.selected] == [1]
    assert found[1].means == pytest.approx((0.92, 0.22))
    assert found[1].stds == pytest.approx((0.02 * 2**0.5, 0.02 * 2**0.5))
    assert (found[0].n, found[0].stds) == (1, (0.0, 0.0))


def test_a_run_without_the_second_metric_is_not_shown():
    known = records()
    known[-1] = replace(known[-1], metrics={"validation": {"accuracy": 0.99, "loss": 0.1}})
    assert [one.number for one in fronts.found(History.of("s", known), "a1")] == [0, 1, 2, 3, 4]


def test_a_study_by_two_metrics_gets_the_figure_and_another_does_not(history, tmp_path):
    made = figures.draw(history, report.build(history), lambda key: [], tmp_path / "two")
    assert {"pareto.png", "pareto.pdf"} <= {path.name for path in made}
    one = History.of("s", [plan(replace(JOINT, beside=""), ALONE), *records()[1:]])
    made = figures.draw(one, report.build(one), lambda key: [], tmp_path / "one")
    assert "pareto" not in {path.stem for path in made}


def test_the_page_and_frames_tell_both_metrics(history):
    searched = " ".join(section(page.page(report.build(history)), "Search").split())
    assert "No. Accuracy (%) on validation Gap (%) on validation Runs" in searched
    assert "1 (selected) 92.00 ± 2.83 (n=2) 22.00 ± 2.83 (n=2)" in searched
    assert list(frames.searched(history).gap[:2]) == [0.3, 0.2]


def test_many_arms_go_on_in_further_files(history, tmp_path):
    panels = {f"arm {i}": fronts.found(history, "a1") for i in range(13)}
    axes = [Axis("Accuracy (%)", "max", 100), Axis("Gap (%)", "min", 100)]
    made = pareto(panels, dict.fromkeys(panels, ()), axes, tmp_path / "pareto")
    assert [path.name for path in made] == ["pareto.png", "pareto.pdf", "pareto-2.png", "pareto-2.pdf"]
