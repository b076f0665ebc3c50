"""The ledger: what was written is read again, what cannot be read harms nothing, one process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import MISSING, fields

import pytest

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import (
    KINDS,
    Announced,
    ArmPlan,
    Proposed,
    RunRecord,
    Selected,
    Shared,
    typed,
)
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.study.schema import Final, Layout, Search, Select

AXES = {"dataset": "digits", "encoders": "default", "fusion": "concat", "method": "joint"}
PLAN = Announced(
    study="s",
    arms=(ArmPlan(key="a", axes=AXES, code="c", size=3), ArmPlan(key="b", axes=AXES)),
    search=Search(seeds=[3, 4], sampler="qmc"),
    final=Final(seeds=[7]),
    select=Select(metric="loss"),
    layout=Layout(rows=["metric"], columns=["method"]),
    conditions=("clean", "gaussian-5"),
    checkpoints="all",
    reuse="any",
    unfit=({"axes": AXES, "reason": "they do not fit"},),
    git="g",
)
RECORDS = [
    PLAN,
    Proposed(arm="a", configuration=2, parameters={"π": [1.5, None, True, float("inf")]}),
    Shared(arm="a", configuration=2, stage="search", seed=3, key="k"),
    Selected(
        study="s", arm="a", axes=AXES, configuration=2, parameters={"x": 1}, rule="r", runs={7: "k", 8: "l"}
    ),
    RunRecord(
        key="k", status="failed", seed=3, error={"class": "OOM", "message": "m"}, metrics={"v": {"x": 0.5}}
    ),
]


def run(key, **more):
    return RunRecord(**{"key": key, "status": "done", **more})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


def filled(path, n):
    ledger = Ledger(path)
    for i in range(n):
        ledger.append(run(f"k{i}", seed=i))
    return ledger


def test_what_is_appended_is_read_again_in_order(path):
    ledger = filled(path, 3)
    ledger.append(RECORDS[1])
    again = Ledger(path)
    assert again.records == ledger.records
    assert [r.key for r in again.of(RunRecord)] == ["k0", "k1", "k2"]
    assert list(again.runs) == ["k0", "k1", "k2"]
    assert again.corrupt == ledger.corrupt == []
    assert path.read_text().count("\n") == 4


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.KIND)
def test_a_record_is_the_same_after_json_and_what_it_does_not_know_is_left_out(record):
    line = json.dumps(record.raw())
    assert typed(json.loads(line)) == record
    assert typed({**json.loads(line), "of a later version": 1}) == record


def test_what_parts_of_a_plan_do_not_know_is_left_out_as_well():
    raw = PLAN.raw()
    parts = ("search", "final", "select", "layout")
    later = {name: {**raw[name], "later": 1} for name in parts}
    assert typed({**raw, **later, "arms": [{**arm, "later": 1} for arm in raw["arms"]]}) == PLAN


def test_every_kind_of_record_is_known_by_its_name():
    assert set(KINDS.values()) == set(map(type, RECORDS))
    assert all(typed(record.raw()) == record for record in RECORDS)


def test_what_a_record_need_not_say_has_a_default():
    assert typed({"kind": "run", "key": "k", "status": "done"}) == RunRecord(key="k", status="done")
    needed = {f.name: PLAN.raw()[f.name] for f in fields(Announced) if f.default is MISSING}
    assert typed({"kind": "study", **needed}).conditions == ("clean",)


LACKING = [
    pytest.param({k: v for k, v in record.raw().items() if k != f.name}, id=f"{record.KIND} without {f.name}")
    for record in RECORDS
    for f in fields(record)
    if f.default is f.default_factory is MISSING
]


@pytest.mark.parametrize("raw", LACKING)
def test_a_line_that_lacks_what_it_needs_cannot_be_read(path, raw):
    path.write_text(json.dumps(raw) + "\n")
    assert Ledger(path).corrupt == [1]
    assert Ledger(path).records == []


def test_a_record_is_noted_once_but_for_what_changed_on_its_subject(path):
    ledger = Ledger(path)
    for record in (*RECORDS[:4], *RECORDS[:4]):
        ledger.note(record)
    assert ledger.records == RECORDS[:4]
    Ledger(path).note(RECORDS[1])
    assert Ledger(path).records == RECORDS[:4]
    ledger.note(Announced.of({**PLAN.raw(), "git": "another"}))  # the code's state alone is no news
    assert ledger.records == RECORDS[:4]
    ledger.note(Proposed(arm="a", configuration=2, parameters={}))
    assert len(ledger.records) == 5


def test_no_file_is_an_empty_ledger_and_reading_makes_none(path):
    assert Ledger(path).records == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("statuses", "counts"),
    [
        (["failed", "pruned"], "pruned"),
        (["failed", "done"], "done"),
        (["pruned", "done"], "done"),
        (["done", "failed"], "done"),
        (["done", "pruned"], "done"),
    ],
)
def test_the_last_record_of_a_run_counts_but_what_was_done_stays_done_and_all_are_kept(
    path, statuses, counts
):
    ledger = Ledger(path)
    for status in statuses:
        ledger.append(run("k0", status=status))
    assert ledger.runs["k0"].status == Ledger(path).runs["k0"].status == counts
    assert [r.status for r in Ledger(path).of(RunRecord)] == statuses


BROKEN = {
    "no JSON": b"???",
    "half a line": b'{"kind":"run","key":"k9","sta',
    "no kind": b'{"key":"k9"}',
    "a run without key": b'{"kind":"run"}',
    "a key that is none": b'{"kind":"run","key":[]}',
    "a key that is no text": b'{"kind":"run","key":"\\ud800","status":"done"}',
    "an arm that is no text": b'{"kind":"run","key":"k9","status":"done","arm":5}',
    "a number that is none": b'{"kind":"proposed","arm":"a","configuration":[],"parameters":{}}',
    "too deep a list": b"[" * 100_000,
    "an unknown kind": b'{"kind":"rnu","key":"k9","status":"done"}',
    "a plan of an unknown rule": json.dumps({**PLAN.raw(), "search": {"racing": "?"}}).encode(),
    "a plan of an arm without key": json.dumps({**PLAN.raw(), "arms": [{"axes": {}}]}).encode(),
    "seeds that are none": json.dumps({**RECORDS[3].raw(), "runs": {"x": "k"}}).encode(),
    "a list": b"[1,2]",
    "a number": b"5",
    "null": b"null",
    "not UTF-8": b'{"kind":"run","key":"\xff"}',
    "a control character": b'{"kind":"run","key":"\x00"}',
    "nested too deeply": b"[" * 100_000,
    "a kind that is none": b'{"kind":["run"],"key":"k"}',
    "metrics that are none": b'{"kind":"run","key":"k","status":"done","metrics":{"validation":[0.5]}}',
    "a status that is none": b'{"kind":"run","key":"k","status":"dun"}',
    "an error without a message": b'{"kind":"run","key":"k","status":"failed","error":{"class":"OOM"}}',
    "a study without arms": json.dumps({**PLAN.raw(), "arms": []}).encode(),
    "a study without conditions": json.dumps({**PLAN.raw(), "conditions": []}).encode(),
    "an arm without a method": json.dumps(
        {**PLAN.raw(), "arms": [{"key": "a", "axes": {"dataset": "digits"}}]}
    ).encode(),
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_line_that_cannot_be_read_is_kept_reported_and_skipped(path, line):
    filled(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + line + b"\n" + b"".join(lines[1:]))
    ledger = Ledger(path)
    assert ledger.corrupt == [2]
    assert list(ledger.runs) == ["k0", "k1", "k2"]
    ledger.append(run("k3"))
    again = Ledger(path)
    assert again.corrupt == [2]
    assert list(again.runs) == ["k0", "k1", "k2", "k3"]
    assert line in path.read_bytes()


def test_a_run_whose_line_cannot_be_read_is_missing_where_it_was_shared(path):
    ledger = Ledger(path)
    for record in (
        PLAN,
        run("k", arm="elsewhere"),
        Shared(arm="a", configuration=0, stage="search", seed=3, key="k"),
    ):
        ledger.append(record)
    assert History.of("s", Ledger(path).records).searched == {"a": [ledger.runs["k"]], "b": []}
    plan, _, shared = path.read_bytes().splitlines()
    path.write_bytes(plan + b"\n???\n" + shared + b"\n")
    assert History.of("s", Ledger(path).records).searched == {"a": [], "b": []}


@pytest.mark.parametrize("cut", range(1, 40, 4))
def test_a_half_written_last_line_does_not_swallow_the_next(path, cut):
    filled(path, 2)
    path.write_bytes(path.read_bytes()[:-cut])
    ledger = Ledger(path)
    ledger.append(run("k2"))
    ledger.append(run("k3"))
    again = Ledger(path)
    assert {"k0", "k2", "k3"} <= set(again.runs)
    # without its newline only, the line is whole
    assert (again.corrupt, "k1" in again.runs) == (([], True) if cut == 1 else ([2], False))
    assert all(line.strip() for line in path.read_bytes().splitlines())


def test_a_record_that_cannot_be_written_leaves_the_ledger_as_it_was(path):
    ledger = filled(path, 1)
    with pytest.raises(TypeError):
        ledger.append(run("bad", parameters={"value": object()}))
    assert list(Ledger(path).runs) == list(ledger.runs) == ["k0"]


def test_a_small_ledger_has_no_index_and_a_large_one_has(path, reading):
    filled(path, 3)
    Ledger(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        *(["ledger.index"] if reading == "indexed" else []),
        "ledger.jsonl",
    ]


def test_a_second_process_is_refused_in_one_sentence_until_the_first_lets_go(path):
    first = filled(path, 1)
    second = Ledger(path)
    first.lock()
    with pytest.raises(UserError, match=f"is in use by process {os.getpid()}; wait for it or use another"):
        second.lock()
    first.append(run("k1"))
    first.unlock()
    second.lock()
    assert list(second.runs) == ["k0", "k1"]  # what the first appended meanwhile is known
    second.unlock()
    second.unlock()


def test_a_process_that_is_killed_holds_nothing(path):
    code = (
        "import sys, pathlib, sweeper.ledger.file as m\n"
        "ledger = m.Ledger(pathlib.Path(sys.argv[1])); ledger.lock(); print('held', flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        ledger = Ledger(path)
        with pytest.raises(UserError, match=f"in use by process {process.pid};"):
            ledger.lock()
        process.kill()
        process.wait()
        ledger.lock()
        ledger.unlock()


def test_every_record_is_on_disk_when_append_returns(path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(path.read_bytes()))
    ledger = filled(path, 2)
    assert [typed(json.loads(content.splitlines()[-1])) for content in seen] == list(ledger.of(RunRecord))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('{"status": "done", "metrics": {"validation": {"accuracy": 0.5}}}', True),
        ('{"status": "done", "metrics": {"validation": 0.5}}', False),
        ('{"status": "finished"}', False),
        ('{"status": "do', False),
        ("[]", False),
        ("1", False),
        ("{}", False),
    ],
)
def test_a_result_that_cannot_be_recorded_counts_as_none(tmp_path, text, whole):
    path = Storage(tmp_path).run("k") / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert (Storage(tmp_path).result("k") is not None) == whole
