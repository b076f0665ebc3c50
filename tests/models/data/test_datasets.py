"""What every dataset keeps to, and what each of the built-in ones promises."""

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sweeper.models.data import fingerprint, inputs, load_dataset
from sweeper.models.data.splits import SPLITS, carve
from sweeper.models.errors import UserError
from sweeper.models.schema import entries as registry
from sweeper.models.training.build import build_method

ROOT = Path(os.environ.get("SWEEPER_DATA", "absent"))
needs_data = pytest.mark.skipif(
    not all((ROOT / name).is_dir() for name in ("digits3", "fsdd_mini_flac", "grid_digits")),
    reason="SWEEPER_DATA names no folder with digits3, fsdd_mini_flac and grid_digits",
)
CASES = {
    "arrays": {"path": "mine.npz"},
    "digits": {},
    "digits3": {},
    "fsdd": {},
    "grid_digits": {},
    "synthetic": {},
    "table": {"path": "mine.csv", "columns": {"a": "vector", "b": "vector"}},
}
OF_FILES = {"digits3", "fsdd", "grid_digits"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with somebody's own arrays, and the same as a table."""
    folder = tmp_path_factory.mktemp("data")
    x = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(folder / "mine.npz", x_a=x, x_b=x[:, :2], y=np.arange(60) % 3)
    cells = [f"{' '.join(map(str, row))},{row[0]} {row[1]},{i % 3}" for i, row in enumerate(x)]
    (folder / "mine.csv").write_text("\n".join(["a,b,label", *cells]))
    return folder


@pytest.fixture
def loads_nothing(monkeypatch):
    """Let no dataset be loaded; the reader of a table's column is built to say what it gives."""
    load = registry.Entry.load
    monkeypatch.setattr(registry.Entry, "load", lambda entry: {"reader": load}[entry.kind](entry))


@pytest.fixture(params=[pytest.param(n, marks=needs_data if n in OF_FILES else ()) for n in CASES])
def case(request, mine):
    """Name, options and data folder of each dataset."""
    return request.param, CASES[request.param], ROOT if request.param in OF_FILES else mine


def test_every_dataset_has_a_case():
    """But for those that have to be downloaded, of which tests/models/data/sources has small copies."""
    known = registry.entries("dataset")
    assert {name for name, e in known.items() if "PUBLISHED" not in e.source.definitions} <= set(CASES)


def test_every_class_is_in_every_split_and_no_row_in_two(case, cache):
    name, options, root = case
    dataset = load_dataset(name, options, root, cache)
    spec = dataset.spec
    for split in SPLITS:
        assert set(dataset.target[dataset.rows[split]]) == set(range(spec.n_classes))
        assert spec.sizes[split] == len(dataset.rows[split])
    every = np.concatenate([dataset.rows[s] for s in SPLITS])
    assert sorted(every) == list(range(len(dataset.target)))
    assert spec.name == name
    assert spec.cite


def told(spec):
    """What must be known of an input before it is loaded."""
    return spec.kind, spec.shape


def test_modalities_their_kinds_and_shapes_are_known_without_loading(case, cache, monkeypatch, request):
    name, options, root = case
    spec = load_dataset(name, options, root, cache).spec
    request.getfixturevalue("loads_nothing")
    monkeypatch.setattr(np.random, "default_rng", None)
    found = inputs(name, options, root)
    assert list(found) == list(spec.modalities)
    assert {m: told(s) for m, s in found.items()} == {m: told(s) for m, s in spec.modalities.items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits3", {"modalities": ["signed"]}),
        ("fsdd", {"views": ["logstft"], "n_fft": 512, "hop": 100, "seconds": 0.5}),
        ("fsdd", {"n_mels": 20, "sample_rate": 4000}),
        ("grid_digits", {"modalities": ["sound"], "sound": "logmel"}),
        ("grid_digits", {"lips": "image"}),
    ],
)
@needs_data
def test_options_that_change_shapes_change_what_is_told(name, options, cache):
    spec, found = load_dataset(name, options, ROOT, cache).spec, inputs(name, options, ROOT)
    assert {m: told(s) for m, s in found.items()} == {m: told(s) for m, s in spec.modalities.items()}


def test_train_inputs_are_standardized(case, cache):
    name, options, root = case
    dataset = load_dataset(name, options, root, cache)
    if name == "synthetic":
        return  # fixed by its nature: unit noise
    for m, x in dataset.inputs.items():
        mean, std = dataset.scale[m]
        z = (x[dataset.rows["train"]].astype(float) - mean) / std
        # of a vector its numbers, of an image or video its channels, of a waveform all
        axis = {"audio": None, "video": 2}.get(dataset.spec.modalities[m].kind, 1)
        features = z.reshape(1, -1) if axis is None else np.moveaxis(z, axis, 0).reshape(z.shape[axis], -1)
        varies = features.std(1) > 0
        assert features.mean(1) == pytest.approx(0, abs=1e-6)
        assert features[varies].std(1) == pytest.approx(1, abs=1e-6)
        assert varies.all() or name == "digits"  # whose corners nobody writes in


def test_digits_have_a_scale_for_each_pixel_or_one_for_each_half():
    for standardize, size in (("feature", 32), ("modality", 1)):
        for m, (mean, std) in load_dataset("digits", {"standardize": standardize}).scale.items():
            assert np.size(mean) == np.size(std) == size, m


def test_importing_and_planning_stay_light():
    script = (
        "import sys; from sweeper.models.data import fingerprint, inputs, task\n"
        "for n in ('synthetic', 'digits'): fingerprint(n, {}); inputs(n, {}); task(n, {})\n"
        "print({'torch', 'sklearn', 'librosa', 'soundfile', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_fingerprint_fills_in_defaults_and_loads_nothing(case, cache, loads_nothing):
    name, options, root = case
    full = registry.entry("dataset", name).defaults() | options
    assert fingerprint(name, options, root, cache) == fingerprint(name, full, root)


@pytest.mark.parametrize("options", [{"data_seed": 1}, {"signal": 2}, {"kind": "image"}])
def test_a_fingerprint_tells_options_apart(options):
    assert fingerprint("synthetic", options) != fingerprint("synthetic", {})


def test_a_fingerprint_tells_contents_apart_but_not_places(tmp_path):
    prints = []
    for folder, label in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "mine.npz", x_a=np.zeros((9, 2)), y=np.full(9, label))
        prints.append(fingerprint("arrays", CASES["arrays"], tmp_path / folder))
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("read", [load_dataset, fingerprint, inputs])
def test_an_unknown_name_or_option_is_told_with_the_nearest(read):
    with pytest.raises(UserError, match="unknown dataset 'digit3'; did you mean 'digits3'"):
        read("digit3", {})
    with pytest.raises(UserError, match="unknown hyper-parameter 'sed' in dataset 'synthetic'"):
        read("synthetic", {"sed": 1})


def test_carving_leaves_a_class_its_last_row():
    target = np.array([0, 1, 1, 2, 2, 2])
    kept, carved = carve(np.arange(6), target, 0.9, 0, "validation")
    assert Counter(target[kept]) == {0: 1, 1: 1, 2: 1}
    assert sorted([*kept, *carved]) == list(range(6))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_carving_by_groups_leaves_and_takes_a_group(fraction):
    group = np.repeat([0, 1], 5)
    kept, carved = carve(np.arange(10), group, fraction, 0, "validation", group)
    assert (len(kept), len(carved)) == (5, 5)


@pytest.mark.parametrize(
    ("name", "what"), [("digits3", "npz"), ("fsdd", "fsdd_mini_flac"), ("grid_digits", "npz")]
)
def test_missing_data_say_what_to_put_where(name, what, tmp_path, monkeypatch):
    monkeypatch.delenv("SWEEPER_DATA", raising=False)
    with pytest.raises(UserError, match=rf"{what}.*name that folder with --data-root or SWEEPER_DATA"):
        load_dataset(name, {})
    with pytest.raises(UserError, match=rf"{what} does not exist; put .*--data-root or SWEEPER_DATA"):
        load_dataset(name, {}, tmp_path)


@needs_data
def test_fsdd_reads_the_sound_files_and_keeps_speakers_apart(cache):
    from sweeper.models.data.sources import fsdd

    dataset = load_dataset("fsdd", {}, ROOT, cache)
    assert dataset.spec.sizes == {"train": 200, "validation": 50, "test": 50}
    assert {m: s.shape for m, s in dataset.spec.modalities.items()} == {
        "logmel": (1, 32, 32),
        "logstft": (1, 129, 32),
    }
    names = [p.stem.split("_") for p in fsdd.files(root=ROOT)]
    assert [int(name[0]) for name in names] == dataset.target.tolist()
    speakers = {s: {names[i][1] for i in dataset.rows[s]} for s in SPLITS}
    assert speakers["validation"] == {"theo"}
    assert speakers["test"] == {"yweweler"}
    assert speakers["train"] == {"george", "jackson", "lucas", "nicolas"}


@needs_data
def test_fsdd_a_second_load_reads_the_cache(cache, monkeypatch):
    from sweeper.models.data.readers import store

    options = {"views": ["logmel"]}
    first = load_dataset("fsdd", options, ROOT, cache)
    monkeypatch.setattr(store, "_build", None)
    second = load_dataset("fsdd", options, ROOT, cache)
    np.testing.assert_array_equal(first.inputs["logmel"], second.inputs["logmel"])
    assert list(second.inputs) == ["logmel"]


def test_fsdd_names_recordings_that_cannot_be_read(tmp_path):
    folder = tmp_path / "fsdd_mini_flac"
    folder.mkdir()
    for name in ("0_ann_0", "0_bob_0", "0_cid_0"):
        soundfile.write(folder / f"{name}.wav", np.zeros(8000), 8000)
    (folder / "0_bob_0.wav").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"1 of 3 recordings in .* cannot be read \(0_bob_0.wav: it is empty\)"
    ):
        load_dataset("fsdd", {}, tmp_path, tmp_path / "cache")


def test_fsdd_refuses_odd_names_and_too_few_speakers(tmp_path):
    folder = tmp_path / "fsdd_mini_flac"
    folder.mkdir()
    with pytest.raises(UserError, match=r"has no sound files; put recordings named \{digit\}_"):
        load_dataset("fsdd", {}, tmp_path)
    for name in ("0_ann_0", "0_bob_0"):
        soundfile.write(folder / f"{name}.wav", np.zeros(8000), 8000)
    with pytest.raises(UserError, match="has the speakers ann, bob; three are needed"):
        load_dataset("fsdd", {}, tmp_path)
    soundfile.write(folder / "zero.wav", np.zeros(8000), 8000)
    with pytest.raises(UserError, match=r"zero.wav does not read \{digit\}_\{speaker\}_\{take\}"):
        load_dataset("fsdd", {}, tmp_path)


@needs_data
def test_grid_digits_are_as_published_in_their_own_types():
    from sweeper.models.data.sources import grid_digits

    dataset = load_dataset("grid_digits", {}, ROOT)
    assert dataset.spec.sizes == grid_digits.PUBLISHED.counts
    assert {m: x.dtype.name for m, x in dataset.inputs.items()} == {"sound": "int16", "lips": "uint8"}
    raw = np.load(ROOT / grid_digits.FILE)
    for option, column in grid_digits.COLUMN.items():
        target = load_dataset("grid_digits", {"target": option}, ROOT).target
        np.testing.assert_array_equal(np.array(grid_digits.WORDS[option])[target], raw[column])


@needs_data
def test_a_linear_model_hears_and_sees_grid_digits():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    dataset = load_dataset("grid_digits", {"sound": "logmel"}, ROOT)
    for m, least in (("sound", 0.95), ("lips", 0.7)):
        x = dataset.inputs[m].reshape(len(dataset.target), -1)[:, ::4].astype(np.float32)
        train, test = dataset.rows["train"], dataset.rows["test"]
        scaler = StandardScaler().fit(x[train])
        fitted = LogisticRegression(C=1e-3, max_iter=200).fit(
            scaler.transform(x[train]), dataset.target[train]
        )
        assert fitted.score(scaler.transform(x[test]), dataset.target[test]) > least


def grid(folder, **other):
    """Write three windows as the file of the GRID corpus has them."""
    arrays = {
        "audio": np.ones((3, 8000), np.int16),
        "video": np.zeros((3, 12, 32, 48), np.uint8),
        "y": np.array(["one", "two", "one"]),
        "color": np.array(["red", "red", "blue"]),
        "split": np.array(["train", "val", "test"]),
    }
    (folder / "grid_digits").mkdir()
    kept = {k: v for k, v in (arrays | other).items() if v is not None}
    np.savez(folder / "grid_digits" / "digit_windows.npz", **kept)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"video": None}, "lacks the array 'video.*; it is another file"),
        ({"y": np.array(["one", "ten", "one"])}, "holds the digit 'ten'; admissible: zero, one, two"),
        ({"split": np.array(["train", "dev", "test"])}, "split 'validation' is empty"),
    ],
    ids=["array", "word", "split"],
)
def test_another_file_than_that_of_grid_digits_is_refused(tmp_path, other, sentence):
    grid(tmp_path, **other)
    with pytest.raises(UserError, match=sentence):
        load_dataset("grid_digits", {}, tmp_path)


def test_no_modality_has_a_name_that_a_torch_module_cannot_hold():
    from torch import nn

    taken = [name for name in dir(nn.ModuleDict()) if name.isidentifier()]
    assert {"keys", "type", "_modules"} <= set(taken)
    spec = load_dataset("synthetic", {"modalities": 1}).spec
    (one,) = spec.modalities.values()
    for name in taken:
        own = dataclasses.replace(spec, modalities={name: one})
        with pytest.raises(UserError, match=f"modality '{name}' is called like an attribute .*another name"):
            build_method(own, {}, {"name": "concat"}, {"name": "joint"}, 0)
