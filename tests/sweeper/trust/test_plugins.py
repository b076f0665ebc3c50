"""A plug-in is code that runs: it is imported by the runs of a study that names it, and by nothing else."""

from __future__ import annotations

import sys

import pytest

MARKS = '''
from pathlib import Path
from sweeper.models.method import Method

(Path(__file__).parent / "imported").touch()


class Marks(Method):
    """Joint training."""
'''
CHANGES = {
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "search": {"configurations": 1},
    "final": {"seeds": [100]},
    "train": {"epochs": 1},
}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A module that could be imported, and that notes whether it was."""
    (tmp_path / "marks_method.py").write_text(MARKS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "imported"


@pytest.mark.parametrize(
    "command",
    [
        ["methods"],
        ["datasets"],
        ["status"],
        ["plan", "STUDY"],
        ["run", "STUDY"],
        ["report", "tiny"],
        ["gc", "--remove"],
    ],
    ids=" ".join,
)
def test_nothing_imports_what_no_study_names(here, study_file, plugin, command):
    assert here("run", study_file(**CHANGES, methods=["joint"])).code == 0
    words = [study_file(**CHANGES, methods=["joint"]) if word == "STUDY" else word for word in command]
    assert here(*words).code == 0
    assert not plugin.exists()


def test_a_study_that_names_it_is_planned_and_reported_without_importing_it(here, study_file, plugin):
    study = study_file(**CHANGES, methods=["marks"], plugins=["marks_method"])
    assert here("plan", study).code == 0
    assert not plugin.exists()
    told = here("run", study)
    assert (told.code, len(told.runs)) == (0, 1)
    assert plugin.exists()
    plugin.unlink()
    sys.modules.pop("marks_method")
    for command in (["plan", study], ["status"], ["report", "tiny"], ["methods"], ["gc"]):
        assert here(*command).code == 0
    assert not plugin.exists()


@pytest.mark.parametrize(
    "name", ["os.path", "sweeper.cli", "..marks_method", "marks_method.", "/tmp/x", "marks-method", ""]
)
def test_a_plugin_that_is_no_module_with_a_method_is_refused(here, study_file, plugin, name):
    told = here("plan", study_file(**CHANGES, methods=["joint"], plugins=[name]))
    assert told.code == 2
    assert told.err.startswith("sweeper: plugin ")
    assert not plugin.exists()
