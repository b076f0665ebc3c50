"""Figures are drawn beside all else, by a process that waits until it is told to begin."""

from __future__ import annotations

import json
import os

import pytest

from sweeper.ledger.file import Ledger
from sweeper.ledger.storage import Storage
from sweeper.service.drawing import Drawing


@pytest.fixture
def storage(here, study_file, tmp_path) -> Storage:
    """A storage that holds a study without figures."""
    assert here("run", study_file()).code == 0
    return Storage(tmp_path / "store")


@pytest.fixture
def drawing(storage, monkeypatch):
    monkeypatch.undo()  # what keeps other tests from drawing
    return Drawing("tiny", storage)


def test_figures_are_drawn_once_it_is_told_to_begin(drawing):
    drawing.prepare()
    drawing.prepare()
    assert drawing.files == []
    drawing.begin()
    assert {"table.png", "table.pdf", "search.png", "validation.png"} <= {p.name for p in drawing.finish()}
    assert drawing.page.read_text().count("data:image/png;base64,") == len(
        list(drawing.page.parent.glob("figures/*.png"))
    )


def test_what_is_drawn_already_is_not_drawn_again(drawing, storage):
    drawing.begin()
    times = {path: path.stat().st_mtime_ns for path in drawing.finish()}
    again = Drawing("tiny", storage)
    again.prepare()
    again.begin()
    assert again.process is None
    assert {path: path.stat().st_mtime_ns for path in again.finish()} == times
    os.utime(storage.ledger)
    again.begin()
    assert all(path.stat().st_mtime_ns > times[path] for path in again.finish())


def test_it_can_be_given_up(drawing):
    drawing.prepare()
    drawing.give_up()
    assert drawing.finish() == []


def test_what_cannot_be_drawn_is_told_and_ends_nothing(drawing, storage, capsys):
    records = Ledger(storage.ledger).records
    run = next(r for r in records if getattr(r, "stage", "") == "final")
    (storage.run(run.key) / "curve.json").write_text(json.dumps([{"alpha": "high"}]))
    drawing.begin()
    drawing.finish()
    told = capsys.readouterr().err
    assert told.startswith("the figures of study 'tiny' are not drawn (")
