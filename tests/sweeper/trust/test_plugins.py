"""A plug-in is code that runs: it is imported by the runs of a study that names it, and by nothing else.

A dataset alone is imported where its study is planned, since it says itself what it holds.
"""

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


PARTS = """
from pathlib import Path
from torch import nn
from sweeper.models.encoders.base import Encoder
from sweeper.models.fusions.base import Fusion
from sweeper.models.maths.metric import Metric
from sweeper.models.data.noise.base import Noise

(Path(__file__).parent / "imported").touch()


class MarkedEncoder(Encoder):
    takes = ("vector",)

    def __init__(self, spec):
        super().__init__(4)
        self.map = nn.Linear(spec.shape[0], 4)

    def pooled(self, x, mask=None):
        return self.map(x)


class MarkedFusion(Fusion):
    def __init__(self, dims, n_outputs):
        super().__init__(dims, n_outputs)
        self.head = nn.Linear(4, n_outputs)

    def forward(self, features):
        return self.head(sum(features.values()))


class MarkedMetric(Metric):
    def __call__(self, predicted, target):
        return 0.5


class MarkedNoise(Noise):
    takes = ("vector",)

    def __call__(self, x, level, generator, train):
        return x
"""
DATASET = """
from pathlib import Path
from sweeper.models.data.sources.synthetic import *
from sweeper.models.data.sources import synthetic

(Path(__file__).parent / "imported").touch()


def load(*, root=None):
    return synthetic.load()


def inputs(*, root=None):
    return synthetic.inputs()


def files(*, root=None):
    return []
"""
NAMED = {
    "encoders": {"vector": "marked_encoder"},
    "fusion": "marked_fusion",
    "conditions": ["clean", "marked_noise-1"],
    "report": {"metrics": ["marked_metric"]},
}


@pytest.fixture
def parts(tmp_path, plugin):
    """The same of a module with an encoder, a fusion, a metric and noise."""
    (tmp_path / "marks_parts.py").write_text(PARTS)
    return plugin


def test_parts_of_other_kinds_are_planned_and_reported_without_importing_them(here, study_file, parts):
    study = study_file(**CHANGES, **NAMED, methods=["joint"], plugins=["marks_parts"])
    assert here("plan", study).code == 0
    assert not parts.exists()
    told = here("run", study)
    assert (told.code, len(told.runs)) == (0, 1)
    assert parts.exists()
    parts.unlink()
    sys.modules.pop("marks_parts")
    for command in (["plan", study], ["status"], ["report", "tiny"], ["encoders"], ["gc"]):
        assert here(*command).code == 0
    assert not parts.exists()


def test_a_dataset_is_imported_where_a_study_that_names_it_is_planned_and_nowhere_else(
    here, study_file, plugin, tmp_path
):
    (tmp_path / "marks_data.py").write_text(DATASET)
    named = {**CHANGES, "plugins": ["marks_data"]}
    assert here("plan", study_file(**named)).code == 0
    assert not plugin.exists()
    study = study_file(**named | {"dataset": "marks_data"}, methods=["joint"])
    assert here("run", study).code == 0
    assert plugin.exists()
    plugin.unlink()
    sys.modules.pop("marks_data")
    for command in (["status"], ["report", "tiny"], ["datasets"], ["gc", "--remove"]):
        assert here(*command).code == 0
    assert not plugin.exists()


def test_what_a_datasets_code_raises_is_told_in_one_sentence(here, study_file, plugin, tmp_path):
    (tmp_path / "marks_data.py").write_text(DATASET.replace("return []", "return 1 / 0"))
    told = here("plan", study_file(**CHANGES | {"dataset": "marks_data"}, plugins=["marks_data"]))
    assert told.code == 2
    assert told.err.startswith("sweeper: dataset 'marks_data.marks_data' cannot be read (ZeroDivisionError: ")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["os.path", "sweeper.cli", "..marks_method", "marks_method.", "/tmp/x", "marks-method", ""]
)
def test_a_plugin_that_is_no_module_with_a_method_is_refused(here, study_file, plugin, name):
    told = here("plan", study_file(**CHANGES, methods=["joint"], plugins=[name]))
    assert told.code == 2
    assert told.err.startswith("sweeper: plugin ")
    assert not plugin.exists()
