"""The index of a large ledger: it changes no answer, spares reading, and is thrown away when not to be trusted."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.ledger import index
from sweeper.ledger.file import Ledger, runs_of
from sweeper.ledger.history import History
from sweeper.ledger.index import place
from sweeper.ledger.records import Announced, ArmPlan, Proposed, Record, RunRecord, Selected, Shared
from sweeper.study.schema import Final, Layout, Search, Select

AXES = {"dataset": "digits", "encoders": "default", "fusion": "concat", "method": "joint"}
STUDIES = ("one", "two", "three")

pytestmark = pytest.mark.parametrize("reading", ["indexed"], indirect=True)


def plan(study, *arms):
    parts = {
        "search": Search(seeds=[0, 1]),
        "final": Final(seeds=[9]),
        "select": Select(),
        "layout": Layout(),
    }
    return Announced(
        study=study, arms=tuple(ArmPlan(key=arm, axes=AXES, work=f"{arm} work") for arm in arms), **parts
    )


def run(key, arm, seed=0, **more):
    return RunRecord(
        **{"key": key, "arm": arm, "seed": seed, "status": "done", "work": f"{arm} work", **more}
    )


def records():
    """Three studies; `one` and `two` share an arm and runs, and some runs have several records."""
    yield plan("one", "a")
    yield from (plan("two", "a", "b"), plan("three", "c"))
    for arm in "abc":
        for k in range(3):
            yield Proposed(arm=arm, configuration=k, parameters={"x": k})
            yield run(f"{arm}{k}", arm, configuration=k)
    yield run("a1", "a", seed=1, status="failed", error={"class": "OOM", "message": "m"})  # a1 stays done
    yield run("b2", "b", status="pruned")
    yield run("c0", "b", status="failed")  # of another arm
    yield Shared(arm="b", configuration=0, stage="search", seed=1, key="c1")
    yield run("final", "c", seed=9, stage="final")
    for study, arm, key in (("one", "a", "final"), ("two", "b", "a0"), ("three", "c", "c2")):
        chosen = {"parameters": {}, "rule": "r", "configuration": 0, "axes": AXES}
        yield Selected(study=study, arm=arm, runs={9: key}, **chosen)
    yield plan("one", "a", "b")


def filled(folder):
    folder.mkdir(exist_ok=True)
    ledger = Ledger(folder / "ledger.jsonl")
    for record in records():
        ledger.append(record)
    return ledger.path


@pytest.fixture
def path(tmp_path):
    return filled(tmp_path)


def answers(ledger):
    """What is asked of a ledger, by whichever way it is read."""
    wishes = [
        {},
        {"key": ["a1", "one"]},
        {"arm": ["b", "c"]},
        {"study": ["two"], "arm": ["a"]},
        {"work": ["b work"]},
    ]
    histories = [History.read(study, ledger) for study in STUDIES]
    return {
        "records": [ledger.of(kind, **w) for kind in (Record, Proposed, RunRecord) for w in wishes],
        "rows": [ledger.rows(RunRecord, **wanted) for wanted in wishes],
        "none": ledger.of(Record, arm=[]),
        "runs": list(ledger.runs.items()),
        "tally": [ledger.tally({arm}) for arm in "abc"],
        "histories": [
            (h.plan, h.searched, h.selected, h.announced, h.looks(AXES), h.errors("b"), h.concerning())
            for h in histories
        ],
        "final": [h.final(arm) for h in histories for arm in h.names],
        "corrupt": ledger.corrupt,
    }


def whole(path, monkeypatch):
    """The answers of a ledger that is read at once."""
    with monkeypatch.context() as patch:
        patch.setattr(index, "UNINDEXED", 2**40)
        return answers(Ledger(path))


def test_no_answer_depends_on_the_way_of_reading(path, monkeypatch):
    assert answers(Ledger(path)) == whole(path, monkeypatch)


def test_a_study_is_read_as_out_of_all_records(path):
    ledger = Ledger(path)
    for study in STUDIES:
        read, all_ = History.read(study, ledger), History.of(study, ledger.records)
        assert read.plan == all_.plan
        assert read.concerning() == all_.concerning()
        assert (read.searched, read.selections) == (all_.searched, all_.selections)
        assert [read.final(arm) for arm in read.names] == [all_.final(arm) for arm in all_.names]
        own = {key: r for key, r in all_.runs.items() if r.arm in all_.names}
        assert {key: r for key, r in read.runs.items() if r.arm in read.names} == own


def test_a_tally_counts_each_run_once_as_what_became_of_it_in_the_end(path):
    ledger = Ledger(path)
    for arm in "abc":
        own = [(r.stage, r.status) for r in runs_of(ledger.records).values() if r.arm == arm]
        assert ledger.tally({arm}) == {outcome: own.count(outcome) for outcome in own}


@pytest.fixture
def indexed(path):
    """A ledger whose index is there."""
    Ledger(path)
    assert place(path).exists()
    return path


def test_only_the_lines_that_are_asked_for_are_read(indexed, monkeypatch):
    seen = []
    for module in (index, index.lines):
        monkeypatch.setattr(
            module, "parsed", lambda content, read=index.parsed: seen.append(content) or read(content)
        )
    ledger = Ledger(indexed)
    assert seen == []
    assert ledger.runs["b1"] == run("b1", "b", configuration=1)
    assert [content.count(b'"b1"') for content in seen] == [1]
    seen.clear()
    assert ledger.tally({"a"})
    assert len(list(ledger.runs)) == 10
    assert seen == []
    assert History.read("three", ledger).runs
    assert not any(b'"a"' in content for content in seen)


def test_a_record_that_is_held_is_not_read_again(indexed):
    ledger = Ledger(indexed)
    first = ledger.of(RunRecord)
    assert all(one is other for one, other in zip(first, ledger.of(RunRecord), strict=True))


def test_what_is_appended_is_found_and_enters_the_index_once_it_is_much(indexed, monkeypatch):
    monkeypatch.setattr(index, "UNINDEXED", 1000)
    before = place(indexed).read_bytes()
    Ledger(indexed).append(run("a0", "a", metrics={"validation": {"x": 1.0}}))
    ledger = Ledger(indexed)
    assert ledger.runs["a0"].metrics
    assert place(indexed).read_bytes() == before
    with indexed.open("a") as file:  # as another version might
        file.write(f"???{' ' * 1000}\n")
    assert Ledger(indexed).corrupt == [indexed.read_bytes().count(b"\n")]
    assert place(indexed).read_bytes() != before
    assert answers(Ledger(indexed)) == whole(indexed, monkeypatch)


def test_a_line_without_its_end_is_not_indexed(indexed, monkeypatch):
    content = indexed.read_bytes()
    half = content.splitlines()[-1]
    indexed.write_bytes(content + half[:20])
    assert Ledger(indexed).corrupt
    indexed.write_bytes(content + half + b"\n")
    assert answers(Ledger(indexed)) == whole(indexed, monkeypatch)


def line_of(content, key):
    return next(line for line in content.splitlines(keepends=True) if f'"key":"{key}"'.encode() in line)


ALTERED = {
    "shorter": lambda c: b"".join(c.splitlines(keepends=True)[:9]),
    "empty": lambda c: b"",
    "another": lambda c: b"".join(reversed(c.splitlines(keepends=True))),
    "a line gone": lambda c: c.replace(line_of(c, "b0"), b""),
    "a line broken": lambda c: c.replace(line_of(c, "b0"), b"?" * (len(line_of(c, "b0")) - 1) + b"\n"),
    "a run under another key": lambda c: c.replace(b'"key":"b0"', b'"key":"z0"'),
    "a run of another arm": lambda c: c.replace(
        line_of(c, "b0"), line_of(c, "b0").replace(b'"arm":"b"', b'"arm":"a"')
    ),
    "the last line broken": lambda c: c[:-3] + b"??\n",
}


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_a_ledger_that_was_altered_is_told_as_it_is(indexed, alter, monkeypatch):
    far = b'{"kind":"proposed","arm":"far","configuration":0,"parameters":{}}\n' * 100
    long = far + indexed.read_bytes() + far  # so that neither end is what is altered
    indexed.write_bytes(long)
    Ledger(indexed)
    indexed.write_bytes(alter(long))
    known = {study for study in STUDIES if f'"study":"{study}","arms"'.encode() in alter(long)}
    monkeypatch.setattr(f"{__name__}.STUDIES", known)
    told, expected = answers(Ledger(indexed)), whole(indexed, monkeypatch)
    assert told | {"corrupt": []} == expected | {"corrupt": []}
    assert Ledger(indexed).corrupt == expected["corrupt"]


def garbled(content):
    return content[: len(content) // 2] + b"\xa5" * (len(content) - len(content) // 2)


BAD = {
    "nothing": lambda c: b"",
    "garbage": lambda c: b"no index",
    "half": lambda c: c[: len(c) // 2],
    "garbled": garbled,
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_an_index_that_is_none_is_written_anew(indexed, spoil, monkeypatch):
    place(indexed).write_bytes(spoil(place(indexed).read_bytes()))
    assert answers(Ledger(indexed)) == whole(indexed, monkeypatch)
    assert answers(Ledger(indexed)) == whole(indexed, monkeypatch)
    assert (
        os.listdir(indexed.parent) == ["ledger.jsonl", "ledger.index"] or place(indexed).stat().st_size > 4096
    )


def test_an_index_of_other_code_is_none(indexed, monkeypatch):
    before = place(indexed).stat().st_mtime_ns
    Ledger(indexed)
    assert place(indexed).stat().st_mtime_ns == before
    monkeypatch.setattr(index, "schema", index)
    Ledger(indexed)
    assert place(indexed).stat().st_mtime_ns != before


def test_who_may_not_write_reads_it_all(path, monkeypatch):
    def refuse(**_):
        raise PermissionError("read-only")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert answers(Ledger(path)) == whole(path, monkeypatch)
    assert not place(path).exists()


def test_an_index_that_cannot_be_finished_leaves_nothing(path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert answers(Ledger(path)) == whole(path, monkeypatch)
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.jsonl"]


def test_who_has_it_open_goes_on_when_another_takes_its_place(indexed, monkeypatch):
    ledger, expected = Ledger(indexed), whole(indexed, monkeypatch)
    Ledger(indexed).append(replace(run("new", "b"), seed=1))
    Ledger(indexed)
    assert answers(ledger) == expected
