"""A study of real digits, searched by accuracy and the gap between modalities: what is run, selected and shown."""

from __future__ import annotations

import optuna

from sweeper import load
from sweeper.reports import fronts

STUDY = {
    "dataset": "digits",
    "methods": ["joint", {"name": "unimodal", "space": {"modality": "left"}}],
    "search": {
        "configurations": 6,
        "seeds": [0, 1],
        "sampler": {"name": "tpe", "n_startup_trials": 2},
        "ahead": 1,
    },
    "select": {"metric": "accuracy", "beside": "gap"},
    "train": {"epochs": 3},
}


def test_a_study_is_searched_by_two_metrics_and_reports_one_end_of_their_front(here, study_file, tmp_path):
    path = study_file(**STUDY)
    first = here("run", path)
    assert first.code == 0, first.err
    assert "Searched by accuracy and gap (accuracy alone, for want of a gap: unimodal)" in first.out
    assert {run.payload["stage"] for run in first.runs} == {"search", "final"}

    again = here("run", path)
    assert (again.runs, again.table) == ([], first.table)

    found = load("tiny", tmp_path / "store")
    joint = found.history.plan.arms[0]
    shown = fronts.found(found.history, joint.key)
    (chosen,) = (one for one in shown if one.selected)
    assert chosen.means[0] == max(one.means[0] for one in shown if one.whole)
    assert any(one.on_front for one in shown)
    assert "pareto" in found.figures()
    tried = found.searched()
    assert tried[tried.method == "joint"].gap.notna().all()
    assert tried[tried.method != "joint"].gap.isna().all()

    storage = f"sqlite:///{tmp_path / 'store' / 'optuna.db'}"
    assert here("search", "tiny").code == 0
    both, one = (
        optuna.load_study(study_name=f"tiny: {name}", storage=storage) for name in ("joint", "unimodal")
    )
    assert [way.name for way in both.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [way.name for way in one.directions] == ["MAXIMIZE"]
    assert {trial.user_attrs["configuration"] for trial in both.best_trials} >= {
        one.number for one in shown if one.on_front
    }
    assert (tmp_path / "store" / "studies" / "tiny" / "search" / "joint slice.png").exists()


def test_a_second_metric_that_comes_later_leaves_runs_as_they_are(here, study_file):
    here("run", study_file(**{**STUDY, "select": {}}))
    added = here("run", study_file(**STUDY))
    assert added.code == 0
    assert all(run.arm.axes["method"] == "joint" for run in added.runs)
    assert not any(run.configuration < 2 and run.stage == "search" and run.seed == 0 for run in added.runs)
