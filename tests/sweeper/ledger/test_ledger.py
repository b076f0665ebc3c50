"""The ledger: what was written is read again, what cannot be read harms nothing, one process at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sweeper import ROOT
from sweeper.ledger.file import Ledger
from sweeper.models.errors import UserError


def run(key, **more):
    return {"kind": "run", "key": key, "status": "done", **more}


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
    ledger.append({"kind": "selected", "arm": "a", "π": [1.5, None, True, float("inf")]})
    again = Ledger(path)
    assert again.records == ledger.records
    assert [r["key"] for r in again.of("run")] == ["k0", "k1", "k2"]
    assert list(again.runs) == ["k0", "k1", "k2"]
    assert again.corrupt == ledger.corrupt == []
    assert path.read_text().count("\n") == 4


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
    assert ledger.runs["k0"]["status"] == Ledger(path).runs["k0"]["status"] == counts
    assert [r["status"] for r in Ledger(path).of("run")] == statuses


BROKEN = {
    "no JSON": b"???",
    "half a line": b'{"kind":"run","key":"k9","sta',
    "no kind": b'{"key":"k9"}',
    "a run without key": b'{"kind":"run"}',
    "a key that is none": b'{"kind":"run","key":[]}',
    "a list": b"[1,2]",
    "a number": b"5",
    "null": b"null",
    "not UTF-8": b'{"kind":"run","key":"\xff"}',
    "a control character": b'{"kind":"run","key":"\x00"}',
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
        ledger.append(run("bad", value=object()))
    assert list(Ledger(path).runs) == list(ledger.runs) == ["k0"]


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
    assert [json.loads(content.splitlines()[-1]) for content in seen] == list(ledger.of("run"))
