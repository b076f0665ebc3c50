"""Ledgers with lines that are anything: `status`, `report` and `plan` tell what can be read, or what is wrong."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweeper.ledger.file import Ledger
from sweeper.planning.planner import Planner
from sweeper.reports.report import SUFFIXES
from sweeper.service.session import announcement, as_record, proposals
from sweeper.study import schema
from sweeper.study.fields import AXES
from sweeper.study.unfold import unfold
from tests.fuzz.ends import ends_well
from tests.fuzz.trees import NAMES, mutated, scalars, trees_of

STUDY = {
    "study": "fuzzed",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "methods": ["joint", "unimodal"],
    "search": {"configurations": 2, "seeds": [0, 1]},
    "final": {"seeds": [100, 101]},
    "conditions": ["clean", "gaussian-5"],
}
SCORES = {"accuracy": 0.5, "accuracy/m0": 0.25, "loss": 1.0}
RESULTS = [
    {"status": "done", "metrics": {"validation": SCORES, "test/clean": SCORES, "test/gaussian-5": SCORES}},
    {"status": "failed", "error": {"class": "OOM", "message": "m"}, "trace": "t"},
    {"status": "diverged", "error": {"class": "diverged", "message": "m"}, "curve": [0.5, 0.25]},
]


def lines_of(folder: Path) -> list[bytes]:
    """Return the lines of the ledger of a small study whose runs are made up."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    study = schema.load(str(path))
    arms, ledger, others = unfold(study), Ledger(folder / "ledger.jsonl"), itertools.cycle(RESULTS)
    ledger.note(announcement(study, arms, [], "abc"))
    planner = Planner(study, arms, ledger.runs, proposals(arms, ledger), ledger.note)
    while (run := planner.take()) is not None:
        made = RESULTS[0] if run.seed in (0, 100) else next(others)
        ledger.append(record := as_record(study, run, {"epochs": 1, "seconds": 1.0, **made}, {}))
        planner.settle(run.key, record)
    return ledger.path.read_bytes().splitlines()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A storage with a ledger, and its lines."""
    folder = tmp_path_factory.mktemp("fuzz")
    return SimpleNamespace(folder=folder, lines=lines_of(folder))


def told(folder: Path, content: bytes, *more: str) -> None:
    """See that everything that reads a ledger ends well, and leaves it as it is."""
    ledger = folder / "ledger.jsonl"
    ledger.write_bytes(content)
    for command in (
        ["status"],
        ["status", "fuzzed"],
        ["plan", folder / "study.yaml"],
        ["report", "fuzzed", *more],
    ):
        ends_well(*command, "--storage", folder)
    assert ledger.read_bytes() == content


keys = st.sampled_from(NAMES) | scalars.filter(lambda value: not isinstance(value, float)).map(str)
trees = trees_of(scalars, keys)
rows = st.integers(0, 10**6)


def test_the_ledger_that_is_changed_here_tells_a_table(made):
    ledger = made.folder / "ledger.jsonl"
    ledger.write_bytes(b"\n".join(made.lines))
    assert ends_well("report", "fuzzed", "--storage", made.folder)[0] == 0
    assert {json.loads(line)["kind"] for line in made.lines} == {"study", "proposed", "selected", "run"}


@given(lines=st.lists(st.binary() | st.text().map(str.encode) | trees.map(lambda t: json.dumps(t).encode())))
def test_lines_of_anything(made, lines):
    told(made.folder, b"\n".join([*made.lines, *lines]))


@given(data=st.data(), partial=st.booleans(), format=st.sampled_from(list(SUFFIXES)))
def test_records_that_were_changed(made, data, partial, format):
    lines = list(made.lines)
    for row in data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=3)):
        changed = data.draw(mutated([json.loads(made.lines[row])], trees, keys))
        lines[row] = json.dumps(changed).encode()
    told(made.folder, b"\n".join(lines), f"--format={format}", *["--partial"] * partial)


@given(order=st.lists(st.integers(0, 10**6), max_size=40))
def test_lines_that_are_lacking_doubled_or_in_another_order(made, order):
    told(made.folder, b"\n".join(made.lines[i % len(made.lines)] for i in order))


@given(start=st.floats(0, 1), length=st.integers(0, 2000), put=st.binary(max_size=20))
def test_bytes_that_are_lacking_or_others(made, start, length, put):
    whole = b"\n".join(made.lines)
    at = round(start * len(whole))
    told(made.folder, whole[:at] + put + whole[at + length :])


words = st.sampled_from([*AXES, *SCORES, *NAMES, "metrics", "-1", "--"]) | st.text(max_size=5)
names = st.lists(words, max_size=3)


@given(
    format=st.sampled_from(list(SUFFIXES)) | words,
    rows=names,
    columns=names,
    metrics=names,
    study=st.just("fuzzed") | words,
)
def test_options_of_a_report(made, format, rows, columns, metrics, study):
    (made.folder / "ledger.jsonl").write_bytes(b"\n".join(made.lines))
    options = [
        option
        for name, values in (("--rows", rows), ("--columns", columns), ("--metric", metrics))
        if values
        for option in (name, *values)
    ]
    ends_well("report", study, f"--format={format}", *options, "--storage", made.folder)
