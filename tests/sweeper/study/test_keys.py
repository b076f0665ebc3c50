"""Keys: a run's is the hash of all that can change its result and of nothing else, an arm's of its proposals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sweeper import bridge
from sweeper.models.errors import UserError
from sweeper.models.schema import sources
from sweeper.models.schema.digest import TRAINER, closure
from sweeper.models.schema.entries import KINDS, entries
from sweeper.study import space
from sweeper.study import unfold as unfolding
from sweeper.study.runs import Run
from sweeper.study.schema import parse

BASE = {"study": "s", "dataset": "synthetic", "methods": ["joint"]}
MIXED = {"name": "synthetic", "kind": ["image", "vector"], "label": "mixed"}


def unfold(**changes):
    return unfolding.unfold(parse({**BASE, **changes}))


def key(parameters=None, stage="search", seed=0, **changes):
    (arm,) = unfold(**changes)
    return Run(arm, 0, arm.defaults() if parameters is None else parameters, stage, seed).key


def place_of(arm):
    return tuple(arm.axes[axis] for axis in ("dataset", "fusion", "method"))


def keys(**changes):
    """The key of each arm's first run, by the arm's dataset, fusion and method."""
    return {place_of(arm): Run(arm, 0, arm.defaults(), "search", 0).key for arm in unfold(**changes)}


# What a study says

SAME = {
    "the study's name": {"study": "another"},
    "resources": {"resources": {"cpus": 2, "gpus": 1.0, "workers": 2}},
    "how it is computed on a GPU": {"resources": {"channels_last": True, "compile": True}},
    "checkpoints": {"checkpoints": "all"},
    "whose runs it reuses": {"reuse": "any"},
    "the label": {"methods": [{"name": "joint", "label": "baseline"}]},
    "the dataset's label": {"dataset": {"name": "synthetic", "label": "ours"}},
    "the layout": {"report": {"rows": ["dataset"], "metrics": ["loss"]}},
    "other seeds": {"final": {"seeds": [5, 6, 7]}, "search": {"seeds": [0, 3]}},
    "how it is searched": {"search": {"sampler": "random", "configurations": 3, "racing": "none", "seed": 4}},
    "a second metric of the search": {"select": {"beside": "gap"}},
    "the space, at the defaults": {"space": {"train.lr": {"float": [0.001, 0.5]}}},
    "a default that is written": {"train": {"momentum": 0.9, "optimizer": "sgd"}},
    "an option's default that is written": {"dataset": {"name": "synthetic", "n_classes": 4}},
    "a whole number for a float": {"dataset": {"name": "synthetic", "signal": 1}},
    "fusion as a mapping": {"fusion": [{"name": "concat"}]},
    "the default encoder, by modality": {"encoders": {"m0": "mlp"}},
    "the default encoder, by kind": {"encoders": {"vector": {"name": "mlp", "hidden": 64}}},
    "an encoder of a kind that there is not": {"encoders": {"image": "convnet", "audio": "wave"}},
    "an encoder of a kind whose modalities have their own": {
        "encoders": {"vector": {"name": "mlp", "hidden": 9}, "m0": "mlp", "m1": "mlp"}
    },
    "an augmentation of a kind that there is not": {"augment": {"image": ["crop", "flip"]}},
    "the published preset": {"methods": [{"name": "joint", "preset": "published"}]},
}
OTHER = {
    "a setting": {"train": {"epochs": 31}},
    "a searched setting, fixed": {"train": {"lr": 0.02}},
    "the learning rate of a modality": {"train": {"lr.m0": 0.02}},
    "a dataset's option": {"dataset": {"name": "synthetic", "noise": 2.0}},
    "the dataset": {"dataset": "digits"},
    "the fusion": {"fusion": "mean"},
    "an encoder's option": {"encoders": {"m0": {"name": "mlp", "hidden": 32}}},
    "an option of a kind's encoder": {"encoders": {"vector": {"name": "mlp", "hidden": 32}}},
    "the method": {"methods": ["uniform"]},
    "a hyper-parameter": {"methods": [{"name": "label_smoothing", "space": {"eps": 0.2}}]},
    "a preset": {"methods": [{"name": "udml", "preset": "released"}]},
    "the preset's method": {"methods": ["udml"]},
    "the metric that chooses the epoch": {"select": {"metric": "loss"}},
    "data that can be augmented": {"dataset": MIXED},
    "an augmentation": {"dataset": MIXED, "augment": {"image": "flip"}},
    "an augmentation's option": {
        "dataset": MIXED,
        "augment": {"m0": {"name": "flip", "probability": 0.25}},
    },
    "the order of augmentations": {"dataset": MIXED, "augment": {"m0": ["crop", "flip"]}},
    "another order of augmentations": {"dataset": MIXED, "augment": {"m0": ["flip", "crop"]}},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_a_runs_key_does_not_change_with(changes):
    assert key(**changes) == key()


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_a_runs_key_changes_with(changes):
    found = {key(**other) for other in ({}, *OTHER.values())}
    assert len(found) == len(OTHER) + 1
    assert key(**changes) != key()


def test_a_runs_key_changes_with_seed_stage_and_configuration():
    found = [key(), key(seed=1), key(stage="final"), key(parameters={"train.lr": 0.1})]
    assert len(set(found)) == 4
    assert key(parameters={"train.lr": 0.01}) == key(parameters={})
    assert key(space={"train.lr": 1}) == key(space={"train.lr": 1.0})


UNREAD = {
    "an encoder": {"encoders": {"m0": {"name": "mlp", "hidden": 9}}},
    "a learning rate": {"train": {"lr.m0": 0.5}},
    "a learning rate that is searched": {"space": {"train.lr.m0": {"float": [0.1, 1.0]}}},
    "an augmentation": {"augment": {"m0": "crop"}},
}


@pytest.mark.parametrize("changes", UNREAD.values(), ids=UNREAD)
def test_what_is_said_of_a_modality_counts_for_the_arms_that_read_it(changes):
    common = {"dataset": MIXED, "methods": ["unimodal", "joint"]}
    before, after = keys(**common), keys(**common, **changes)
    assert {place[2] for place in before if after[place] != before[place]} == {"unimodal m0", "joint"}
    (arm,) = (arm for arm in unfold(**common, **changes) if arm.axes["method"] == "unimodal m1")
    assert not any("m0" in name for name in (*arm.encoders, *arm.augment, *arm.fixed, *arm.space))


def test_parameters_that_are_inactive_do_not_count():
    own = {"name": "lfm", "space": {"schedule": {"choice": ["constant", "learned"]}}}
    (arm,) = unfold(methods=[own])
    values = {**arm.defaults(), "schedule": "constant", "alpha": 0.25}
    assert set(arm.space) >= {"alpha0", "eta_alpha"}
    one, two = (
        space.filled(
            arm.space, {}, lambda name, own, start=alpha0: {**values, "alpha0": start}.get(name, own.at(0.5))
        )
        for alpha0 in (0.5, 0.8)
    )
    assert Run(arm, 0, one, "search", 0).key == Run(arm, 1, two, "search", 0).key


def test_an_arms_key_is_what_decides_its_proposals():
    (one,) = unfold()
    assert unfold(study="other", search={"configurations": 99, "racing": "none"})[0].key == one.key
    for changes in (
        {"search": {"sampler": "random"}},
        {"search": {"seed": 1}},
        {"select": {"beside": "gap"}},
        {"select": {"beside": "ece"}},
        {"space": {"train.lr": {"float": [0.001, 0.5]}}},
        {"space": {"train.lr": 0.1}},
        {"train": {"epochs": 3}},
    ):
        assert unfold(**changes)[0].key != one.key
    assert replace(one, axes={"method": "renamed"}).key == one.key


def test_code_decides_an_arms_proposals_unless_runs_of_any_code_count():
    (own,), (any_code,) = unfold(), unfold(reuse="any")
    assert replace(own, code="other").key != own.key
    assert replace(any_code, code="other").key == any_code.key
    assert key(reuse="any") != Run(replace(any_code, code="other"), 0, any_code.defaults(), "search", 0).key


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_of_their_own_type_so_that_writing_them_changes_no_key(kind):
    for name, entry in entries(kind).items():
        for parameter, default in entry.defaults().items():
            admitted = entry.parameters[parameter].admit(default, f"{name}: {parameter}")
            assert repr(admitted) == repr(default), f"{kind} {name}: {parameter}"


def test_the_projects_own_folder_is_not_named():
    assert str(sources.HOME.parent) not in repr(unfold()[0].payload({}, "final", 100))


# Files: by content, not by place


def test_the_data_count_by_content_and_not_by_place(tmp_path):
    def arrays(folder, shift):
        folder.mkdir()
        split = np.repeat(["train", "validation", "test"], [6, 3, 3])
        x = np.arange(24, dtype=np.float32).reshape(12, 2) + shift
        np.savez(folder / "own.npz", x_a=x, x_b=x, y=np.tile([0, 1, 2], 4), split=split)
        (arm,) = unfold(dataset={"name": "arrays", "path": str(folder / "own.npz")})
        return Run(arm, 0, {}, "search", 0).key, arm.key

    one, moved, other = (arrays(tmp_path / f, shift) for f, shift in (("a", 0), ("b", 0), ("c", 1)))
    assert one == moved
    assert one[0] != other[0]
    assert one[1] != other[1]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Write pre-trained weights below a root and return the arm and the key of a study that names them."""

    def call(content, root, place="net.pt", named="net.pt"):
        path = tmp_path / root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        monkeypatch.setenv("SWEEPER_MODELS", str(tmp_path / root))
        encoders = {"image": {"name": "resnet18", "width": 8, "weights": named}}
        (arm,) = unfold(dataset=MIXED, encoders=encoders)
        return arm, Run(arm, 0, {}, "search", 0).key

    return call


def test_pre_trained_weights_count_by_content_and_not_by_place(weights, tmp_path):
    arm, own = weights("w", "here")
    assert arm.encoders["m0"]["weights"] == str(tmp_path / "here" / "net.pt")
    assert arm.axes["encoders"] == "image: resnet18 (width 8, net)"
    moved, same = weights("w", "there")
    assert (moved.key, same) == (arm.key, own)
    assert weights("w", "below", "deeper/net.pt", "deeper/net.pt")[1] == own
    assert weights("w", "elsewhere", named=str(tmp_path / "here" / "net.pt"))[1] == own
    other, changed = weights("v", "there")
    assert changed != own
    assert other.key != arm.key
    plain = {"image": {"name": "resnet18", "width": 8}}
    assert key(parameters={}, dataset=MIXED, encoders=plain) not in (own, changed)


def test_a_folder_of_weights_counts_by_all_its_files(weights):
    _, own = weights("w", "here", "net/config.json", "net")
    assert weights("w", "there", "net/config.json", "net")[1] == own
    assert weights("w", "there", "net/more/part.bin", "net")[1] != own


def test_without_a_root_weights_lie_in_the_working_folder(weights, tmp_path, monkeypatch):
    _, own = weights("w", "here")
    monkeypatch.delenv("SWEEPER_MODELS")
    monkeypatch.chdir(tmp_path / "here")
    encoders = {"image": {"name": "resnet18", "width": 8, "weights": "net.pt"}}
    assert key(parameters={}, dataset=MIXED, encoders=encoders) == own


def test_weights_that_are_not_there_are_told_in_one_sentence(weights, tmp_path):
    with pytest.raises(
        UserError, match=r"'resnet18': model 'a/b/nat\.pt' is no folder \(.*nat\.pt\); give"
    ) as told:
        weights("w", "here", named="a/b/nat.pt")
    assert "\n" not in str(told.value)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stand in for the hub: it has one model, whose branch main is at a commit that can be moved; return how."""
    commit = ["1" * 40]

    def download(model, *, revision, **_):
        if model != "some/model":
            raise OSError("Cannot find the requested files in the disk cache.")
        folder = tmp_path / "hub" / (commit[0] if revision == "main" else revision)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(folder.name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return lambda to: commit.__setitem__(0, to * 40)


def of_hub(**options):
    (arm,) = unfold(dataset=MIXED, encoders={"image": {"name": "hf", "model": "some/model", **options}})
    return arm.encoders["m0"], Run(arm, 0, {}, "search", 0).key


def test_a_model_of_the_hub_counts_by_the_commit_that_it_is_at(hub):
    named, own = of_hub()
    assert (named["model"], named["revision"]) == ("some/model", "1" * 40)
    assert of_hub(revision="1" * 40) == (named, own)
    hub("2")
    moved, other = of_hub()
    assert moved["revision"] == "2" * 40
    assert other != own
    assert of_hub(revision="1" * 40)[1] == own


def test_a_model_that_the_hub_does_not_have_is_told_in_one_sentence(hub):
    with pytest.raises(
        UserError, match=r"model of encoder 'hf': model 'other' is no folder .*\(Cannot find the req"
    ) as told:
        of_hub(model="other")
    assert "\n" not in str(told.value)


# Code

ALL = {
    "dataset": ["synthetic", "digits", MIXED],
    "methods": list(entries("method")),
    "fusion": ["concat", "film"],
    "augment": {"image": "crop"},
}


def every(place):
    return True


def none(place):
    return False


def method(*names):
    return lambda place: place[2].split()[0] in names


def encoded(place):
    return not place[2].startswith("linear")


def of_image(place):
    return encoded(place) and place[0] == "mixed" and not place[2].endswith(" m1")


def augmented(place):
    return of_image(place) and entries("method")[place[2].split()[0]].facts["trains"]


def of_vector(place):
    return encoded(place) and (place[0] != "mixed" or not place[2].endswith(" m0"))


CODE = {
    "streams.py": every,
    "values.py": every,
    "training/trainer.py": every,
    "training/run.py": every,
    "training/settings.py": every,
    "data/dataset.py": every,
    "data/noise/corruptions.py": every,
    "data/augment/base.py": every,
    "encoders/base.py": every,
    "maths/metrics.py": every,
    "__init__.py": every,
    "methods/__init__.py": every,
    "tasks/classification.py": every,
    "tasks/segmentation.py": none,
    "schema/digest.py": none,
    "methods/ogm.py": method("ogm"),
    "methods/mla.py": method("mla"),
    "methods/unimodal.py": method("unimodal"),
    "maths/hypergradient.py": method("lfm"),
    "maths/matching.py": method("lfm", "cl_dmdf", "mmcosine", "umt"),
    "maths/regressors.py": method("rw"),
    "fusions/film.py": lambda place: place[1] == "film",
    "fusions/gated.py": none,
    "encoders/convnet.py": of_image,
    "encoders/mlp.py": of_vector,
    "encoders/wave.py": none,
    "data/augment/pictures.py": augmented,
    "data/augment/spans.py": none,
    "data/sources/digits.py": lambda place: place[0] == "digits",
    "data/sources/synthetic.py": lambda place: place[0] != "digits",
    "data/sources/digits3.py": none,
}


def test_the_code_of_a_run_is_what_its_trainer_and_its_parts_import(monkeypatch):
    def modules(parts):
        return " ".join(closure([sources.source_of(TRAINER), *(part.source for part in parts)]))

    monkeypatch.setattr(bridge, "code_digest", modules)
    reached = {place_of(arm): arm.code.split() for arm in unfold(**ALL)}
    assert {method for _, _, method in reached} > set(entries("method")) - {"unimodal"}
    for file, uses in CODE.items():
        assert (sources.HOME / file).exists(), file
        module = f"{sources.OWN}.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
        found = {place for place, names in reached.items() if module in names}
        assert found == {place for place in reached if uses(place)}, file


@pytest.fixture
def touched(models, forget):
    """Change files of a copy of models/; return the arms of FEW whose keys that changes."""
    latest = keys(**FEW)

    def call(**files):
        nonlocal latest
        before = latest
        for file, text in files.items():
            (models / file).parent.mkdir(exist_ok=True)
            with (models / file).open("a") as out:
                out.write(text)
        forget()
        latest = keys(**FEW)
        assert latest.keys() == before.keys()
        return {place for place in before if latest[place] != before[place]}

    return call


FEW = {**ALL, "methods": ["unimodal", "joint", "lfm", "ogm"]}
TOUCHED = ("streams.py", "methods/ogm.py", "maths/matching.py", "fusions/film.py", "encoders/convnet.py")
TOUCHED += ("data/sources/digits.py", "data/augment/spans.py")


def test_a_changed_file_changes_the_keys_of_the_runs_that_use_it(touched):
    places = {place_of(arm) for arm in unfold(**FEW)}
    for file in TOUCHED:
        assert touched(**{file: "\nEXTRA = 1\n"}) == {place for place in places if CODE[file](place)}, file


CLASS = "from sweeper.models.{} import {}\n\n\nclass Later({}):\n    takes = ('vector', 'image')\n"
ADDED = {
    "training/later.py": "EXTRA = 1\n",
    "reports/__init__.py": "",
    "reports/summary.py": "from sweeper.models import streams\n",
    "README.md": "# Notes\n",
    "methods/later.py": CLASS.format("method", "Method", "Method"),
    "encoders/later.py": CLASS.format("encoders.base", "Encoder", "Encoder"),
    "fusions/later.py": CLASS.format("fusions.base", "Fusion", "Fusion"),
    "data/augment/later.py": CLASS.format("data.augment.base", "Augmentation", "Augmentation"),
    "data/sources/later.py": "def load(*, root=None, size: int = 1): ...\n",
}


def test_what_is_added_to_the_code_can_be_named_and_changes_no_key(touched):
    assert touched(**ADDED) == set()
    for kind in ("method", "encoder", "fusion", "augmentation", "dataset"):
        assert "later" in entries(kind)


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("training/trainer.py", "import time\n", "import time\nimport cmath\n", False),
        ("methods/ogm.py", "class Ogm(Method):", "class Ogm(Method):\n    extra = 1\n", False),
        ("data/sources/synthetic.py", "SAMPLES = 4, 64", "SAMPLES = 5, 64", False),
        ("methods/mla.py", "class Mla(Method):", "class Mla(Method):\n    extra = 1\n", True),
        ("data/sources/digits.py", "def load", "EXTRA = 1\n\n\ndef load", True),
        ("training/trainer.py", "import time\n", "import time  # a comment\n\n\n", True),
        ("training/trainer.py", '"""', '"""Said otherwise. ', True),
        ("methods/ogm.py", 'class Ogm(Method):\n    """', 'class Ogm(Method):\n    """Said otherwise. ', True),
    ],
)  # fmt: skip
def test_a_runs_key_changes_with_the_code_that_it_uses_and_not_with_words_about_it(
    models, forget, file, old, new, same
):
    before = key(methods=["ogm"])
    assert before == key(methods=["ogm"])
    text = (models / file).read_text()
    assert old in text
    (models / file).write_text(text.replace(old, new, 1))
    forget()
    assert (key(methods=["ogm"]) == before) == same


# Plug-ins

MINE = {"methods": ["my_method"], "plugins": ["my_package.my_method"]}


def test_a_plugins_code_counts(plugin, forget):
    method, before = plugin.read_text(), key(**MINE)
    plugin.write_text(method.replace("super()", "pass\n        super()"))
    forget()
    assert key(**MINE) != before
    plugin.write_text(method.replace("A plugin.", "Another docstring."))
    forget()
    assert key(**MINE) == before


HELPERS = {
    "from my_package.one import x": "my_package/one.py",
    "from my_package import two": "my_package/two.py",
    "import my_package.three": "my_package/three.py",
    "from .four import x as four": "my_package/four.py",
    "from . import five": "my_package/five.py",
    "from .six import *": "my_package/six.py",
    "def late():\n    from .seven import x": "my_package/seven.py",
    "from my_package.inner.eight import x": "my_package/inner/eight.py",
    "from my_package.inner import x": "my_package/inner/__init__.py",
    "from my_package.chain import x": "my_package/end.py",
    "import my_tools": "my_tools.py",
    "from my_other.nine import x": "my_other/nine.py",
    "": "my_package/__init__.py",
}


def test_a_plugins_own_helpers_count_in_its_package_and_beside_it(plugin, forget):
    root = plugin.parents[1]

    def write(text, *files):
        for file in files:
            (root / file).parent.mkdir(exist_ok=True)
            with (root / file).open("a") as out:
                out.write(text)
        forget()
        return key(**MINE)

    write('"""Helps."""\nx = 1\n', "my_other/__init__.py", "my_package/unused.py", *HELPERS.values())
    before = write("from .end import x\n", "my_package/chain.py")
    for statement in HELPERS:
        plugin.write_text(f"{plugin.read_text()}\n\n{statement}\n")
    before = write("# a comment\n", *HELPERS.values())
    assert write("x = 2\n", "my_package/unused.py") == before
    for file in HELPERS.values():
        after = write("x = 2\n", file)
        assert after != before, file
        before = after


def test_a_plugin_changes_nothing_for_the_methods_beside_it(plugin, forget):
    before = key()
    assert key(plugins=MINE["plugins"]) == before
    plugin.write_text(plugin.read_text() + "\n\nx = 1\n")
    forget()
    assert key(plugins=MINE["plugins"]) == before


def test_what_a_plugin_imports_from_libraries_does_not_count(plugin, forget):
    plugin.write_text(plugin.read_text() + "\n\nimport json\n\nimport numpy\nfrom sklearn.svm import SVC\n")
    forget()
    (arm,) = unfold(**MINE)
    reached = closure([arm.method.source])
    assert {name.split(".")[0] for name in reached} == {"my_package", "sweeper"}
    assert all(name == "sweeper" or name.startswith(("sweeper.models", "my_package")) for name in reached)
