"""Readers of texts, numbers and arrays: what a cell gives, what is told of it before, and which cells give nothing."""

import os
import shutil
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from sweeper.models.data.noise.corruptions import CORRUPTIONS
from sweeper.models.data.readers.base import Unreadable
from sweeper.models.data.statistics import Statistics
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entry

MODELS = Path(os.environ.get("SWEEPER_MODELS", "absent"))
needs_models = pytest.mark.skipif(
    not (MODELS / "minilm").is_dir(), reason="SWEEPER_MODELS names no folder with minilm"
)


def reader(name, **options):
    return entry("reader", name).build({"name": name, **options})


def test_an_unknown_reader_or_option_is_told_with_the_nearest_name():
    with pytest.raises(UserError, match="unknown reader 'texts'; did you mean 'text'"):
        reader("texts")
    with pytest.raises(
        UserError, match="unknown hyper-parameter 'feature' in reader 'text'; did you mean 'feat"
    ):
        reader("text", feature=3)


# text


def test_a_bag_counts_words_whatever_their_case_order_and_form():
    bag = reader("text", features=64)
    np.testing.assert_array_equal(bag.read("The café, the cafe\u0301"), bag.read("CAFÉ the , THE café"))
    one, two = bag.read("lung"), bag.read("lung lung")
    np.testing.assert_array_equal(one, two)
    assert (one > 0).sum() == 1
    assert np.linalg.norm(bag.read("is the lung normal?")) == pytest.approx(1)
    assert not np.array_equal(bag.read("left lung"), bag.read("right lung"))
    assert bag.spec().shape == one.shape == (64,)


def test_hashes_are_the_same_in_every_process():
    words = ("is", "it", "normal", "?")
    expected = [1 + crc32(word.encode()) % 999 for word in words]
    assert reader("text", form="words", vocabulary=1000).read("Is it normal?").tolist() == expected


def test_words_are_tokens_above_0_cut_at_the_length():
    words = reader("text", form="words", vocabulary=50, length=3)
    spec = words.spec()
    assert (spec.kind, spec.shape, spec.dtype, spec.vocabulary) == ("tokens", (3,), "int64", 50)
    long = words.read("a b a c d e f")
    assert len(long) == 3
    assert long[0] == long[2]
    assert len(words.read("a")) == 1
    every = reader("text", form="words", vocabulary=3, length=500).read(" ".join(map(str, range(500))))
    assert set(every.tolist()) == {1, 2}


@pytest.mark.parametrize("text", ["", " \n"])
@pytest.mark.parametrize("form", ["bag", "words"])
def test_a_text_without_words_is_unreadable(text, form):
    with pytest.raises(Unreadable, match="no word"):
        reader("text", form=form).read(text)


def test_half_a_surrogate_pair_is_read_as_some_sign():
    assert reader("text").read("a \ud83d b").any()


def test_one_word_is_too_small_a_vocabulary():
    with pytest.raises(UserError, match="vocabulary is 1; 2 or more"):
        reader("text", form="words", vocabulary=1)


@needs_models
def test_a_pretrained_tokenizer_gives_its_own_tokens():
    text = reader("text", tokenizer="minilm", length=6)
    spec = text.spec()
    assert (spec.kind, spec.shape, spec.vocabulary) == ("tokens", (6,), 30522)
    assert text.read("a lung").tolist() == [101, 1037, 11192, 102]
    assert text.read("is the left lung normal or not?")[[0, -1]].tolist() == [101, 102]
    assert len(text.read("is the left lung normal or not?")) == 6
    assert [path.name for path in text.weights()] == ["tokenizer.json"]


@needs_models
def test_a_length_leaves_room_beside_special_tokens():
    with pytest.raises(UserError, match="length is 2; more than the 2 special tokens"):
        reader("text", tokenizer="minilm", length=2).read("a lung")


@needs_models
def test_words_that_noise_takes_away_become_an_underscore_and_special_tokens_stay():
    text = reader("text", tokenizer="minilm", length=12)
    spec, tokens = text.spec(), text.read("is there a lung")
    assert (spec.blank, spec.special) == (1035, (101, 102))
    about = Statistics(tokens[None], np.array([0]), "tokens", blank=spec.blank, special=spec.special)
    gone = CORRUPTIONS["clean"]["words"]["tokens"](tokens, 10, np.random.default_rng(0), about)
    assert gone.tolist() == text.read("_ _ _ _").tolist()


@needs_models
@pytest.mark.slow
def test_a_tokenizer_of_a_vocabulary_alone_gives_the_same(tmp_path):
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "config.json"):
        shutil.copy(MODELS / "minilm" / name, tmp_path)
    parts, whole = (reader("text", tokenizer=folder) for folder in (str(tmp_path), "minilm"))
    np.testing.assert_array_equal(
        parts.read("Is the left lung normal?"), whole.read("Is the left lung normal?")
    )
    assert {path.name for path in parts.weights()} >= {"vocab.txt"}


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"gives no tokenizer .*; a folder with tokenizer\.json is needed"):
        reader("text", tokenizer=str(tmp_path)).spec()


# numbers


@pytest.mark.parametrize(
    "cell",
    ["1 -2.5 3e2", "1,-2.5,300", "1; -2.5 ;300", "[1, -2.5, 300]", " (1 -2.5\t300) ", (1.0, -2.5, 300.0)],
)
def test_numbers_stand_in_one_cell(cell):
    vector = reader("vector", size=3)
    assert vector.read(cell).tolist() == [1, -2.5, 300]
    assert vector.spec().shape == (3,)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("", "holds 0 numbers, not 2"),
        ("1 2 3", "holds 3 numbers, not 2"),
        ("1 two", "more than numbers"),
        ("1 nan", "NaN, infinity"),
        ("1 1e39", "beyond float32"),
    ],
)
def test_other_cells_are_no_vector(cell, why):
    with pytest.raises(Unreadable, match=why):
        reader("vector", size=2).read(cell)


# arrays


def saved(folder, array):
    np.save(folder / "x.npy", array, allow_pickle=True)
    return (folder / "x.npy",)


@pytest.mark.parametrize(
    ("shape", "kind"), [([4], "vector"), ([5, 2], "sequence"), ([3, 4, 4], "image"), ([2, 3, 4, 4], "video")]
)
def test_the_axes_say_the_kind(tmp_path, shape, kind):
    array = reader("array", shape=shape)
    assert (array.spec().kind, array.spec().shape) == (kind, tuple(shape))
    made = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(array.read(saved(tmp_path, made)), made)


def test_time_may_be_shorter_and_is_cut(tmp_path):
    sequence, sound = reader("array", shape=[5, 2]), reader("array", shape=[5], kind="audio")
    for steps in (1, 5, 9):
        assert sequence.read(saved(tmp_path, np.ones((steps, 2)))).shape == (min(5, steps), 2)
        assert sound.read(saved(tmp_path, np.ones(steps))).shape == (min(5, steps),)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.ones((5, 3)), r"it has shape \(5, 3\), not \(5, 2\)"),
        (np.ones(5), r"it has shape \(5,\), not"),
        (np.ones((0, 2)), r"it has shape \(0, 2\)"),
        (np.full((5, 2), "a"), "holds <U1, not numbers"),
        (np.full((5, 2), None), "Python objects"),
        (np.full((5, 2), np.nan), "NaN, infinity"),
    ],
)
def test_other_arrays_are_unreadable(tmp_path, array, why):
    with pytest.raises(Unreadable, match=why):
        reader("array", shape=[5, 2]).read(saved(tmp_path, array))


def test_a_file_cut_short_is_unreadable(tmp_path):
    path = saved(tmp_path, np.ones((5, 2)))[0]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Unreadable):
        reader("array", shape=[5, 2]).read((path,))


@pytest.mark.parametrize("options", [{"shape": [5], "kind": "image"}, {"shape": [1] * 5}, {"shape": []}])
def test_a_shape_is_one_of_the_kind(options):
    with pytest.raises(UserError, match="is not of kind"):
        reader("array", **options)
