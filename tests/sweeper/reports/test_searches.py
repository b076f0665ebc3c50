"""Optuna shows every arm's search as the ledger has it, read here by Optuna itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import Announced, ArmPlan, Proposed, RunRecord, Selected, Shared
from sweeper.reports.searches import Searches
from sweeper.study.schema import Final, Layout, Search, Select
from sweeper.study.space import Domain

AXES = {"dataset": "digits", "encoders": "default", "fusion": "concat"}
SPACE = {
    "train.optimizer": (Domain("choice", choices=("sgd", "adam")),),
    "train.lr": (
        Domain("float", (0.01, 1.0), True, when=(("train.optimizer", ("sgd",)),), case=1),
        Domain("float", (0.001, 0.1), True, when=(("train.optimizer", ("adam",)),), case=2),
    ),
    "width": (Domain("int", (1, 64)),),
    "shape": (Domain("choice", choices=([1, 2], [3])),),
}


def plan(study="study", arms=("joint", "lfm"), metric="accuracy", beside=""):
    return Announced(
        study=study,
        arms=tuple(
            ArmPlan(key=f"arm-{m}", axes={**AXES, "method": m}, beside=beside, space=SPACE) for m in arms
        ),
        search=Search(configurations=4, seeds=[0, 1]),
        final=Final(seeds=[100]),
        select=Select(metric=metric, beside=beside),
        layout=Layout(),
    )


def proposed(k, arm="joint", **values):
    given = {"train.optimizer": "sgd", "train.lr": 0.1, "width": 8, "shape": [3], "fixed": 5, **values}
    return Proposed(arm=f"arm-{arm}", configuration=k, parameters=given)


def run(k, seed, value=0.5, status="done", *, arm="joint", stage="search"):
    return RunRecord(
        key=f"{arm}-{k}-{stage}-{seed}",
        arm=f"arm-{arm}",
        axes={**AXES, "method": arm},
        configuration=k,
        stage=stage,
        seed=seed,
        status=status,
        metrics={"validation": {"accuracy": value}} if status == "done" else {},
        curve=[value / 2, value] if status == "done" else [value / 2],
        started=1_700_000_000.0 + seed,
        seconds=2.0,
        error={"class": "RuntimeError", "message": "no memory"} if status == "failed" else None,
    )


RECORDS = [
    plan(),
    proposed(0, width=100),  # the default lies outside what is searched
    proposed(1, **{"train.optimizer": "adam", "train.lr": 0.01}),
    proposed(2),
    proposed(3),
    proposed(4),
    run(0, 0, 0.5),
    run(0, 1, 0.75),
    run(1, 0, 0.875),
    run(1, 7, 0.0),  # no tuning seed
    run(2, 0, 0.25, "pruned"),
    run(3, 0, 0.5),
    run(3, 1, 0.5, "failed"),
    Selected(
        study="study",
        arm="arm-joint",
        axes={**AXES, "method": "joint"},
        configuration=1,
        parameters={},
        rule="best mean",
        runs={100: "joint-1-final-100"},
    ),
    run(1, 100, 0.125, stage="final"),
]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "optuna.db"


def entered(file, *histories):
    for records in histories:
        found = Searches(file)
        found.enter(History.of(records[0].study, records))
        found.write()
    return {
        summary.study_name: optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{file}")
        for summary in optuna.get_all_study_summaries(storage=f"sqlite:///{file}")
    }


def test_a_trial_is_a_configuration_and_its_value_the_mean_over_its_tuning_seeds(file):
    study = entered(file, RECORDS)["study: joint"]
    assert study.direction.name == "MAXIMIZE"
    states = [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.WAITING,
    ]
    assert [trial.state for trial in study.trials] == states
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]
    assert [trial.value for trial in study.trials[:2]] == [0.625, 0.875]
    assert study.best_trial.user_attrs["selected"] == "best mean"
    first = study.trials[0]
    assert first.user_attrs["by seed"] == {"0": 0.5, "1": 0.75}
    assert (first.user_attrs["n"], first.user_attrs["std"]) == (2, pytest.approx(0.1767767))
    assert first.intermediate_values == {1: 0.3125, 2: 0.625}
    assert first.duration.total_seconds() == 3.0
    assert study.trials[3].user_attrs["failed"] == ["RuntimeError: no memory"]


def test_parameters_come_with_the_domains_that_were_searched(file):
    trials = entered(file, RECORDS)["study: joint"].trials
    assert trials[1].params == {"train.optimizer": "adam", "train.lr 2": 0.01, "width": 8, "shape": "[3]"}
    assert trials[1].distributions == {
        "train.optimizer": CategoricalDistribution(("sgd", "adam")),
        "train.lr 2": FloatDistribution(0.001, 0.1, log=True),
        "width": IntDistribution(1, 64),
        "shape": CategoricalDistribution(("[1, 2]", "[3]")),
    }
    assert "width" not in trials[0].params
    assert trials[0].user_attrs["parameters"]["width"] == 100


def test_a_run_that_was_carried_out_as_anothers_counts(file):
    shared = Shared(arm="arm-lfm", configuration=0, stage="search", seed=0, key="joint-0-search-0")
    study = entered(file, [*RECORDS, proposed(0, "lfm"), shared])["study: lfm"]
    assert [trial.value for trial in study.trials] == [0.5]


def test_what_is_better_less_is_minimized(file):
    assert entered(file, [plan(metric="loss")])["study: joint"].direction.name == "MINIMIZE"


def test_a_search_by_two_metrics_has_two_values_and_its_front(file):
    two = plan(arms=["joint"], beside="gap")
    records = [two, *(proposed(k) for k in range(3))]
    for k, (accuracy, gap) in enumerate([(0.5, 0.25), (0.75, 0.375), (0.625, 0.5)]):
        own = run(k, 0, accuracy)
        records.append(replace(own, metrics={"validation": {"accuracy": accuracy, "gap": gap}}))
    records += [proposed(3), run(3, 0, 0.5)]
    worse = run(4, 0, 0.25)
    records += [proposed(4), replace(worse, metrics={"validation": {"accuracy": 0.25, "gap": 0.0}})]
    study = entered(file, records)["study: joint"]
    assert [way.name for way in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy", "gap"]
    assert [trial.values for trial in study.trials] == [
        *([0.5, 0.25], [0.75, 0.375], [0.625, 0.5], None),
        [0.25, 0.0],
    ]
    assert [trial.state.name for trial in study.trials] == [*["COMPLETE"] * 3, "FAIL", "COMPLETE"]
    assert [list(trial.constraints.values()) for trial in study.trials] == [
        [0.0],
        [-0.25],
        [-0.125],
        [],
        [0.25],
    ]
    assert [trial.number for trial in study.best_trials] == [
        0,
        1,
    ]  # the last is behind the published defaults
    assert [trial.intermediate_values for trial in study.trials] == [{}] * 5


def test_a_study_takes_the_place_of_what_there_was_of_it_and_of_no_other(file):
    other = [plan("other", ["joint"]), proposed(0), run(0, 0)]
    before = entered(file, RECORDS, other)
    assert set(before) == {"study: joint", "study: lfm", "other: joint"}
    less = [plan("study", ["joint"]), *RECORDS[1:8]]
    after = entered(file, less)
    assert set(after) == {"study: joint", "other: joint"}
    assert [len(after[name].trials) for name in ("study: joint", "other: joint")] == [5, 1]
    with closing(sqlite3.connect(file)) as database:
        lost = "select count(*) from trial_params where trial_id not in (select trial_id from trials)"
        assert database.execute(lost).fetchone() == (0,)


def test_a_damaged_file_is_made_anew(file):
    file.write_bytes(b"no database" * 100)
    assert set(entered(file, RECORDS)) == {"study: joint", "study: lfm"}


def test_what_is_searched_is_announced_and_read_back(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(plan())
    assert Ledger(tmp_path / "ledger.jsonl").records == [plan()]


def test_a_study_leaves_its_search_and_a_command_draws_it(here, study_file, tmp_path):
    made = here("run", study_file())
    assert made.code == 0
    told = here("search", "tiny")
    assert told.code == 0, told.err
    *files, last = told.out.splitlines()
    assert last.startswith(f"optuna-dashboard sqlite:///{tmp_path / 'store' / 'optuna.db'}")
    kinds = ("history", "importances", "slice", "parallel", "contour")
    folder = tmp_path / "store" / "studies" / "tiny" / "search"
    assert files[:5] == [str(folder / f"joint {kind}.png") for kind in kinds]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in files)


def test_without_a_choice_nothing_is_drawn(here, study_file):
    here("run", study_file(search={"configurations": 1}))
    told = here("search", "tiny")
    assert (told.code, told.out) == (2, "")
    assert "two finished configurations that differ" in told.err
