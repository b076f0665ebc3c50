"""Studies: what can be written in a file or by --set, what is refused, how a study unfolds."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from sweeper.ledger.history import History
from sweeper.ledger.records import Proposed
from sweeper.models.errors import UserError
from sweeper.planning import preview
from sweeper.reports import report
from sweeper.reports.caption import caption
from sweeper.service.session import announcement
from sweeper.study import files, space, yamls
from sweeper.study import schema as study
from sweeper.study import unfold as unfolding
from sweeper.study.unfold import Unfit
from sweeper.tracking import view

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


def unfold(**changes):
    return unfolding.unfold(study.parse({**BASE, **changes}))


def refusal(**changes):
    """The sentence with which a study is refused, by its checks or when it unfolds."""
    with pytest.raises(UserError) as told:
        unfold(**changes)
    assert "\n" not in str(told.value)
    return str(told.value)


# Files


def test_the_whole_example_is_read_and_unfolds(tmp_path, plugin):
    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLE)
    loaded = study.load(str(path))
    assert loaded.search.seeds == [0, 1, 2, 3]
    assert loaded.search.early_stopping == "asha"
    assert loaded.resources.gpus == 0.25
    unfolded = unfolding.unfold(loaded)
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
        own = arm.axes["method"].removeprefix("unimodal ")
        assert set(payload["encoders"]) == ({own} if own.startswith("m") else {"m0", "m1", "m2"})
        assert {m: e["hidden"] for m, e in payload["encoders"].items()}.get("m1", 32) == 32
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


@pytest.mark.parametrize("name", files.shipped())
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
        ({"search": {"sampler": "tpee"}}, "search.sampler is 'tpee'; unknown sampler 'tpee'; did you mean 'tpe'"),
        ({"search": {"sampler": {"name": "gp", "n_start": 3}}}, "unknown option 'n_start' in sampler 'gp'"),
        ({"search": {"sampler": {"name": "gp", "n_startup_trials": 0}}}, "n_startup_trials is 0; admissible: a whole"),
        ({"search": {"sampler": {"nam": "gp"}}}, "give a sampler's NAME, or {name: NAME, option: value}"),
        ({"search": {"racing": "halved"}}, "did you mean 'halving'? admissible: cost, elimination, halving, none"),
        ({"search": {"early_stopping": "ash"}}, "did you mean 'asha'? admissible: asha, none, once"),
        ({"search": {"configurations": "8"}}, "search.configurations is '8'; it should be a valid integer"),
        ({"search": {"configurations": 0}}, "search.configurations is 0; it should be greater than or equal to 1"),
        ({"search": {"configurations": 2.5}}, "search.configurations is 2.5; it should be a valid integer"),
        ({"search": {"seeds": [0, "1"]}}, "search.seeds.1 is '1'; it should be a valid integer"),
        ({"search": {"seeds": [True]}}, "search.seeds.0 is True; it should be a valid integer"),
        ({"search": {"seeds": 3}}, "search.seeds is 3; it should be a valid list"),
        ({"search": {"seeds": []}}, "search.seeds is []; it must not be empty"),
        ({"search": {"seeds": [4, 5, 4]}}, "search.seeds is [4, 5, 4]; it names 4 twice"),
        ({"final": {"seeds": [1, 7]}}, "seed 1 is in search.seeds and in final.seeds; tuning and report seeds must"),
        ({"search": None}, "search is None; it should be a mapping of configurations, hours, seeds"),
        ({"methods": []}, "methods is []; it must not be empty"),
        ({"methods": [3]}, "methods.0 is 3; it should be a mapping of name, label, preset, fusion, space"),
        ({"methods": [{"label": "x"}]}, "methods.0.name is missing; needed are name"),
        ({"methods": ["jont"]}, "unknown method 'jont'; did you mean 'joint'"),
        ({"methods": ["joint", "joint"]}, "two arms are called 'synthetic/default/concat/joint'; give methods"),
        ({"methods": ["lfm"], "dataset": {"name": "synthetic", "modalities": 1}}, "needs at least 2 modalities; "),
        ({"dataset": "synthetik"}, "unknown dataset 'synthetik'; did you mean 'synthetic'"),
        ({"dataset": {"name": "synthetic", "n_clases": 3}}, "'n_clases' in dataset 'synthetic'; did you mean"),
        ({"dataset": {"name": "synthetic", "n_classes": "3"}}, "n_classes is '3'; admissible: a whole number"),
        ({"dataset": {"n_classes": 3}}, "dataset {'n_classes': 3} has no name; write dataset: NAME"),
        ({"dataset": []}, "dataset is []; it must not be empty"),
        ({"fusion": "conct"}, "unknown fusion 'conct'; did you mean 'concat'"),
        ({"encoders": {"m0": "mpl"}}, "unknown encoder 'mpl'; did you mean 'mlp'"),
        ({"encoders": {"mo": "mlp"}}, "unknown modality 'mo' in encoders and augment; did you mean"),
        (
            {"encoders": ["mlp"]},
            "encoders.0 is 'mlp'; it should be a mapping of modalities, or kinds of input, to encoders",
        ),
        ({"encoders": []}, "encoders is []; it must not be empty"),
        ({"encoders": {"label": 3}}, "encoders.0.label is 3; it should be a valid string"),
        ({"train": {"epochss": 3}}, "unknown setting 'epochss' in train; did you mean 'epochs'"),
        ({"train": {"epochs": "many"}}, "train.epochs is 'many'; admissible: a whole number"),
        ({"train": {"optimizer": "lion"}}, "train.optimizer is 'lion'; admissible: sgd | adam | adamw"),
        ({"select": {"metric": "acuracy"}}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"select": {"metric": "accuracy/m3"}}, "unknown modality 'm3' in select.metric 'accuracy/m3'"),
        ({"select": {"beside": "gapp"}}, "unknown metric 'gapp'; did you mean 'gap'"),
        ({"select": {"beside": "mae"}}, "unknown metric 'mae' in classification"),
        ({"select": {"beside": "accuracy/m3"}}, "unknown modality 'm3' in select.beside 'accuracy/m3'"),
        ({"select": {"beside": "accuracy"}}, "select.metric and select.beside are both 'accuracy'; name two"),
        ({"select": {"beside": "correlation"}}, "select.beside is 'correlation', which some methods alone have"),
        ({"select": {"beside": "gap"}, "methods": ["unimodal"]}, "no arm of the study has select.beside 'gap'"),
        (
            {"select": {"beside": "gap"}, "search": {"sampler": "cmaes"}},
            "sampler 'cmaes' searches by one metric, and select.beside is a second; admissible: tpe, random",
        ),
        (
            {"select": {"beside": "gap"}, "search": {"early_stopping": "once"}},
            "search.early_stopping is 'once', which ends runs by accuracy alone; with select.beside it must be 'none'",
        ),
        ({"search": {"sampler": "motpe"}}, "unknown sampler 'motpe'; did you mean 'tpe'"),
        ({"select": {"on": "test"}}, "unknown select.on 'test' in study; admissible: validation"),
        ({"conditions": ["clean", "clean"]}, "conditions is ['clean', 'clean']; it names 'clean' twice"),
        ({"conditions": []}, "conditions is []; it must not be empty"),
        ({"resources": {"cpus": 0}}, "resources.cpus is 0; it should be greater than 0"),
        ({"resources": {"gpus": "all"}}, "resources.gpus is 'all'; it should be a valid number"),
        ({"resources": {"workers": 1.5}}, "resources.workers is 1.5; it should be a valid integer"),
        ({"checkpoints": "bst"}, "unknown checkpoints 'bst' in study; did you mean 'best'"),
        ({"reuse": "ani"}, "unknown reuse 'ani' in study; did you mean 'any'? admissible: any, code"),
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


def test_an_unknown_key_explains_one_that_is_missing():
    with pytest.raises(UserError, match=r"unknown key 'methds'.*did you mean 'methods'"):
        study.parse({"study": "x", "dataset": "digits", "methds": ["joint"]})


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
        ("encoders.m0=mlp", "encoders", [study.EncoderSet(m0={"name": "mlp"})]),
        ("encoders.m0.hidden=8", "encoders", [study.EncoderSet(m0={"name": "mlp", "hidden": 8})]),
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
            unfolding.unfold(study.load(str(file), [override]))
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


def named(arm):
    """An arm's encoders, in short."""
    return {m: (e["name"], e.get("width", e.get("hidden"))) for m, e in arm.encoders.items()}


def test_an_encoder_named_by_kind_of_input_goes_to_every_dataset_that_has_the_kind():
    images = {"name": "synthetic", "kind": "image"}
    both = {"image": {"name": "convnet", "width": 8}, "m0": "mlp"}
    one, two = unfold(dataset=[images, "synthetic"], encoders=both)
    assert named(one) == {"m0": ("mlp", 64), "m1": ("convnet", 8)}
    assert named(two) == {"m0": ("mlp", 64), "m1": ("mlp", 64)}
    with pytest.raises(
        UserError, match="unknown modality 'imag' in encoders and augment; did you mean 'image'"
    ):
        unfold(encoders={"imag": "convnet"})


def test_encoders_go_to_the_datasets_that_have_their_modality():
    three, wide = {"name": "synthetic", "modalities": 3}, {"name": "mlp", "hidden": 9}
    two_arms = unfold(dataset=["synthetic", three], encoders={"m0": wide, "m2": wide})
    assert [named(arm) for arm in two_arms] == [
        {"m0": ("mlp", 9), "m1": ("mlp", 64)},
        {"m0": ("mlp", 9), "m1": ("mlp", 64), "m2": ("mlp", 9)},
    ]


@pytest.mark.parametrize(
    ("encoders", "label"),
    [
        ({}, "default"),
        ({"image": "convnet"}, "default"),
        ({"m0": "mlp"}, "m0: mlp"),
        ({"vector": {"name": "mlp", "hidden": 9}, "image": "convnet"}, "vector: mlp (hidden 9)"),
        ({"vector": "mlp", "m0": "mlp"}, "vector: mlp, m0: mlp"),
        ({"vector": {"name": "mlp", "hidden": 9}, "m1": "mlp", "m0": "mlp"}, "m1: mlp, m0: mlp"),
    ],
)
def test_the_axis_names_the_encoders_that_some_modality_of_the_dataset_gets(encoders, label):
    (arm,) = unfold(encoders=encoders)
    assert arm.axes["encoders"] == label


def test_sets_of_encoders_are_compared_as_datasets_and_fusions_are():
    sets = [{"label": "wide", "m0": {"name": "mlp", "hidden": 9}}, {"vector": {"name": "mlp", "hidden": 3}}]
    found = unfold(encoders=sets, methods=["joint", "ogm"])
    assert [(arm.axes["encoders"], arm.axes["method"]) for arm in found] == [
        (encoders, method) for encoders in ("wide", "vector: mlp (hidden 3)") for method in ("joint", "ogm")
    ]
    assert [named(arm) for arm in found[::2]] == [
        {"m0": ("mlp", 9), "m1": ("mlp", 64)},
        {"m0": ("mlp", 3), "m1": ("mlp", 3)},
    ]
    assert len({arm.key for arm in found}) == 4
    assert "two arms are called 'synthetic/wide/concat/joint'" in refusal(
        encoders=[sets[0], {**sets[1], "label": "wide"}]
    )


def test_a_set_of_encoders_may_bring_a_space_over_the_datasets_and_below_the_entries():
    dataset = {"name": "synthetic", "space": {"train.epochs": 4, "train.lr": 0.5}}
    sets = [{"label": "long", "m0": "mlp", "space": {"train.epochs": 9, "train.lr": 0.1}}, {"label": "short"}]
    entry = {"name": "joint", "space": {"train.lr": 0.2}}
    long, short = unfold(dataset=dataset, encoders=sets, methods=[entry])
    assert [(arm.fixed["train.epochs"], arm.fixed["train.lr"]) for arm in (long, short)] == [
        (9, 0.2),
        (4, 0.2),
    ]
    assert "unknown hyper-parameter 'train.epoch'" in refusal(encoders={"space": {"train.epoch": 9}})
    assert "unknown hyper-parameter 'train.lr.m7'" in refusal(encoders={"space": {"train.lr.m7": 0.1}})


def test_what_uses_no_encoders_is_there_once_beside_several_sets():
    found = unfold(encoders=[{"label": "a", "m0": "mlp"}, {"label": "b"}], methods=["linear", "joint"])
    assert [(arm.axes["method"], arm.axes["encoders"]) for arm in found] == [
        ("linear", "none"),
        ("linear m0", "none"),
        ("linear m1", "none"),
        ("joint", "a"),
        ("joint", "b"),
    ]
    (alone,) = [arm for arm in unfold(methods=["linear"]) if arm.axes["method"] == "linear"]
    assert (alone.key, alone.axes["encoders"]) == (found[0].key, "default")


def test_a_study_that_is_written_is_read_as_the_same():
    first = study.parse(
        {**BASE, "encoders": [{"label": "a", "m0": "mlp"}, {"m0": {"name": "mlp", "dim": 3}}]}
    )
    assert study.parse(yamls.read(study.dump(first), "dump")) == first
    assert [encoders.named for encoders in first.encoders] == [
        {"m0": {"name": "mlp"}},
        {"m0": {"name": "mlp", "dim": 3}},
    ]


def test_an_entry_may_fuse_by_something_else_than_the_study():
    own = {"name": "joint", "label": "Affine", "fusion": "film"}
    found = unfold(
        methods=["joint", own, {"name": "uniform", "fusion": ["sum", "mean"]}, "mla"], fusion="concat"
    )
    assert [(arm.axes["method"], arm.axes["fusion"]) for arm in found] == [
        ("joint", "concat"),
        ("Affine", "film"),
        ("uniform", "sum"),
        ("uniform", "mean"),
        ("mla", "none"),
    ]
    assert found[1].fusion == {"name": "film"}
    (made_for_gates,) = unfold(methods="greedy", fusion="concat")
    assert made_for_gates.axes["fusion"] == "mmtm"
    assert "unknown fusion 'flim'; did you mean 'film'" in refusal(methods=[{**own, "fusion": "flim"}])
    assert refusal(methods=[{"name": "mla", "fusion": "sum"}]) == (
        "method 'mla' uses no fusion; leave `fusion` out of its entry"
    )


def test_a_floor_is_an_arm_on_all_modalities_and_one_on_each_and_searches_its_own_parameter_alone():
    found = unfold(methods="linear")
    assert [arm.axes["method"] for arm in found] == ["linear", "linear m0", "linear m1"]
    assert [arm.reads for arm in found] == [("m0", "m1"), ("m0",), ("m1",)]
    assert not any(arm.encoders for arm in found)
    assert [arm.fixed["modality"] for arm in found] == [None, "m0", "m1"]
    assert {tuple(arm.space) for arm in found} == {("penalty",)}
    alone = {"name": "synthetic", "modalities": 1}
    assert [arm.axes["method"] for arm in unfold(methods="linear", dataset=alone)] == ["linear"]
    (named,) = unfold(methods=[{"name": "linear", "space": {"modality": "m1"}}])
    assert named.reads == ("m1",)


def test_a_floor_stands_beside_encoders_that_only_others_can_use():
    pictures = {"name": "synthetic", "task": "segmentation", "kind": "image"}
    parts = {"encoders": {"image": "maps"}, "fusion": "decoder", "methods": ["linear", "joint"]}
    *floors, net = unfold(dataset=pictures, select={"metric": "miou"}, **parts)
    assert [arm.encoders for arm in floors] == [{}, {}, {}]
    assert net.encoders.keys() == {"m0", "m1"}


def test_a_dataset_is_called_by_its_label():
    labelled = {"name": "synthetic", "n_classes": 3, "label": "three classes"}
    three, four = unfold(dataset=[labelled, "synthetic"])
    assert [arm.axes["dataset"] for arm in (three, four)] == ["three classes", "synthetic"]
    history = History(announcement(study.parse(BASE), [three, four], (), "g"), [])
    assert "three classes" in report.build(history).text()
    proposed = [Proposed(arm=three.key, configuration=0, parameters={})]
    (shown,) = view.configurations(replace(history, records=proposed)).values()
    assert shown.tags()["dataset"] == "three classes"
    assert shown.name == "joint three classes #0"
    assert "admissible: text" in refusal(dataset={"name": "synthetic", "label": 3})


@pytest.fixture
def arrays(tmp_path):
    """Write a small dataset of one's own and return its place."""

    def write(place):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        split = np.repeat(["train", "validation", "test"], [6, 3, 3])
        x = np.arange(24, dtype=np.float32).reshape(12, 2)
        np.savez(path, x_a=x, x_b=x, y=np.tile([0, 1, 2], 4), split=split)
        return {"name": "arrays", "path": str(path)}

    return write


def test_a_path_never_stands_in_an_axis(arrays, tmp_path):
    one, two, three = unfold(
        dataset=[
            arrays("here/birds.npz"),
            arrays("there/bees.npz") | {"split_seed": 3},
            arrays("there/birds.npz") | {"label": "b"},
        ]
    )
    assert one.axes["dataset"] == "arrays (birds)"
    assert two.axes["dataset"] == "arrays (split_seed 3, bees)"
    assert three.axes["dataset"] == "b"
    assert not any(str(tmp_path) in label for arm in (one, two) for label in arm.axes.values())


def test_two_arms_of_one_name_are_refused_with_the_advice_to_label_them(arrays):
    twice = [arrays("here/birds.npz"), arrays("there/birds.npz")]
    sentence = "two arms are called 'arrays (birds)/default/concat/joint'; give methods, datasets or encoders a `label`"
    assert sentence in refusal(dataset=twice)
    assert len(unfold(dataset=[twice[0], {**twice[1], "label": "those there"}])) == 2


def test_a_preset_is_where_configuration_0_begins():
    published, released, own = unfold(
        methods=[
            "udml",
            {"name": "udml", "label": "r", "preset": "released"},
            {"name": "udml", "label": "o", "preset": "released", "space": {"gamma": 2.5}},
        ]
    )
    values = space.read_file("udml")["released"]
    first = released.payload(released.defaults(), "search", 0)
    assert {name: first["method"][name] for name in values if not name.startswith("train.")} == {
        name: value for name, value in values.items() if not name.startswith("train.")
    }
    assert (first["train"]["lr"], first["train"]["clip"]) == (0.001, 40.0)
    assert published.payload(published.defaults(), "search", 0)["method"]["variant"] == "paper"
    assert {"scope", "momentum"} == set(published.space) - set(released.space)  # of the paper's variant
    assert own.payload(own.defaults(), "search", 0)["method"]["gamma"] == 2.5
    assert len({arm.key for arm in (published, released, own)}) == 3


@pytest.mark.parametrize(
    ("method", "preset", "sentence"),
    [
        ("udml", "relesed", "unknown preset 'relesed' in method 'udml'; did you mean 'released'? admissible: pub"),
        ("joint", "released", "unknown preset 'released' in method 'joint'; admissible: published"),
        ("udml", "space", "unknown preset 'space' in method 'udml'"),
        ("udml", 3, "methods.0.preset is 3; it should be a valid string"),
    ],
)  # fmt: skip
def test_an_unknown_preset_is_told(method, preset, sentence):
    assert sentence in refusal(methods=[{"name": method, "preset": preset}])


# Parts that do not fit


ALONE = {"name": "synthetic", "modalities": 1, "label": "alone"}
REGRESSION = {"name": "synthetic", "task": "regression"}
NEEDS_TWO = "method 'lfm' needs at least 2 modalities; dataset 'synthetic' has 1 (m0)"


def test_arms_whose_parts_do_not_fit_are_left_out_with_the_reason():
    wanted = study.parse({**BASE, "dataset": ["synthetic", ALONE], "methods": ["joint", "lfm"]})
    unfit = []
    arms = unfolding.unfold(wanted, unfit=unfit)
    assert [(arm.axes["dataset"], arm.axes["method"]) for arm in arms] == [
        ("synthetic", "joint"),
        ("synthetic", "lfm"),
        ("alone", "joint"),
    ]
    axes = {"dataset": "alone", "encoders": "default", "fusion": "concat", "method": "lfm"}
    assert unfit == [Unfit(axes, NEEDS_TWO)]
    said = caption(History(announcement(wanted, arms, unfit, "g"), []))
    assert said[-1] == f"Left out: alone/default/concat/lfm, because {NEEDS_TWO}."
    planned = preview.describe(wanted, preview.plan(wanted, arms, {}, {}), unfit)
    assert f"left out: alone/default/concat/lfm: {NEEDS_TWO}" in list(planned)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": ["synthetic", ALONE], "methods": ["joint", "lfm"]}, f"arm alone/default/concat/lfm: {NEEDS_TWO}"),
        ({"fusion": ["sum", "decoder"]}, "arm synthetic/default/decoder/joint: fusion 'decoder' is for segmentation"),
        (
            {"dataset": REGRESSION, "methods": ["joint", "ogm"], "select": {"metric": "mae"}},
            "arm synthetic (task regression)/default/concat/ogm: method 'ogm' supports classification; dataset",
        ),
        ({"encoders": {"m0": "wave"}}, "arm synthetic/m0: wave/concat/joint: encoder 'wave' takes audio, but modality"),
    ],
)  # fmt: skip
def test_where_none_may_be_left_out_the_first_that_does_not_fit_is_named(changes, sentence):
    assert refusal(**changes).startswith(sentence)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"ta": 0.5}, "unknown hyper-parameter 'ta' in method 'lfm'; did you mean 'tau'"),
        ({"tau": -1.0}, "method 'lfm': tau is -1.0; admissible: a number above 0"),
        ({"tau": {"float": [-1, 1]}}, "method 'lfm': space of 'tau' is -1.0; admissible: a number above 0"),
    ],
)
def test_a_mistake_is_never_left_out(space, sentence):
    wanted = study.parse({**BASE, "methods": ["joint", {"name": "lfm", "space": space}]})
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        unfolding.unfold(wanted, unfit=[])


def test_the_learning_rate_of_a_modality_begins_at_the_general_one():
    space = {"train.lr.m0": {"float": [0.001, 0.1], "log": True}}
    for train, begins in (({}, 0.01), ({"lr": 0.05}, 0.05)):
        (arm,) = unfolding.unfold(study.parse({**BASE, "methods": ["joint"], "space": space, "train": train}))
        assert arm.defaults()["train.lr.m0"] == begins


def test_a_study_of_which_no_arm_fits_is_refused():
    wanted = study.parse({**BASE, "dataset": [ALONE], "methods": ["ogm", "lfm"]})
    with pytest.raises(
        UserError, match="no arm can be run; alone/default/concat/ogm: method 'ogm' needs at least 2"
    ):
        unfolding.unfold(wanted, unfit=[])


# Augmentation

IMAGES = {"name": "synthetic", "kind": ["image", "vector"]}


def test_augmentations_go_by_modality_or_kind_with_their_defaults():
    crop, flip = {"name": "crop", "padding": 4}, {"name": "flip", "probability": 0.25}
    images = {"name": "synthetic", "kind": "image"}
    chosen = {"image": "crop", "m1": ["crop", {"name": "flip", "probability": 0.25}]}
    (arm,) = unfold(dataset=images, augment=chosen)
    assert arm.augment == arm.payload({}, "search", 0)["augment"] == {"m0": [crop], "m1": [crop, flip]}
    (arm,) = unfold(dataset=IMAGES, augment={"image": "crop"})
    assert arm.augment == {"m0": [crop]}
    (arm,) = unfold(augment={"image": "crop"})
    assert arm.augment == {}


@pytest.mark.parametrize(
    ("augment", "sentence"),
    [
        ({"m1": "crop"}, "augmentation 'crop' takes image or video, but modality 'm1' of dataset 'synthetic' is of"),
        ({"m0": "frequency_msk"}, "unknown augmentation 'frequency_msk'; did you mean 'frequency_mask'"),
        ({"m0": {"name": "flip", "probability": 2.0}}, "probability is 2.0; admissible: a number from 0 to 1"),
        ({"m0": {"name": "flip", "share": 0.1}}, "unknown hyper-parameter 'share' in augmentation 'flip'"),
        ({"m9": "flip"}, "unknown modality 'm9' in encoders and augment; did you mean"),
        ({"m0": []}, "augment.m0 is []; it must not be empty"),
        (["flip"], "augment is ['flip']; it should be a valid dictionary"),
    ],
)  # fmt: skip
def test_an_augmentation_that_cannot_be_is_told(augment, sentence):
    assert sentence in refusal(dataset=IMAGES, augment=augment)


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
        "name": "my_package.my_method.my_method",
        "factor": 0.5,
        "kind": "a",
    }
    assert "my_package.my_method" not in sys.modules  # planning reads it without importing it
    assert arm.method.load() is importlib.import_module("my_package.my_method").MyMethod


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
    assert "'my_package.my_method' defines nothing that a study can name (a subclass of Method, " in refusal(
        plugins=["my_package.my_method"]
    )
