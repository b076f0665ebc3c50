"""Arms that cannot be run: they end the command before it writes, or are left out, and the caption says so."""

from __future__ import annotations

import json

import pytest

SIZES = {"name": "synthetic", "train": 64, "validation": 48, "test": 48}
SMALL = {
    "dataset": [{**SIZES, "modalities": 1, "label": "one"}, {**SIZES, "label": "two"}],
    "methods": ["joint", "lfm"],
    "search": {"configurations": 1},
    "final": {"seeds": [100]},
    "train": {"epochs": 1},
}
PLUGIN = '''
from sweeper.models.method import Method


class Odd(Method):
    """A method that cannot be built on two modalities."""

    def __init__(self, net, task):
        super().__init__(net, task)
        if len(net.dims) > 1:
            raise KeyError("no second modality")
'''
# {what refuses: (changes, the arm that is refused, why, the arms that run)}
CASES = {
    "unfolded": (
        {},
        "one/default/concat/lfm",
        "method 'lfm' needs at least 2 modalities; dataset 'synthetic' has 1 (m0)",
        {("one", "joint"), ("two", "joint"), ("two", "lfm")},
    ),
    "built": (
        {"methods": ["joint", "odd"], "plugins": ["odd"]},
        "two/default/concat/odd",
        "method 'odd' cannot be built (KeyError: 'no second modality')",
        {("one", "joint"), ("one", "odd"), ("two", "joint")},
    ),
    "tested": (
        {
            "methods": [
                "joint",
                {"name": "rw", "label": "matched", "space": {"match": "matched", "noise": []}},
            ],
            "dataset": [{**SIZES, "label": "two"}],
            "conditions": ["clean", "feature-5"],
        },
        "two/default/none/matched",
        "method 'rw' cannot be tested under 'feature-5'; admissible: clean",
        {("two", "joint")},
    ),
}


@pytest.fixture(params=CASES)
def case(request, study_file, tmp_path, monkeypatch):
    """A study, the arm of it that cannot be run, why, and the arms that can."""
    (tmp_path / "odd.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    changes, *rest = CASES[request.param]
    return study_file(**{**SMALL, **changes}), *rest


def arms(told):
    """The arms of the runs that a command carried out."""
    return {(run.arm.axes["dataset"], run.arm.axes["method"]) for run in told.runs}


def records(tmp_path):
    return [json.loads(line) for line in (tmp_path / "store" / "ledger.jsonl").read_text().splitlines()]


def test_one_arm_that_cannot_be_run_ends_the_command_before_it_writes(here, case, tmp_path):
    path, arm, why, _ = case
    told = here("run", path)
    assert (told.code, told.out, told.runs) == (2, "", [])
    assert told.err == f"sweeper: arm {arm}: {why}\n"
    store = tmp_path / "store"
    assert not store.exists() or list(store.iterdir()) == []


def test_where_it_is_left_out_the_rest_runs_and_the_caption_says_so(here, case, tmp_path):
    path, arm, why, rest = case
    told = here("run", path, "--skip-unfit")
    assert told.code == 0, told.err
    assert arms(told) == rest
    assert all(run.stage == "final" for run in told.runs)
    (sentence,) = [line for line in told.out.splitlines() if line.startswith("Left out: ")]
    assert sentence == f"Left out: {arm}, because {why}."
    assert sentence in here("report", "tiny").out
    assert sentence in (tmp_path / "store" / "studies" / "tiny" / "table.md").read_text()
    (plan,) = [record for record in records(tmp_path) if record["kind"] == "study"]
    assert ["/".join(left["axes"].values()) for left in plan["unfit"]] == [arm]
    assert len(plan["arms"]) == len(rest)
    runs = [record for record in records(tmp_path) if record["kind"] == "run"]
    assert {(record["axes"]["dataset"], record["axes"]["method"]) for record in runs} == rest

    again = here("run", path, "--skip-unfit")
    assert (again.code, again.out, again.runs) == (0, told.out, [])
    without = here("run", path)
    assert (without.code, without.err) == (2, f"sweeper: arm {arm}: {why}\n")


def test_a_plan_names_what_is_left_out_when_the_study_is_unfolded(here, study_file, tmp_path):
    _, arm, why, _ = CASES["unfolded"]
    path = study_file(**SMALL)
    told = here("plan", path)
    assert (told.code, told.out, told.err) == (2, "", f"sweeper: arm {arm}: {why}\n")
    told = here("plan", path, "--skip-unfit")
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0].startswith("study tiny: 3 arms, up to 3 runs, 0 done")
    assert f"left out: {arm}: {why}" in lines
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("command", ["run", "plan"])
def test_where_no_arm_can_be_run_there_is_nothing_to_skip(here, study_file, tmp_path, command):
    path = study_file(**{**SMALL, "dataset": SMALL["dataset"][0], "methods": ["lfm"]})
    told = here(command, path, "--skip-unfit")
    assert (told.code, told.out) == (2, "")
    assert told.err == f"sweeper: no arm can be run; {CASES['unfolded'][1]}: {CASES['unfolded'][2]}\n"
    store = tmp_path / "store"
    assert not store.exists() or list(store.iterdir()) == []


def test_where_no_arm_can_be_built_there_is_nothing_to_skip(here, study_file, tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    path = study_file(**{**SMALL, "dataset": SMALL["dataset"][1], "methods": ["odd"], "plugins": ["odd"]})
    told = here("run", path, "--skip-unfit")
    assert (told.code, told.out) == (2, "")
    assert told.err == f"sweeper: no arm can be run; {CASES['built'][1]}: {CASES['built'][2]}\n"
    assert list((tmp_path / "store").iterdir()) == []


def test_a_mistake_in_what_all_arms_share_is_nothing_to_skip(here, study_file):
    told = here("run", study_file(**{**SMALL, "methods": ["joint", "lffm"]}), "--skip-unfit")
    assert (told.code, told.out) == (2, "")
    assert "unknown method 'lffm'; did you mean 'lfm'" in told.err


def test_an_arm_that_fits_at_last_is_run(here, study_file, tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    study = {**SMALL, "methods": ["joint", "lfm"]}
    here("run", study_file(**study), "--skip-unfit")
    study["dataset"] = [{**SIZES, "modalities": 3, "label": "one"}, SMALL["dataset"][1]]
    told = here("run", study_file(**study), "--skip-unfit")
    assert arms(told) == {
        ("one", "joint"),
        ("one", "lfm"),
    }
    assert "Left out" not in told.out
