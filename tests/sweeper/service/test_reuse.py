"""What is done stays done: under other code where a study says so, and whatever its dataset is called."""

from __future__ import annotations

import json
import sys

import pytest

from sweeper.models.schema import digest, sources

DATASET = {"name": "synthetic", "train": 64, "validation": 48, "test": 48, "signal": 4.0}
SMALL = {
    "dataset": DATASET,
    "methods": ["joint", "own"],
    "plugins": ["own"],
    "search": {"configurations": 3, "seeds": [0, 1], "racing": "halving", "ahead": 1},
    "train": {"epochs": 2, "batch_size": 32},
}
OWN = '''
from sweeper.models.method import Method


class Own(Method):
    """A method of the user's."""

    def loss(self, output, batch, ctx):
        return {factor} * super().loss(output, batch, ctx)  # {comment}
'''
PER_ARM = 3 + 2 + 2  # configurations, of which two are repeated, and report seeds


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the user's method as if the process began anew after it."""
    monkeypatch.syspath_prepend(tmp_path)

    def call(factor="1.0", comment="as it should be"):
        (tmp_path / "own.py").write_text(OWN.replace("{factor}", factor).replace("{comment}", comment))
        sys.modules.pop("own", None)
        for known in (sources._source, sources._places, digest._digest):
            known.cache_clear()

    call()
    return call


@pytest.fixture
def swept(here, write, study_file):
    """Carry out a small study with changes."""
    return lambda **changes: here("run", study_file(**{**SMALL, **changes}))


def methods(told):
    names = [run.arm.method.name for run in told.runs]
    return {name: names.count(name) for name in set(names)}


def ledger(tmp_path):
    return [json.loads(line) for line in (tmp_path / "store" / "ledger.jsonl").read_text().splitlines()]


def test_by_default_what_changed_code_reaches_is_done_again_and_nothing_else(swept, write):
    first = swept()
    assert methods(first) == {"joint": PER_ARM, "own": PER_ARM}
    write(comment="as it is")
    assert swept().runs == []
    write("2.0")
    second = swept()
    assert methods(second) == {"own": PER_ARM}
    assert {run.key for run in second.runs}.isdisjoint(run.key for run in first.runs)
    write()
    assert swept().runs == []  # it is as it was


def test_a_study_that_reuses_what_any_code_did_does_nothing_again(swept, write, tmp_path):
    first = swept()
    write("2.0")
    second = swept(reuse="any")
    assert (second.code, second.runs) == (0, [])
    assert second.table == first.table
    codes = {r["code"] for r in ledger(tmp_path) if r["kind"] == "run" and r["axes"]["method"] == "own"}
    assert len(codes) == 1
    (code,) = codes
    assert f" {code} (own)" in second.out  # the caption says which code the numbers come from
    assert swept(reuse="any").out == second.out


def test_what_is_lacking_is_done_by_the_code_there_is(swept, write, tmp_path):
    first = swept()
    write("2.0")
    wider = swept(reuse="any", final={"seeds": [100, 101, 102]})
    assert methods(wider) == {"joint": 1, "own": 1}
    assert {run.seed for run in wider.runs} == {102}
    codes = [r["code"] for r in ledger(tmp_path) if r["kind"] == "run" and r["axes"]["method"] == "own"]
    assert [codes.count(code) for code in dict.fromkeys(codes)] == [PER_ARM, 1]
    caption = wider.out.partition("Code: ")[2].partition("\n")[0]
    assert f" {codes[0]} (own)" in caption
    assert f" {codes[-1]}" not in caption  # the code that is there now goes without saying
    write("3.0")
    again = swept(reuse="any", final={"seeds": [100, 101, 102]})
    assert (again.runs, again.table) == ([], wider.table)
    assert all(f" {code} (own)" in again.out for code in set(codes))
    write()
    assert swept().table == first.table


def test_what_the_code_there_is_did_comes_before_what_other_code_did(swept, write):
    first = swept()
    write("30.0")
    second = swept()
    assert second.table != first.table
    assert swept(reuse="any").table == second.table
    write()
    third = swept(reuse="any")
    assert (third.runs, third.table) == ([], first.table)


def test_a_plan_counts_what_any_code_did(here, swept, write, study_file):
    swept()
    write("2.0")
    study = {**SMALL, "methods": ["own"]}
    assert f"own: 3 configurations, up to {PER_ARM} runs, 0 done" in here("plan", study_file(**study)).out
    for _ in range(2):  # before a first run under this code, and after it
        told = here("plan", study_file(**study, reuse="any"))
        assert f"own: 3 configurations, up to {PER_ARM} runs, {PER_ARM} done" in told.out
        assert swept(reuse="any").runs == []


def test_what_was_proposed_under_other_code_is_tried_whatever_a_sampler_would_say_now(swept, write, tmp_path):
    tpe = {**SMALL["search"], "sampler": "tpe", "configurations": 12}
    swept(methods=["own"], search=tpe)
    write("2.0")
    path = tmp_path / "store" / "ledger.jsonl"
    changed = [json.loads(line) for line in path.read_text().splitlines()]
    for record in changed:
        if record["kind"] == "proposed" and record["configuration"] == 11:
            record["parameters"]["train.lr"] = 0.0123
    path.write_text("".join(json.dumps(record) + "\n" for record in changed))
    ran = swept(methods=["own"], search=tpe, reuse="any").runs
    assert {run.parameters["train.lr"] for run in ran if run.configuration == 11} == {0.0123}


def test_what_other_code_trained_is_not_evaluated_under_new_conditions(swept, write):
    first = swept(methods=["own"])
    write("2.0")
    later = swept(methods=["own"], reuse="any", conditions=["clean", "gaussian-5"])
    assert [run.stage for run in later.runs] == ["final", "final"]
    assert {run.key for run in later.runs}.isdisjoint(run.key for run in first.runs)


def test_what_was_asked_of_other_code_and_is_not_there_is_not_reused(swept, write):
    """Other hyper-parameters, seeds or data are other work, whoever did it."""
    swept()
    write("2.0")
    assert methods(swept(reuse="any", train={"epochs": 3, "batch_size": 32})) == dict.fromkeys(
        ("joint", "own"), PER_ARM
    )


def test_a_dataset_is_called_by_its_label_in_tables_and_progress(here, study_file, tmp_path):
    named = [{**DATASET, "label": "easy"}, {**DATASET, "signal": 1.0, "label": "hard"}]
    study = {**SMALL, "methods": ["joint"], "plugins": [], "dataset": named}
    first = here("run", study_file(**study))
    assert "easy" in first.table[0]
    assert "hard" in first.table[0]
    assert "synthetic" not in "".join(first.table)
    assert "best joint easy " in first.err
    assert "joint hard " in first.err.splitlines()[-1]
    plan = here("plan", study_file(**study)).out
    assert "\njoint easy: 3 configurations" in plan
    assert "\njoint hard: 3 configurations" in plan
    for form in ("latex", "csv", "html"):
        told = here("report", "tiny", "--format", form).out
        assert "easy" in told
        assert "hard" in told

    renamed = [named[0], {**named[1], "label": "harder"}]
    second = here("run", study_file(**{**study, "dataset": renamed}))
    assert second.runs == []
    assert [row.replace(" ", "").replace("harder", "hard").replace("-", "") for row in second.table] == [
        row.replace(" ", "").replace("-", "") for row in first.table
    ]
    assert "harder" in second.table[0]
