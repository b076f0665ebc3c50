"""Parts of other modules in studies: by which names, in whose keys, and which modules a run's order names."""

from __future__ import annotations

import sys

import pytest

from sweeper import bridge
from sweeper.models.errors import UserError
from sweeper.study import schema, yamls
from sweeper.study import unfold as unfolding
from sweeper.study.payloads import modules
from sweeper.study.runs import Run

ENCODER = """
from torch import nn
from sweeper.models.encoders.base import Encoder
class Thin(Encoder):
    takes = ("vector",)
    def __init__(self, spec, *, width: int = 4):
        super().__init__(width)
        self.map = nn.Linear(spec.shape[0], width)
    def pooled(self, x, mask=None):
        return self.map(x)
"""
METRIC = """
from sweeper.models.maths.metric import Metric
class Surprise(Metric):
    better = "min"
    def __call__(self, predicted, target):
        return 0.5
"""
NOISE = """
from sweeper.models.data.noise.base import Noise
class Fade(Noise):
    takes = ("vector",)
    largest = 4.0
    def __call__(self, x, level, generator, train):
        return x / (1 + level)
"""
BASE = {"study": "s", "dataset": "synthetic", "methods": ["joint"]}
PLUGINS = ["my_package.encoder", "my_package.metric", "my_package.noise"]


@pytest.fixture
def package(plugin):
    """A folder of a package with one part of each of three kinds."""
    for name, text in (("encoder", ENCODER), ("metric", METRIC), ("noise", NOISE)):
        plugin.with_name(f"{name}.py").write_text(text)
    return plugin.parent


def arm_of(**changes):
    (arm,) = unfolding.unfold(schema.parse({**BASE, "plugins": PLUGINS, **changes}))
    return arm


def keys(**changes):
    arm = arm_of(**changes)
    return tuple(Run(arm, 0, arm.defaults(), stage, 0).key for stage in ("search", "final"))


def refusal(**changes):
    with pytest.raises(UserError) as told:
        arm_of(**changes)
    assert "\n" not in str(told.value)
    return str(told.value)


NOISY = {"conditions": ["clean", "fade-2"]}
REPORTED = {"report": {"metrics": ["accuracy", "surprise/m0"]}}
SELECTED = {"select": {"metric": "surprise"}}
BESIDE = {"select": {"beside": "surprise"}}
ENCODED = {"encoders": {"m0": "thin"}}


def test_a_study_keeps_the_names_in_full_and_is_read_back(package):
    study = schema.parse({**BASE, "plugins": PLUGINS, **NOISY, **REPORTED, **SELECTED})
    assert study.conditions == ["clean", "my_package.noise.fade-2"]
    assert study.select.metric == "my_package.metric.surprise"
    assert study.report.metrics == ["accuracy", "my_package.metric.surprise/m0"]
    assert schema.parse(yamls.read(schema.dump(study), "dump")) == study
    alone = {k: v for k, v in yamls.read(schema.dump(study), "dump").items() if k != "plugins"}
    assert schema.parse(alone).conditions == study.conditions  # a full name is enough
    assert bridge.direction("my_package.metric.surprise/m0") == "min"
    assert not bridge.is_share("my_package.metric.surprise")
    assert "my_package.metric" not in sys.modules


def test_what_is_tested_counts_for_final_runs_alone_and_what_trains_for_all(package):
    search, final = keys()
    parts = ((NOISY, True), (REPORTED, True), (SELECTED, False), (BESIDE, False), (ENCODED, False))
    for changes, same in parts:
        found = keys(**changes)
        assert (found[0] == search, found[1] == final) == (same, False), changes


@pytest.mark.parametrize(
    ("file", "changes", "same"),
    [
        ("noise.py", NOISY, (True, False)),
        ("metric.py", REPORTED, (True, False)),
        ("metric.py", SELECTED, (False, False)),
        ("metric.py", BESIDE, (False, False)),
        ("encoder.py", ENCODED, (False, False)),
        ("noise.py", ENCODED, (True, True)),
    ],
)
def test_a_parts_code_counts_where_it_is_used(package, forget, file, changes, same):
    before = keys(**changes)
    path = package / file
    path.write_text(path.read_text() + "\nx = 1\n")
    forget()
    assert tuple(map(str.__eq__, keys(**changes), before)) == same


def test_an_order_names_the_modules_that_its_run_uses(package):
    def used(stage, **changes):
        return modules(arm_of(**changes).payload({}, stage, 0))

    assert used("final") == []
    assert used("search", **NOISY, **REPORTED) == []
    assert used("final", **NOISY) == ["my_package.noise"]
    assert used("final", **REPORTED) == used("search", **SELECTED) == ["my_package.metric"]
    assert used("final", **BESIDE) == used("search", **BESIDE) == ["my_package.metric"]
    assert used("search", **ENCODED, methods=["my_package.my_method.my_method"]) == [
        "my_package.encoder",
        "my_package.my_method",
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoders": {"m0": "thn"}}, "unknown encoder 'thn'; did you mean 'thin'"),
        (
            {"encoders": {"m0": {"name": "thin", "widht": 3}}},
            "unknown hyper-parameter 'widht' in encoder 'thin'",
        ),
        ({"conditions": ["fadd-2"]}, "unknown condition 'fadd'; did you mean 'fade'"),
        ({"conditions": ["fade-5"]}, "level is 5.0; admissible: a number from 0 to 4"),
        ({"conditions": ["my_package.noise.fadd-1"]}, "did you mean 'my_package.noise.fade'"),
        ({"select": {"metric": "surprize"}}, "unknown metric 'surprize'; did you mean 'surprise'"),
        (
            {**SELECTED, "dataset": {"name": "synthetic", "task": "multilabel"}},
            "metric 'my_package.metric.surprise' is for classification, not for multilabel",
        ),
        ({"conditions": ["fade-2"], "plugins": []}, "unknown condition 'fade'"),
    ],
)
def test_what_is_wrong_with_them_is_told(package, changes, sentence):
    assert sentence in refusal(**changes)


def test_a_metric_or_noise_of_a_name_that_the_project_has_is_refused(package):
    (package / "metric.py").write_text(METRIC.replace("Surprise", "Accuracy"))
    (package / "noise.py").write_text(NOISE.replace("Fade", "Salt"))
    assert "metric 'accuracy' is there twice: the project's own and my_package.metric" in refusal()
    both = {"plugins": ["my_package.noise"]}
    assert "condition 'salt' is there twice" in refusal(**both, conditions=["salt-2"])
    assert arm_of(**both, conditions=["my_package.noise.salt-2"]).conditions == ("my_package.noise.salt-2",)
