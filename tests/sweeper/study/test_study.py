"""Studies: what can be written in a file or by --set, what is refused, how a study unfolds, what makes a run's key."""

from __future__ import annotations

import importlib
import shutil
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper import bridge
from sweeper.models.errors import UserError
from sweeper.models.schema import entries as registry
from sweeper.study import arms, yamls
from sweeper.study import schema as study
from sweeper.study.arms import Run

BASE = {"study": "s", "dataset": "synthetic", "methods": ["joint"]}
EXAMPLE = """
study: lfm_vs_joint
dataset: {name: synthetic, modalities: 3}
encoders: {m0: mlp, m1: {name: mlp, hidden: 32}, m2: mlp}
fusion: [concat, mean]
methods: [unimodal, joint, {name: lfm, space: {schedule: learned}}]
search: {configurations: 12, seeds: [0, 1, 2, 3], sampler: tpe, racing: halving, early_stopping: asha}
final: {seeds: [100, 101, 102, 103, 104]}
train: {epochs: 30}
conditions: [clean]
select: {metric: accuracy, on: validation}
resources: {cpus: 1, gpus: 0.25}
plugins: [my_package.my_method]
"""
METHOD = '''
"""A plugin."""
from sweeper.models.method import Method


class Mine(Method):
    """Joint training with a factor that does nothing."""

    def __init__(self, net, task, *, factor: float = 0.5, kind: str = "a") -> None:
        super().__init__(net, task)
'''


def unfold(**changes):
    return arms.unfold(study.parse({**BASE, **changes}))


def refusal(**changes):
    """The sentence with which a study is refused, by its checks or when it unfolds."""
    with pytest.raises(UserError) as told:
        unfold(**changes)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package of the user's own, outside the project."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_method.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    yield package / "my_method.py"
    for name in [n for n in sys.modules if n.split(".")[0] == "my_package"]:
        del sys.modules[name]
    registry._file_digest.cache_clear()


# Files


def test_the_whole_example_is_read_and_unfolds(tmp_path, plugin):
    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLE)
    loaded = study.load(str(path))
    assert loaded.search.seeds == [0, 1, 2, 3]
    assert loaded.search.early_stopping == "asha"
    assert loaded.resources.gpus == 0.25
    unfolded = arms.unfold(loaded)
    # `unimodal` is one arm per modality and is not multiplied by fusion, since it does not fuse
    assert [(arm.axes["fusion"], arm.axes["method"]) for arm in unfolded] == [
        ("none", "unimodal m0"),
        ("none", "unimodal m1"),
        ("none", "unimodal m2"),
        *((fusion, method) for method in ("joint", "lfm") for fusion in ("concat", "mean")),
    ]
    for arm in unfolded:
        payload = arm.payload(arm.defaults(), "final", 100)
        assert payload["train"]["epochs"] == 30
        assert payload["encoders"]["m1"]["hidden"] == 32
        assert (payload["stage"], payload["conditions"]) == ("final", ["clean"])
        searched = arm.payload(arm.defaults(), "search", 0)
        assert (searched["stage"], searched["conditions"]) == ("search", [])
        assert (payload["fusion"] is None) == (arm.axes["fusion"] == "none")
    assert "schedule" not in unfolded[-1].space
    assert unfolded[-1].fixed["schedule"] == "learned"
    assert study.parse(yamls.read(study.dump(loaded), "dump")) == loaded


def test_single_values_may_stand_for_lists():
    short, long = study.parse({**BASE, "methods": "joint"}), study.parse({**BASE, "dataset": ["synthetic"]})
    assert short == long


@pytest.mark.parametrize("name", study.shipped())
def test_a_shipped_study_is_found_by_its_name(name):
    assert study.load(name).study == name


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("study: [", "is not valid YAML in line 1"),
        ("study: s\nstudy: t", "is not valid YAML in line 2: 'study' stands twice"),
        ("search: {seeds: [0], sampler: tpe, seeds: [1]}", "'seeds' stands twice"),
        (
            "study: s\n\tdataset: digits",
            "is not valid YAML in line 2: found character '\\t' that cannot start",
        ),
        ("study: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("", "is empty; it must be a mapping that begins with `study:`"),
        ("- joint", "holds list; it must be a mapping"),
        ("joint", "holds str; it must be a mapping"),
        ("study: \0", "special characters are not allowed"),
        ("{{a: b}: c}", "is not valid YAML in line 1: found unhashable key"),
        ("[" * 1200, "is nested too deeply"),
        ("{1: 2, study: s, dataset: digits, methods: joint}", "it should have text as its keys"),
    ],
)
def test_a_file_that_is_no_mapping_is_told(tmp_path, text, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        study.load(str(path))
    assert sentence in str(told.value)
    assert "mine.yaml" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_text_is_told(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"cannot be read .*give a text file of YAML"):
        study.load(str(path))


def test_a_study_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"does not exist; give a file, or one of: .*quickstart"):
        study.load("nowhere/none.yaml")
    with pytest.raises(UserError, match="unknown study 'quikstart'; did you mean 'quickstart'"):
        study.load("quikstart")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+4", -20000.0),
        (".5", 0.5),
        ("12", 12),
        ("on", "on"),
        ("no", "no"),
        ("True", True),
        ("null", None),
        (".inf", float("inf")),
        ("1.2.3", "1.2.3"),
        ("1e", "1e"),
        ("'1e-3'", "1e-3"),
        ("{<<: {a: 1, b: 2}, a: 3}", {"a": 3, "b": 2}),
    ],
)
def test_yaml_is_read_as_it_is_meant(text, value):
    found = yamls.read(text, "here")
    assert found == value
    assert type(found) is type(value)


# What is refused


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"serch": {}}, "unknown key 'serch' in study, the top level; did you mean 'search'"),
        ({"search": {"sedes": [1]}}, "unknown key 'sedes' in study, search; did you mean 'seeds'"),
        ({"methods": [{"name": "joint", "spce": {}}]}, "unknown key 'spce' in study, methods.0; did you mean 'space'"),
        ({"search": {"sampler": "tpee"}}, "unknown search.sampler 'tpee' in study; did you mean 'tpe'"),
        ({"search": {"racing": "halved"}}, "did you mean 'halving'? admissible: halving, none, paired"),
        ({"search": {"early_stopping": "ash"}}, "did you mean 'asha'? admissible: asha, median, none"),
        ({"search": {"configurations": "8"}}, "search.configurations is '8'; it should be a valid integer"),
        ({"search": {"configurations": 0}}, "search.configurations is 0; it should be greater than or equal to 1"),
        ({"search": {"configurations": 2.5}}, "search.configurations is 2.5; it should be a valid integer"),
        ({"search": {"seeds": [0, "1"]}}, "search.seeds.1 is '1'; it should be a valid integer"),
        ({"search": {"seeds": [True]}}, "search.seeds.0 is True; it should be a valid integer"),
        ({"search": {"seeds": 3}}, "search.seeds is 3; it should be a valid list"),
        ({"search": {"seeds": []}}, "search.seeds is []; it must not be empty"),
        ({"search": {"seeds": [4, 5, 4]}}, "search.seeds is [4, 5, 4]; it names 4 twice"),
        ({"final": {"seeds": [1, 7]}}, "seed 1 is in search.seeds and in final.seeds; tuning and report seeds must"),
        ({"search": None}, "search is None; it should be a mapping of configurations, seeds"),
        ({"methods": []}, "methods is []; it must not be empty"),
        ({"methods": [3]}, "methods.0 is 3; it should be a mapping of name, label, space"),
        ({"methods": [{"label": "x"}]}, "methods.0.name is missing; needed are name"),
        ({"methods": ["jont"]}, "unknown method 'jont'; did you mean 'joint'"),
        ({"methods": ["joint", "joint"]}, "two arms are called 'synthetic/default/concat/joint'; give each"),
        ({"methods": ["lfm"], "dataset": {"name": "synthetic", "modalities": 1}}, "needs at least 2 modalities; "),
        ({"dataset": "synthetik"}, "unknown dataset 'synthetik'; did you mean 'synthetic'"),
        ({"dataset": {"name": "synthetic", "n_clases": 3}}, "'n_clases' in dataset 'synthetic'; did you mean"),
        ({"dataset": {"name": "synthetic", "n_classes": "3"}}, "n_classes is '3'; admissible: a whole number"),
        ({"dataset": {"n_classes": 3}}, "dataset {'n_classes': 3} has no name; write dataset: NAME"),
        ({"dataset": []}, "dataset is []; it must not be empty"),
        ({"fusion": "conct"}, "unknown fusion 'conct'; did you mean 'concat'"),
        ({"encoders": {"m0": "mpl"}}, "unknown encoder 'mpl'; did you mean 'mlp'"),
        ({"encoders": {"mo": "mlp"}}, "unknown modality 'mo' in encoders; did you mean"),
        ({"encoders": ["mlp"]}, "encoders is ['mlp']; it should be a valid dictionary"),
        ({"train": {"epochss": 3}}, "unknown setting 'epochss' in train; did you mean 'epochs'"),
        ({"train": {"epochs": "many"}}, "train.epochs is 'many'; admissible: a whole number"),
        ({"train": {"optimizer": "lion"}}, "train.optimizer is 'lion'; admissible: sgd | adam | adamw"),
        ({"select": {"metric": "acuracy"}}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"select": {"metric": "accuracy/m3"}}, "unknown modality 'm3' in select.metric 'accuracy/m3'"),
        ({"select": {"on": "test"}}, "unknown select.on 'test' in study; admissible: validation"),
        ({"conditions": ["clean", "clean"]}, "conditions is ['clean', 'clean']; it names 'clean' twice"),
        ({"conditions": []}, "conditions is []; it must not be empty"),
        ({"resources": {"cpus": 0}}, "resources.cpus is 0; it should be greater than 0"),
        ({"resources": {"gpus": "all"}}, "resources.gpus is 'all'; it should be a valid number"),
        ({"resources": {"workers": 1.5}}, "resources.workers is 1.5; it should be a valid integer"),
        ({"checkpoints": "bst"}, "unknown checkpoints 'bst' in study; did you mean 'best'"),
        ({"report": {"rows": ["metod"]}}, "unknown axis 'metod'; did you mean 'method'"),
        ({"report": {"columns": ["dataset", "dataset"]}}, "it names 'dataset' twice"),
        ({"report": {"metrics": ["acuracy"]}}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"study": "a/b"}, "study is 'a/b'; it must be of letters, digits, '.', '_' and '-'"),
        ({"study": 5}, "study is 5; it should be a valid string"),
        ({"plugins": ["no.such"]}, "plugin 'no.such' cannot be imported; give a module on PYTHONPATH"),
        ({"plugins": "no"}, "plugins is 'no'; it should be a valid list"),
        ({"space": {"tau": 0.1}}, "unknown hyper-parameter 'tau' in method 'joint'"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:50],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_sentence(changes, sentence):
    assert sentence in refusal(**changes)


@pytest.mark.parametrize("key", ["study", "dataset", "methods"])
def test_what_is_missing_is_told(key):
    with pytest.raises(UserError, match=f"{key} is missing; needed are study, dataset, methods"):
        study.parse({k: v for k, v in BASE.items() if k != key})


# --set


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=5", "train.epochs", 5),
        ("train.lr=1e-2", "train.lr", 0.01),
        ("final.seeds=[7, 8]", "final.seeds", [7, 8]),
        ("search.sampler=random", "search.sampler", "random"),
        ("search.racing=none", "search.racing", "none"),
        ("dataset=digits", "dataset", [{"name": "digits"}]),
        ("dataset.n_classes=3", "dataset", [{"name": "synthetic", "n_classes": 3}]),
        ("space.train.lr=0.5", "space", {"train.lr": 0.5}),
        ("space.train.lr={float: [0.1, 1]}", "space", {"train.lr": {"float": [0.1, 1]}}),
        ("methods=[joint, ogm]", "methods", [study.MethodEntry(name=name) for name in ("joint", "ogm")]),
        ("encoders.m0=mlp", "encoders", {"m0": {"name": "mlp"}}),
        ("encoders.m0.hidden=8", "encoders", {"m0": {"name": "mlp", "hidden": 8}}),
        ("resources.gpus=0.5", "resources.gpus", 0.5),
        ("report.rows=[method]", "report.rows", ["method"]),
        ("study=a=b", None, "study is 'a=b'"),
        ("train.epochs=", None, "train.epochs is None; admissible: a whole number"),
        ("epochs", None, "--set 'epochs' is not of the form a.b=c"),
        ("=3", None, "--set '=3' is not of the form a.b=c"),
        ("train.epochs=[", None, "--set 'train.epochs=[' is not valid YAML"),
        ("train.epochs.more=3", None, "--set 'train.epochs.more=3': 'epochs' is not a mapping in this study"),
        ("methods.0=lfm", None, "'methods' is not a mapping in this study"),
        ("sarch.seeds=[0]", None, "unknown key 'sarch'"),
        ("search.sede=1", None, "unknown key 'sede' in study.yaml, search; did you mean 'seed'"),
    ],
)
def test_set_replaces_any_value(tmp_path, override, path, value):
    file = tmp_path / "study.yaml"
    file.write_text(
        "{study: s, dataset: synthetic, methods: [joint], train: {epochs: 2}, encoders: {m0: mlp}}"
    )
    if path is None:
        with pytest.raises(UserError) as told:
            arms.unfold(study.load(str(file), [override]))
        assert value in str(told.value)
        return
    found = study.load(str(file), [override])
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == value


def test_later_overrides_win_and_an_empty_section_can_be_filled(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("{study: s, dataset: synthetic, methods: [joint], search:}")
    loaded = study.load(str(file), ["search.seed=1", "search.seed=2"])
    assert loaded.search.seed == 2


# Unfolding


def test_arms_are_dataset_by_encoders_by_fusion_by_method():
    small = {"name": "synthetic", "train": 64}
    unfolded = unfold(dataset=["synthetic", small], fusion=["sum", "mean"], methods=["joint", "ogm"])
    assert [tuple(arm.axes.values()) for arm in unfolded] == [
        (dataset, "default", fusion, method)
        for dataset in ("synthetic", "synthetic (train 64)")
        for method in ("joint", "ogm")
        for fusion in ("sum", "mean")
    ]
    assert len({arm.key for arm in unfolded}) == 8


def test_labels_tell_entries_of_one_method_apart():
    found = unfold(methods=[{"name": "ogm", "label": "ogm, late", "space": {"end": 0.5}}, "ogm"])
    assert [arm.axes["method"] for arm in found] == ["ogm, late", "ogm"]


def test_an_encoder_named_by_kind_of_input_goes_to_every_dataset():
    (arm,) = unfold(encoders={"image": "convnet", "m0": "mlp"})
    assert set(arm.encoders) == {"image", "m0"}
    with pytest.raises(UserError, match="unknown modality 'imag' in encoders; did you mean 'image'"):
        unfold(encoders={"imag": "convnet"})


def test_encoders_go_to_the_datasets_that_have_their_modality():
    three = {"name": "synthetic", "modalities": 3}
    two_arms = unfold(dataset=["synthetic", three], encoders={"m0": "mlp", "m2": "mlp"})
    assert [set(arm.encoders) for arm in two_arms] == [{"m0"}, {"m0", "m2"}]


def test_one_modality_of_a_per_modality_method_can_be_chosen():
    (arm,) = unfold(methods=[{"name": "unimodal", "space": {"modality": "m1"}}])
    assert arm.axes["method"] == "unimodal"
    assert arm.payload({}, "search", 0)["method"]["modality"] == "m1"


# Plugins


def test_a_plugin_is_a_method_like_any_other(plugin):
    entry = {"name": "my_method", "space": {"factor": {"float": [0.1, 1.0]}}}
    (arm,) = unfold(methods=[entry], plugins=["my_package.my_method"])
    assert arm.axes["method"] == "my_method"
    assert arm.defaults()["factor"] == 0.5
    assert arm.payload(arm.defaults(), "search", 0)["method"] == {
        "name": "my_method",
        "factor": 0.5,
        "kind": "a",
    }
    assert "my_package.my_method" not in sys.modules  # planning reads it without importing it
    assert arm.method.load() is importlib.import_module("my_package.my_method").Mine


@pytest.mark.parametrize(
    ("plugins", "method", "sentence"),
    [
        ([], "my_method", "unknown method 'my_method'"),
        (["my_package.my_methd"], "my_method", "plugin 'my_package.my_methd' cannot be imported"),
        (["my_package.my_method"] * 2, "my_method", "brings method 'my_method', which exists already"),
        (["my_package.my_method"], "my_methd", "unknown method 'my_methd'; did you mean 'my_method'"),
    ],
)
def test_a_plugin_that_is_wrong_is_told(plugin, plugins, method, sentence):
    assert sentence in refusal(methods=[method], plugins=plugins)


def test_a_plugin_without_a_method_is_told(plugin):
    plugin.write_text("x = 1\n")
    assert "my_method.py defines 0 subclasses of Method" in refusal(plugins=["my_package.my_method"])


# Keys


def key(parameters=None, stage="search", seed=0, **changes):
    (arm,) = unfold(**changes)
    return Run(arm, 0, arm.defaults() if parameters is None else parameters, stage, seed).key


SAME = {
    "the study's name": {"study": "another"},
    "resources": {"resources": {"cpus": 2, "gpus": 0.5, "workers": 2}},
    "checkpoints": {"checkpoints": "all"},
    "the label": {"methods": [{"name": "joint", "label": "baseline"}]},
    "the layout": {"report": {"rows": ["dataset"], "metrics": ["loss"]}},
    "other seeds": {"final": {"seeds": [5, 6, 7]}, "search": {"seeds": [0, 3]}},
    "how it is searched": {"search": {"sampler": "random", "configurations": 3, "racing": "none", "seed": 4}},
    "the space, at the defaults": {"space": {"train.lr": {"float": [0.001, 0.5]}}},
    "a default that is written": {"train": {"momentum": 0.9, "optimizer": "sgd"}},
    "an option's default that is written": {"dataset": {"name": "synthetic", "n_classes": 4}},
    "a whole number for a float": {"dataset": {"name": "synthetic", "signal": 1}},
    "fusion as a mapping": {"fusion": [{"name": "concat"}]},
}
OTHER = {
    "a setting": {"train": {"epochs": 31}},
    "a searched setting, fixed": {"train": {"lr": 0.02}},
    "a dataset's option": {"dataset": {"name": "synthetic", "noise": 2.0}},
    "the dataset": {"dataset": "digits"},
    "the fusion": {"fusion": "mean"},
    "an encoder": {"encoders": {"m0": "mlp"}},
    "the method": {"methods": ["uniform"]},
    "a hyper-parameter": {"methods": [{"name": "label_smoothing", "space": {"eps": 0.2}}]},
    "the metric that chooses the epoch": {"select": {"metric": "loss"}},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_a_runs_key_does_not_change_with(changes):
    assert key(**changes) == key()


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_a_runs_key_changes_with(changes):
    keys = {key(**other) for other in ({}, *OTHER.values())}
    assert len(keys) == len(OTHER) + 1
    assert key(**changes) != key()


def test_a_runs_key_changes_with_seed_stage_and_configuration():
    found = [key(), key(seed=1), key(stage="final"), key(parameters={"train.lr": 0.1})]
    assert len(set(found)) == 4
    assert key(parameters={"train.lr": 0.01}) == key(parameters={})
    assert key(space={"train.lr": 1}) == key(space={"train.lr": 1.0})


def test_parameters_that_are_inactive_do_not_count():
    own = {"name": "lfm", "space": {"schedule": {"choice": ["constant", "learned"]}}}
    (arm,) = unfold(methods=[own])
    values = {**arm.defaults(), "schedule": "constant", "alpha": 0.25}
    assert set(arm.space) >= {"alpha0", "eta_alpha"}
    one, two = (arms.space.restrict({**values, "alpha0": alpha0}, arm.space) for alpha0 in (0.5, 0.8))
    assert Run(arm, 0, one, "search", 0).key == Run(arm, 1, two, "search", 0).key


def test_the_data_count_by_content_and_not_by_place(tmp_path, monkeypatch):
    import numpy as np

    def arrays(folder, shift):
        folder.mkdir()
        split = np.repeat(["train", "validation", "test"], [6, 3, 3])
        x = np.arange(24, dtype=np.float32).reshape(12, 2) + shift
        np.savez(folder / "own.npz", x_a=x, x_b=x, y=np.tile([0, 1, 2], 4), split=split)
        made = study.parse({**BASE, "dataset": {"name": "arrays", "path": str(folder / "own.npz")}})
        (arm,) = arms.unfold(made)
        return Run(arm, 0, {}, "search", 0).key, arm.key

    one, moved, other = (arrays(tmp_path / f, shift) for f, shift in (("a", 0), ("b", 0), ("c", 1)))
    assert one == moved
    assert one[0] != other[0]
    assert one[1] != other[1]


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of models/ that keys are taken from; call it with a file and a change to get the arm's new key."""
    home = tmp_path / "models"
    shutil.copytree(registry.HOME, home, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(registry, "HOME", home)

    def changed(file=None, old="", new="", **changes):
        if file:
            path = home / file
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new, 1))
        registry._own.cache_clear()
        registry._file_digest.cache_clear()
        return key(**changes)

    yield changed
    registry._own.cache_clear()
    registry._file_digest.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("training/trainer.py", "import math\n", "import math\nimport cmath\n", False),
        ("methods/ogm.py", "class Ogm(Method):", "class Ogm(Method):\n    extra = 1\n", False),
        ("data/sources/synthetic.py", "STEPS = 4", "STEPS = 5", False),
        ("methods/mla.py", "class Mla(Method):", "class Mla(Method):\n    extra = 1\n", True),
        ("data/sources/digits.py", "def load", "EXTRA = 1\n\n\ndef load", True),
        ("training/trainer.py", "import math\n", "import math  # a comment\n\n\n", True),
        ("training/trainer.py", '"""', '"""Said otherwise. ', True),
        (
            "methods/ogm.py",
            'class Ogm(Method):\n    """',
            'class Ogm(Method):\n    """Said otherwise. ',
            True,
        ),
    ],
)
def test_a_runs_key_changes_with_the_code_that_it_uses_and_not_with_words_about_it(
    code, file, old, new, same
):
    before = code(methods=["ogm"])
    assert before == key(methods=["ogm"])
    after = code(file, old, new, methods=["ogm"])
    assert (after == before) == same


def test_a_plugins_code_counts(plugin):
    changes = {"methods": ["my_method"], "plugins": ["my_package.my_method"]}
    before = key(**changes)
    plugin.write_text(METHOD.replace("super()", "pass\n        super()"))
    registry._file_digest.cache_clear()
    assert key(**changes) != before
    plugin.write_text(textwrap.dedent(METHOD).replace("A plugin.", "Another docstring."))
    registry._file_digest.cache_clear()
    assert key(**changes) == before


def test_an_arms_key_is_what_decides_its_proposals():
    (one,) = unfold()
    assert unfold(study="other", search={"configurations": 99, "racing": "none"})[0].key == one.key
    for changes in (
        {"search": {"sampler": "random"}},
        {"search": {"seed": 1}},
        {"space": {"train.lr": {"float": [0.001, 0.5]}}},
        {"space": {"train.lr": 0.1}},
        {"train": {"epochs": 3}},
    ):
        assert unfold(**changes)[0].key != one.key
    assert replace(one, axes={"method": "renamed"}).key == one.key


@pytest.mark.parametrize("kind", bridge.KINDS)
def test_defaults_are_of_their_own_type_so_that_writing_them_changes_no_key(kind):
    for name, entry in bridge.entries(kind).items():
        for parameter, default in entry.defaults().items():
            admitted = entry.parameters[parameter].admit(default, f"{name}: {parameter}")
            assert repr(admitted) == repr(default), f"{kind} {name}: {parameter}"


def test_the_projects_own_folder_is_not_named():
    assert str(Path(registry.HOME).parent) not in repr(unfold()[0].payload({}, "final", 100))
