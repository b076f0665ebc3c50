"""`arrays`: what a user's own arrays give, and the sentence for each thing that can be wrong with them."""

import zipfile

import numpy as np
import pytest

from sweeper.models.data import inputs, load_dataset
from sweeper.models.data.feed import Feed
from sweeper.models.data.sources.arrays import task
from sweeper.models.data.splits import SPLITS, carve
from sweeper.models.errors import UserError

N, C = 120, 3


def sound_arrays(**changes):
    """Return arrays in order, changed as asked; None takes one out."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_text": rng.normal(3, 2, (N, 5, 4)).astype(np.float32),
        "x_image": rng.integers(0, 256, (N, 1, 6, 6), dtype=np.uint8),
        "y": np.arange(N) % C,
    } | changes
    return {key: array for key, array in arrays.items() if array is not None}


def stored(folder, as_folder=False, **changes):
    """Store arrays and return their path below `folder`."""
    if not as_folder:
        np.savez(folder / "mine.npz", **sound_arrays(**changes))
        return "mine.npz"
    (folder / "mine").mkdir()
    for key, array in sound_arrays(**changes).items():
        np.save(folder / "mine" / f"{key}.npy", array)
    return "mine"


def load(folder, options=None, **changes):
    return load_dataset("arrays", {"path": stored(folder, **changes)} | (options or {}), root=folder)


def given_split():
    return np.array(["train"] * 80 + ["validation"] * 20 + ["test"] * 20)


def test_a_file_and_a_folder_give_the_same(tmp_path):
    a = load(tmp_path)
    b = load(tmp_path, as_folder=True)
    assert a.spec.modalities == b.spec.modalities
    assert list(a.inputs) == list(inputs("arrays", {"path": "mine"}, root=tmp_path)) == ["image", "text"]
    for m in a.inputs:
        np.testing.assert_array_equal(a.scale[m], b.scale[m])
        np.testing.assert_array_equal(a.inputs[m], b.inputs[m])
    for split in SPLITS:
        np.testing.assert_array_equal(a.rows[split], b.rows[split])


def test_a_folder_stays_on_disk_and_integers_stay_integers(tmp_path):
    dataset = load(tmp_path, as_folder=True)
    assert all(isinstance(x, np.memmap) for x in dataset.inputs.values())
    assert dataset.inputs["image"].dtype == np.uint8
    assert [s.kind for s in dataset.spec.modalities.values()] == ["image", "sequence"]


def test_scale_is_mean_and_std_of_the_train_rows_that_have_the_modality(tmp_path):
    present = np.arange(N) % 4 > 0
    dataset = load(tmp_path, text_present=present)
    train = dataset.rows["train"]
    expected = dataset.inputs["text"][train[present[train]]].reshape(-1, 4)
    np.testing.assert_allclose(dataset.scale["text"], (expected.mean(0), expected.std(0)), rtol=1e-5)
    dataset = load(tmp_path, {"standardize": "modality"}, text_present=present)
    assert dataset.scale["text"] == pytest.approx((expected.mean(), expected.std()), rel=1e-5)
    assert load(tmp_path, {"standardize": "none"}).scale == {}


def test_presence_is_kept_only_where_a_row_lacks_the_modality(tmp_path):
    dataset = load(tmp_path, text_present=np.arange(N) > 3, image_present=np.ones(N, bool))
    assert list(dataset.present) == ["text"]
    assert (~dataset.present["text"]).sum() == 4


def test_drawn_splits_are_stratified_and_seeded(tmp_path):
    a, b, c = (load(tmp_path, {"split_seed": s}) for s in (0, 0, 1))
    assert a.spec.sizes == {"train": 81, "validation": 15, "test": 24}
    for split in SPLITS:
        assert len(set(np.bincount(a.target[a.rows[split]]))) == 1
        np.testing.assert_array_equal(a.rows[split], b.rows[split])
    assert not np.array_equal(a.rows["test"], c.rows["test"])


@pytest.mark.parametrize("words", [("train", "validation", "test"), ("train", "val", "test"), (0, 1, 2)])
@pytest.mark.parametrize("kind", [str, bytes])
def test_a_given_split_is_taken_as_it_is(tmp_path, words, kind):
    split = np.repeat(np.array(words), [80, 20, 20])
    split = split.astype("S") if kind is bytes and split.dtype.kind == "U" else split
    dataset = load(tmp_path, split=split)
    assert [list(dataset.rows[s][[0, -1]]) for s in SPLITS] == [[0, 79], [80, 99], [100, 119]]


def test_a_split_without_validation_has_it_carved_from_train(tmp_path):
    dataset = load(tmp_path, split=np.array(["train"] * 90 + ["test"] * 30))
    assert dataset.spec.sizes == {"train": 78, "validation": 12, "test": 30}
    assert dataset.rows["validation"].max() < 90


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("names", [int, str])
def test_no_group_stands_in_two_splits(tmp_path, given, names):
    group = (np.arange(N) // 6).astype(names)
    split = np.array(["train"] * 90 + ["test"] * 30) if given else None
    dataset = load(tmp_path, group=group, split=split)
    people = [set(group[dataset.rows[s]]) for s in SPLITS]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    assert dataset.spec.sizes["validation"] == pytest.approx(0.15 * (90 if given else 96), abs=3)


def test_a_giant_group_does_not_swallow_train(tmp_path):
    group = np.concatenate([np.zeros(90, int), np.arange(30) // 3 + 1])
    sizes = [load(tmp_path, {"split_seed": s}, group=group).spec.sizes["train"] for s in range(5)]
    assert min(sizes) >= 66


def infinite():
    x = sound_arrays()["x_text"]
    x[7, 0, 0] = np.inf
    return x


def without_class():
    split = given_split()
    y = np.zeros(N, int)
    y[:40], y[80:] = 1, 2
    return {"y": y, "split": split}


MISTAKES = {
    "no modality": ({"x_text": None, "x_image": None}, "has no x_<modality>, only y"),
    "no labels": ({"y": None}, "has no y"),
    "unequal lengths": ({"x_text": np.zeros((N - 1, 4))}, r"x_text has shape \(119, 4\) but y \(120,\)"),
    "labels of two axes": (
        {"y": np.arange(N)[:, None]},
        r"0 or 1 for each label of each sample, \(N, labels\)",
    ),
    "label not in train": ({"y": np.zeros((N, 2), int)}, "train holds no sample with label 0"),
    "labels of no axis": ({"y": np.array(3)}, r"y has shape \(\); \(N,\) classes or numbers"),
    "labels of fractions": ({"y": np.full((N, 2), 0.5)}, "labels have type float64 and .* 0 or 1 for each"),
    "no label": ({"y": np.zeros((N, 0))}, r"labels have type float64 and shape \(120, 0\)"),
    "nearest name": ({"splits": given_split()}, "unknown array 'splits'.*did you mean 'split'"),
    "NaN": ({"x_text": np.full((N, 2), np.nan)}, "'text' holds NaN, infinity .* in row 0"),
    "infinity": ({"x_text": infinite()}, "'text' holds NaN, infinity .* in row 7"),
    "beyond float32": ({"x_text": np.full((N, 2), 1e300)}, "beyond float32 in row 0"),
    "words as input": ({"x_text": np.full((N, 2), "a")}, "numbers, like uint8 or float32, are needed"),
    "foreign byte order": ({"x_text": np.zeros((N, 2), ">f4")}, "has type >f4"),
    "too many axes": (
        {"x_text": np.zeros((N, 1, 1, 2, 2, 2))},
        "x_text has shape .*; a sample needs one to four",
    ),
    "too few axes": ({"x_text": np.zeros(N)}, r"x_text has shape \(120,\); a sample needs one to four axes"),
    "nothing in it": ({"x_text": np.zeros((N, 0))}, r"a sample of kind vector must be \(D,\)"),
    "odd name": ({"x_my-text": np.zeros((N, 2))}, "'my-text' has no usable name"),
    "float labels": ({"y": np.arange(N) % 2.0}, "y holds whole numbers as float64; store classes as whole"),
    "NaN labels": ({"y": np.full(N, np.nan)}, "targets hold NaN, infinity .* in row 0"),
    "infinite target": ({"y": np.where(np.arange(N) == 4, -np.inf, 0.5)}, "targets hold .* in row 4"),
    "pixels of no image": (
        {"y": np.arange(N * 4).reshape(N, 2, 2) % C},
        r"'text' is of kind sequence, a sample \(T, D\); segmentation needs an image",
    ),
    "pixels out of range": (
        {"x_text": None, "y": np.full((N, 2, 2), -2)},
        "labels reach from -2 to -2; 0 to 1",
    ),
    "pixels of one class": ({"x_text": None, "y": np.zeros((N, 2, 2), int)}, "at least two classes"),
    "pixels of fractions": ({"x_text": None, "y": np.zeros((N, 2, 2))}, "one whole number per pixel"),
    "no pixel of a class": (
        {"x_text": None, "y": np.arange(N * 4).reshape(N, 2, 2) % 2 * 2},
        "train holds no pixel of class 1",
    ),
    "nothing but void": (
        {"x_text": None, "y": np.full((N, 2, 2), 255, np.uint8)},
        "labels reach from -1 to -1",
    ),
    "words as labels": ({"y": np.full(N, "cat")}, "labels have type <U3"),
    "negative labels": ({"y": np.arange(N) % C - 1}, "labels reach from -1 to 1; 0 to 1"),
    "one class": ({"y": np.zeros(N, int)}, "at least two classes"),
    "gap in the labels": ({"y": np.arange(N) % C * 2}, "train holds no sample of class 1"),
    "huge label": ({"y": np.where(np.arange(N) == 5, 2**40, np.arange(N) % C)}, "no sample of class 3"),
    "class not in train": (without_class(), "train holds no sample of class 2"),
    "bad split word": (
        {"split": np.full(N, "fold")},
        "split holds .fold.; admissible: train, training, validation",
    ),
    "bad split number": ({"split": np.full(N, 3)}, "split holds '3'"),
    "split of two axes": ({"split": np.zeros((N, 2), int)}, "split has shape"),
    "no test": ({"split": np.repeat([0, 1], 60)}, "split names no test row"),
    "no train": ({"split": np.repeat([1, 2], 60)}, "split 'train' is empty"),
    "group in two splits": (
        {"split": given_split(), "group": np.arange(N) // 8 + 1000},
        "group '1012' stands in validation and in test",
    ),
    "one group": ({"group": np.zeros(N, int)}, "1 group cannot be kept apart"),
    "group of fractions": ({"group": np.arange(N) / 2}, "group has type float64"),
    "presence of numbers": ({"text_present": np.ones(N, int)}, "presence of 'text' has type int64"),
    "presence of nobody": ({"texts_present": np.ones(N, bool)}, "did you mean 'text_present'"),
    "row without anything": (
        {"text_present": np.arange(N) != 4, "image_present": np.arange(N) != 4},
        "row 4 lacks every modality",
    ),
    "pickled": ({"y": np.array([{}] * N, object)}, "cannot be read"),
    "length of nobody": ({"texts_length": np.ones(N, int)}, "did you mean 'text_length'"),
    "length of no steps": (
        {"image_length": np.ones(N, int)},
        "length of 'image' is given, but it is of kind image; admissible: audio, sequence, tokens, video",
    ),
    "length of fractions": (
        {"text_length": np.ones(N)},
        r"length of 'text' has type float64 and shape \(120,\); one whole number per sample is needed",
    ),
    "length of two axes": ({"text_length": np.ones((N, 1), int)}, r"text_length has shape \(120, 1\)"),
    "length beyond the end": (
        {"text_length": np.arange(N) % 7},
        "length of 'text' reaches from 0 to 6; 0 to 5 are admissible",
    ),
    "negative length": ({"text_length": np.arange(N) % 5 - 1}, "reaches from -1 to 3; 0 to 5 are admissible"),
    "no rows": ({"x_text": np.zeros((0, 2)), "x_image": None, "y": np.zeros(0, int)}, "is empty"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(tmp_path, mistake):
    changes, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence) as caught:
        load(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["validation_fraction", "test_fraction"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1])
def test_a_fraction_lies_between_0_and_1(tmp_path, option, value):
    with pytest.raises(UserError, match=f"{option} is {value}; admissible: a number above 0 and below 1"):
        load(tmp_path, {option: value})
    with pytest.raises(UserError, match=f"test fraction is {value}; a number between 0 and 1"):
        carve(np.arange(9), np.arange(9) % 3, value, 0, "test")


def test_a_missing_path_says_what_to_put_where(tmp_path):
    for read in (load_dataset, inputs):
        with pytest.raises(UserError, match=r"absent.npz is neither .* put x_<modality> and y there"):
            read("arrays", {"path": "absent.npz"}, root=tmp_path)


def test_a_folder_without_arrays_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"neither a \.npz file nor a folder of \.npy files"):
        load_dataset("arrays", {"path": "."}, root=tmp_path)


@pytest.mark.parametrize("damage", ["cut", "foreign"])
@pytest.mark.parametrize("read", [load_dataset, inputs])
def test_a_damaged_file_is_named(tmp_path, damage, read):
    path = tmp_path / stored(tmp_path)
    path.write_bytes(path.read_bytes()[:300] if damage == "cut" else b"no arrays in here")
    with pytest.raises(UserError, match=r"mine\.npz cannot be read"):
        read("arrays", {"path": "mine.npz"}, root=tmp_path)


def test_a_cut_array_of_a_folder_is_named(tmp_path):
    path = tmp_path / stored(tmp_path, as_folder=True) / "x_text.npy"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match="mine cannot be read"):
        load_dataset("arrays", {"path": "mine"}, root=tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        "[",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 1000000000000), }",
        "{'descr': '<f4', 'shape': 5}",
    ],
)
def test_an_array_that_claims_what_is_not_there_is_named(tmp_path, head):
    path = tmp_path / stored(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_more.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
    with pytest.raises(UserError, match=r"mine\.npz cannot be read"):
        load_dataset("arrays", {"path": "mine.npz"}, root=tmp_path)


def test_an_array_that_is_no_archive_is_named(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros(3))
    (tmp_path / "mine.npy").rename(tmp_path / "mine.npz")
    with pytest.raises(UserError, match=r"mine\.npz cannot be read"):
        load_dataset("arrays", {"path": "mine.npz"}, root=tmp_path)


def test_a_relative_path_starts_at_the_root_else_at_the_working_folder(tmp_path, monkeypatch):
    stored(tmp_path)
    monkeypatch.chdir(tmp_path)
    here = load_dataset("arrays", {"path": "mine.npz"})
    there = load_dataset("arrays", {"path": str(tmp_path / "mine.npz")}, root=tmp_path / "elsewhere")
    assert here.spec == there.spec


def pixels(void):
    """Return classes 0, 1, 2 of pixels with the first of each image void."""
    y = np.arange(N * 20).reshape(N, 4, 5) % C
    y[:, 0, 0] = void
    return y.astype(np.uint8) if void == 255 else y


TARGETS = {
    "classification": np.arange(N) % C,
    "multilabel": np.stack([np.arange(N) % 2, np.arange(N) % 5 == 0, np.ones(N)], 1),
    "regression": np.linspace(-3, 3, N),
    "segmentation": pixels(-1),
}


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("posed", TARGETS)
def test_the_task_is_read_off_the_target(tmp_path, posed, as_folder):
    dataset = load(tmp_path, as_folder=as_folder, y=TARGETS[posed], x_text=None)
    path = "mine" if as_folder else "mine.npz"
    assert dataset.spec.task == posed == task(root=tmp_path, path=path)
    assert dataset.spec.n_classes == (1 if posed == "regression" else C)
    assert dataset.spec.size == ((4, 5) if posed == "segmentation" else ())
    np.testing.assert_array_equal(dataset.target, TARGETS[posed].astype(dataset.target.dtype))
    assert dataset.spec.sizes["test"] == 24


def test_void_pixels_are_255_or_minus_one_and_pixels_stay_small(tmp_path):
    found = [load(tmp_path, x_text=None, y=pixels(void)).target for void in (-1, 255)]
    np.testing.assert_array_equal(*found)
    assert found[0].dtype == found[1].dtype == np.int8
    assert (found[0] == -1).sum() == N


def test_255_is_a_class_where_there_are_more(tmp_path):
    dataset = load(tmp_path, x_text=None, y=np.arange(N * 20).reshape(N, 4, 5) % 257)
    assert dataset.spec.n_classes == 257
    assert dataset.target.min() == 0


@pytest.mark.parametrize("y", [np.arange(N), np.arange(N) * 1.0], ids=["whole", "float"])
def test_whole_numbers_are_regressed_if_told(tmp_path, y):
    dataset = load(tmp_path, {"task": "regression"}, y=y)
    assert dataset.spec.task == "regression" == task(path=tmp_path / "mine.npz", task="regression")
    assert dataset.target.dtype == np.float32
    assert dataset.spec.sizes == {"train": 82, "validation": 14, "test": 24}


@pytest.mark.parametrize("posed", ["multilabel", "regression", "segmentation"])
def test_splits_of_other_tasks_are_drawn_from_all_rows_or_by_group(tmp_path, posed):
    y, group = TARGETS[posed], np.arange(N) // 6
    a, b, c = (load(tmp_path, {"split_seed": s}, x_text=None, y=y) for s in (0, 0, 1))
    assert a.spec.sizes == {"train": 82, "validation": 14, "test": 24}
    for split in SPLITS:
        np.testing.assert_array_equal(a.rows[split], b.rows[split])
    assert not np.array_equal(a.rows["test"], c.rows["test"])
    grouped = load(tmp_path, x_text=None, y=y, group=group)
    people = [set(group[grouped.rows[s]]) for s in SPLITS]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]


def test_a_file_without_a_target_poses_no_task(tmp_path):
    with pytest.raises(UserError, match="has no y"):
        task(root=tmp_path, path=stored(tmp_path, y=None))


# kinds and lengths


def of_kinds(folder, **changes):
    """Store a vector, a sequence, an image, a video, tokens and sound, the last two of two axes; return the path."""
    rng = np.random.default_rng(1)
    arrays = {
        "x_vector": rng.normal(size=(N, 3)).astype(np.float32),
        "x_sequence": rng.normal(size=(N, 4, 3)).astype(np.float32),
        "x_image": rng.normal(size=(N, 2, 3, 3)).astype(np.float32),
        "x_video": rng.normal(size=(N, 4, 1, 3, 2)).astype(np.float32),
        "x_words": rng.integers(0, 9, (N, 6)).astype(np.uint16),
        "x_sound": rng.normal(size=(N, 20)).astype(np.float32),
        "y": np.arange(N) % C,
    } | changes
    np.savez(folder / "kinds.npz", **arrays)
    return {"path": "kinds.npz", "kinds": {"words": "tokens", "sound": "audio"}}


def test_kinds_are_told_by_the_axes_or_by_the_study(tmp_path):
    options = of_kinds(tmp_path)
    dataset = load_dataset("arrays", options, root=tmp_path)
    kinds = {m: spec.kind for m, spec in dataset.spec.modalities.items()}
    own = ("vector", "sequence", "image", "video")
    assert kinds == dict(zip(own, own, strict=True)) | {"words": "tokens", "sound": "audio"}
    told = inputs("arrays", options, root=tmp_path)
    assert list(told) == list(dataset.spec.modalities)
    for m, spec in dataset.spec.modalities.items():
        assert (told[m].kind, told[m].shape) == (spec.kind, spec.shape)
        assert spec.shape == dataset.inputs[m].shape[1:]


def test_tokens_stay_whole_numbers_without_a_scale_and_their_vocabulary_is_counted(tmp_path):
    dataset = load_dataset("arrays", of_kinds(tmp_path), root=tmp_path)
    spec = dataset.spec.modalities["words"]
    assert (spec.dtype, spec.vocabulary) == ("int64", 9)
    assert set(dataset.scale) == {"vector", "sequence", "image", "video", "sound"}
    batch = next(Feed(dataset, dataset.rows["test"]).batches(5))
    assert str(batch.inputs["words"].dtype) == "torch.int64"
    np.testing.assert_array_equal(batch.inputs["words"], dataset.inputs["words"][batch.index])
    assert {str(x.dtype) for m, x in batch.inputs.items() if m != "words"} == {"torch.float32"}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint64, np.int32])
def test_lengths_of_any_whole_type_say_which_steps_there_are(tmp_path, kind):
    length = (1 + np.arange(N) % 4).astype(kind)
    dataset = load_dataset("arrays", of_kinds(tmp_path, video_length=length), root=tmp_path)
    assert list(dataset.lengths) == ["video"]
    batch = next(Feed(dataset, dataset.rows["train"]).batches(9))
    np.testing.assert_array_equal(batch.mask["video"].sum(1), length[batch.index])


def test_what_stands_behind_a_rows_end_is_no_part_of_its_scale(tmp_path):
    x, length = sound_arrays()["x_text"], np.arange(N) % 6
    behind = np.arange(5) >= length[:, None]
    x[behind] = 1e6
    dataset = load(tmp_path, x_text=x, text_length=length)
    train = dataset.rows["train"]
    expected = x[train][~behind[train]]
    np.testing.assert_allclose(dataset.scale["text"], (expected.mean(0), expected.std(0)), rtol=1e-5)


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ({"sounds": "audio"}, "unknown modality 'sounds' in kinds .*; did you mean 'sound'"),
        (
            {"sound": "sounds"},
            r"kinds is .*; admissible: a mapping to vector \| sequence \| image \| video \| tokens",
        ),
        ({"vector": "tokens"}, "modality 'vector' has type <f4; whole numbers from 0 are needed"),
        ({"vector": "image"}, r"has shape \(120, 3\); a sample of kind image must be \(C, H, W\)"),
        ({"video": "audio"}, r"a sample of kind audio must be \(T,\)"),
        ({"video": "tokens"}, "has type <f4; whole numbers from 0"),
        ({"words": "sequence"}, r"a sample of kind sequence must be \(T, D\)"),
    ],
)
def test_kinds_that_the_arrays_are_not_are_refused(tmp_path, kinds, sentence):
    with pytest.raises(UserError, match=sentence) as told:
        load_dataset("arrays", of_kinds(tmp_path) | {"kinds": kinds}, root=tmp_path)
    assert "\n" not in str(told.value)


def test_negative_tokens_are_refused(tmp_path):
    words = np.ones((N, 6), int)
    words[17, 3] = -1
    with pytest.raises(UserError, match="modality 'words' holds a negative number in row 17; clean it first"):
        load_dataset("arrays", of_kinds(tmp_path, x_words=words), root=tmp_path)


def test_an_array_of_five_axes_that_the_study_does_not_name_is_told_without_loading(tmp_path):
    options = of_kinds(tmp_path, x_video=np.zeros((N, 1, 1, 1, 1, 1)))
    with pytest.raises(UserError, match=r"x_video has shape .* a sample needs one to four axes, or a kind"):
        inputs("arrays", options, root=tmp_path)


def test_heads_of_arrays_are_read_without_their_contents(tmp_path, monkeypatch):
    options = of_kinds(tmp_path)
    monkeypatch.setattr(np, "load", None)
    assert inputs("arrays", options, root=tmp_path)["video"].shape == (4, 1, 3, 2)
