"""Conditions: their names, who is hit, and that what is read does not depend on order or chunks."""

import gc
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import assemble, standardized
from sweeper.models.data.feed import Feed
from sweeper.models.data.noise.conditions import CLEAN, LARGEST, LEAST, Condition, check, parse
from sweeper.models.data.noise.corrupted import corrupted
from sweeper.models.data.noise.corruptions import CORRUPTIONS
from sweeper.models.errors import UserError
from sweeper.models.values import TIMED

N = 400
TEST = np.arange(200, N)
ALL = sorted((kind, mode) for mode, kinds in CORRUPTIONS.items() for kind in kinds)


def mixed(**present):
    """Return a dataset of every kind of input, two uint8 images among them, one of two channels, in standard units."""
    rng = np.random.default_rng(0)
    inputs = {
        "vector": rng.normal(3, 2, (N, 6)).astype(np.float32),
        "sequence": rng.normal(-1, 0.5, (N, 10, 4)).astype(np.float32),
        "image": rng.integers(0, 256, (N, 1, 8, 8), dtype=np.uint8),
        "colour": rng.integers(16, 236, (N, 2, 5, 10), dtype=np.uint8),
        "video": rng.normal(2, 3, (N, 5, 1, 4, 3)).astype(np.float32),
        "tokens": rng.integers(1, 9, (N, 7)),
        "audio": rng.normal(0.5, 0.1, (N, 20)).astype(np.float32),
    }
    rows = {"train": np.arange(100), "validation": np.arange(100, 200), "test": TEST}
    target, kinds = np.arange(N) % 4, {m: m for m in inputs} | {"colour": "image"}
    return standardized(assemble("mixed", inputs, target, rows, kinds, cite="none", present=present))


def images(*values, size=(1, 8, 8), n=N):
    """Return a dataset of one uint8 image `x` per row, each of one value."""
    x = np.broadcast_to(np.resize(values, n)[:, None, None, None], (n, *size)).astype(np.uint8)
    rows = {"train": np.arange(2, n), "validation": np.array([0]), "test": np.array([1])}
    return assemble("flat", {"x": x}, np.arange(n) % 2, rows, {"x": "image"}, cite="none")


def read(dataset, condition, rows=TEST, repeat=0):
    """Return {m: rows as the condition leaves them} and the hits."""
    under, hits = corrupted(dataset, parse(condition), repeat, rows)
    return {m: array[rows] for m, array in under.inputs.items()}, hits


# who is hit


@pytest.mark.parametrize("label", ["clean", *(f"{k}-0 (mode {mode})" for k, mode in ALL if k not in LEAST)])
def test_level_0_is_the_dataset_itself(label):
    dataset = mixed()
    under, hits = corrupted(dataset, parse(label), 0, TEST)
    assert under is dataset
    assert not any(hit.any() for hit in hits.values())


def test_level_0_of_decibels_is_noise():
    dataset = mixed()
    assert {kind for kind, _ in ALL if Condition(kind).changes} == {*LEAST} == {"white"}
    found, hits = read(dataset, "white-0 (share 1)")
    assert hits["audio"].all()
    power = [
        np.var(x, 1) for x in (dataset.inputs["audio"][TEST], found["audio"] - dataset.inputs["audio"][TEST])
    ]
    np.testing.assert_allclose(np.log10(power[1] / power[0]).mean(), 0, atol=0.05)


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_just_the_rows_that_are_hit_change(kind, mode):
    dataset = mixed()
    level = min(99, LARGEST.get(kind, 99))  # so strong that no number is spared
    found, hits = read(dataset, f"{kind}-{level:g} (mode {mode})")
    assert any(hit.any() for hit in hits.values())
    for m, x in found.items():
        changed = (x != dataset.inputs[m][TEST]).reshape(len(TEST), -1).any(1)
        np.testing.assert_array_equal(changed, hits[m])
        assert hits[m].any() == (dataset.spec.modalities[m].kind in CORRUPTIONS[mode][kind])


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_order_and_chunks_of_reading_change_nothing(kind, mode):
    dataset, condition = mixed(), Condition(kind, 7, mode=mode)
    whole, hits = corrupted(dataset, condition, 1, TEST)
    order = np.random.default_rng(6).permutation(len(TEST))
    part, own_hits = corrupted(dataset, condition, 1, TEST[order[:50]])
    for m in dataset.inputs:
        x = whole.inputs[m][TEST]
        np.testing.assert_array_equal(whole.inputs[m][TEST[order]], x[order])
        np.testing.assert_array_equal(part.inputs[m][TEST[order[:50]]], x[order[:50]])
        np.testing.assert_array_equal(own_hits[m], hits[m][order[:50]])


def test_other_rows_stay_as_they_are():
    dataset = mixed()
    under, _ = corrupted(dataset, parse("dropout-10 (share 1)"), 0, TEST[:50])
    others = np.r_[:200, 250:N]
    for m, x in dataset.inputs.items():
        np.testing.assert_array_equal(under.inputs[m][others], x[others])
        assert under.present[m][others].all()


def test_coins_fall_alike_at_every_level_and_kind_and_apart_by_modality_repeat_and_seed():
    dataset, rows = images(0, 255, n=4000), np.arange(4000)

    def hits(label, repeat=0):
        return read(dataset, label, rows, repeat)[1]["x"]

    base = hits("gaussian-5")
    assert base.mean() == pytest.approx(0.5, abs=0.03)
    for same in ("gaussian-10", "salt-1", "blur-3", "gaussian-5 (mode qmf)"):
        np.testing.assert_array_equal(hits(same), base)
    for other in (hits("gaussian-5", 1), hits("gaussian-5 (seed 1)")):
        assert (other & base).mean() == pytest.approx(0.25, abs=0.03)
    fifth = hits("gaussian-5 (share 0.2)")
    assert fifth.mean() == pytest.approx(0.2, abs=0.03)
    assert not (fifth & ~base).any()
    assert hits("gaussian-5 (share 1)").all()


def test_qmf_salt_is_more_frequent_with_the_level():
    dataset = images(100, size=(1, 16, 16), n=1000)  # so large that some pixel is struck
    for level, share in ((5, 0.25), (10, 0.5)):
        found, hits = read(dataset, f"salt-{level} (mode qmf)", np.arange(1000))
        assert hits["x"].mean() == pytest.approx(share, abs=0.05)
        np.testing.assert_array_equal((found["x"] != 100).any((1, 2, 3)), hits["x"])
        assert found["x"].dtype == np.uint8


def test_coins_of_modalities_are_independent_and_a_named_one_keeps_its_own():
    dataset, rows = load_dataset("synthetic", {"train": 3000}), np.arange(3000)
    _, hits = read(dataset, "gaussian-5", rows)
    cells = np.bincount(2 * hits["m0"] + hits["m1"]) / len(rows)
    assert cells == pytest.approx([0.25] * 4, abs=0.03)
    _, alone = read(dataset, "gaussian-5@m1", rows)
    np.testing.assert_array_equal(alone["m1"], hits["m1"])
    assert not alone["m0"].any()


def test_rows_get_noise_of_their_own_in_each_modality_repeat_and_seed():
    flat, rows = images(128, 0, 255), np.array([0, 3, 6])  # three rows of value 128
    draws = [
        read(flat, f"gaussian-3 (share 1, seed {seed})", rows, repeat)[0]["x"]
        for seed in (0, 1)
        for repeat in (0, 1)
    ]
    assert len(np.unique(np.concatenate(draws).reshape(12, -1), axis=0)) == 12
    dataset = load_dataset("synthetic", {})
    found, _ = read(dataset, "feature-5 (share 1)")
    noise = [(found[m] - dataset.inputs[m][TEST]).ravel() for m in found]
    assert np.corrcoef(noise)[0, 1] == pytest.approx(0, abs=0.1)


def test_no_global_generator_is_touched():
    state = np.random.get_state()
    for kind, mode in ALL:
        read(mixed(), f"{kind}-5 (mode {mode})")
    for before, after in zip(state, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(before, after)


# statistics, types, memory


def test_statistics_are_those_of_the_train_rows_that_have_the_modality():
    dataset = images(100)
    x = dataset.inputs["x"].copy()
    x[2:5] = np.array([50, 150, 255], np.uint8)[:, None, None, None]
    x[:2] = 0  # validation and test
    lacking = np.ones(N, bool)
    lacking[4] = False
    dataset = replace(dataset, inputs={"x": x}, present={"x": lacking})
    found, _ = read(dataset, "salt-100 (share 1)", np.array([1]))
    assert set(found["x"].ravel()) == {50, 150}


@pytest.mark.parametrize("standardize", [True, False])
def test_noise_is_measured_by_the_std_of_the_rows_whatever_scale_a_batch_has(standardize):
    dataset = mixed()
    if not standardize:
        dataset = replace(dataset, scale={"vector": (0.0, 16.0)})
    rows = np.arange(N)
    noise = read(dataset, "gaussian-5 (share 1)", rows)[0]["vector"] - dataset.inputs["vector"]
    assert noise.std() == pytest.approx(0.5 * dataset.inputs["vector"][:100].std(), rel=0.05)


def test_noise_is_measured_by_the_std_of_each_feature():
    dataset = mixed()
    x = dataset.inputs["sequence"] * np.array([1, 0.1, 10, 0], np.float32)
    dataset = replace(dataset, inputs={**dataset.inputs, "sequence": x})
    noise = read(dataset, "feature-5 (share 1)", np.arange(N))[0]["sequence"] - x
    expected = 0.5 * x[:100].std((0, 1))
    expected[3] = 0.5  # a constant has no std; a unit stands in
    np.testing.assert_allclose(noise.std((0, 1)), expected, rtol=0.05)


def test_statistics_are_computed_once_and_forgotten_with_the_dataset():
    dataset = mixed()
    under = corrupted(dataset, parse("salt-5"), 0, TEST)[0]
    under.inputs["image"][TEST]
    known = dataset.statistics
    corrupted(dataset, parse("gaussian-5"), 1, TEST)[0].inputs["image"][TEST]
    assert dataset.statistics is known
    assert under.inputs["image"].train is known["image"]
    assert "range" in vars(known["image"])
    assert "range" not in vars(known["vector"])
    alive = weakref.ref(dataset), weakref.ref(known["image"])
    del dataset, under, known
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("uint8", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int64", "float64"),
    ],
)
def test_numbers_are_read_as_float_without_rounding(given, taken):
    dataset = images(0, 200)
    dataset = replace(dataset, inputs={"x": dataset.inputs["x"].astype(given)})
    under, hits = corrupted(dataset, parse("gaussian-5"), 0, np.arange(N))
    for rows in (np.arange(N), np.flatnonzero(~hits["x"]), np.flatnonzero(hits["x"])):
        assert under.inputs["x"][rows].dtype == under.inputs["x"].dtype == taken
    assert under.inputs["x"].shape == (N, 1, 8, 8)


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_a_memory_mapped_array_is_read_and_never_written(tmp_path, kind, mode):
    dataset, inputs = mixed(), {}
    for m, array in dataset.inputs.items():
        np.save(tmp_path / f"{m}.npy", array)
        inputs[m] = np.load(tmp_path / f"{m}.npy", mmap_mode="r+")
    found, _ = read(replace(dataset, inputs=inputs), f"{kind}-10 (share 1, mode {mode})")
    in_memory, _ = read(dataset, f"{kind}-10 (share 1, mode {mode})")
    for m, array in inputs.items():
        np.testing.assert_array_equal(found[m], in_memory[m])
        np.testing.assert_array_equal(array, dataset.inputs[m])


def test_pixels_and_sound_are_corrupted_before_they_are_standardised():
    dataset = mixed()
    under, _ = corrupted(dataset, parse("gaussian-10 (share 1)"), 0, TEST)
    batch = Feed(dataset, TEST, condition=parse("gaussian-10 (share 1)")).batch(torch.arange(len(TEST)))
    for m in ("image", "colour", "audio"):
        mean, std = dataset.scale[m]
        np.testing.assert_allclose(
            batch.inputs[m], (under.inputs[m][TEST] - mean) / std, rtol=1e-4, atol=1e-5
        )
    pixels = batch.inputs["image"] * dataset.scale["image"][1] + dataset.scale["image"][0]
    assert pixels.min() == pytest.approx(0, abs=1e-3)  # clipped to what a pixel can be
    assert pixels.max() == pytest.approx(255, abs=1e-3)


def test_padding_and_special_tokens_survive_where_words_are_taken_away():
    dataset = shorter(behind=0)
    spec = replace(dataset.spec.modalities["tokens"], blank=9, special=(0, 1, 2))
    known = replace(dataset.spec, modalities={**dataset.spec.modalities, "tokens": spec})
    dataset = replace(dataset, spec=known)
    before, (found, _) = dataset.inputs["tokens"][TEST], read(dataset, "words-10@tokens (share 1)")
    np.testing.assert_array_equal(found["tokens"], np.where(before <= 2, before, 9))


def test_a_feed_under_a_condition_names_it_and_says_who_was_hit():
    dataset = mixed()
    feed = Feed(dataset, TEST, condition=parse("gaussian-10@vector"), repeat=2)
    batch = feed.batch(torch.arange(len(feed)))
    changed = (
        batch.inputs["vector"] != Feed(dataset, TEST).batch(torch.arange(len(feed))).inputs["vector"]
    ).any(1)
    np.testing.assert_array_equal(changed.numpy(), feed.hits["vector"])
    assert batch.condition == "gaussian-10@vector"


# presence


def half_missing():
    lacks = np.arange(N) % 2 == 0
    return mixed(image=~lacks, vector=lacks)


@pytest.mark.parametrize("kind", [kind for kind, mode in ALL if mode == "clean"])
def test_a_modality_that_a_row_lacks_is_never_hit(kind):
    dataset = half_missing()
    found, hits = read(dataset, f"{kind}-10 (share 1)")
    for m, there in dataset.present.items():
        assert not hits[m][~there[TEST]].any()
        np.testing.assert_array_equal(found[m][~there[TEST]], dataset.inputs[m][TEST][~there[TEST]])


def test_dropout_makes_rows_lack_a_modality_and_gives_the_net_zeros():
    dataset = mixed()
    feed = Feed(dataset, TEST, condition=parse("dropout-6 (share 0.5)"))
    batch = feed.batch(torch.arange(len(feed)))
    assert not dataset.present
    for m, x in batch.inputs.items():
        gone = feed.hits[m]
        assert gone.mean() == pytest.approx(0.3, abs=0.1)
        np.testing.assert_array_equal(batch.present[m].numpy(), ~gone)
        assert (x[gone] == 0).all()
        assert (x[~gone] != 0).any()


@pytest.mark.parametrize("dataset", [mixed(), half_missing()], ids=["whole", "missing"])
@pytest.mark.parametrize("label", ["dropout-5", "dropout-10 (share 1)", "dropout-10@image+vector (share 1)"])
def test_dropout_leaves_every_row_something(dataset, label):
    under, hits = corrupted(dataset, parse(label), 0, TEST)
    there = np.stack([under.present.get(m, np.ones(N, bool)) for m in dataset.inputs])[:, TEST]
    assert there.any(0).all()
    if label == "dropout-10 (share 1)":
        assert (there.sum(0) == 1).all()
        assert all(0 < hit.sum() < len(TEST) for hit in hits.values())


def test_dropout_of_the_only_modality_drops_nothing():
    dataset = images(1, 2)
    under, hits = corrupted(dataset, parse("dropout-10 (share 1)"), 0, np.arange(N))
    assert not hits["x"].any()
    assert not under.present


def test_what_dropout_takes_at_a_level_a_higher_one_takes_too():
    taken = [np.stack(list(read(mixed(), f"dropout-{n} (share 1)")[1].values())) for n in (2, 5, 8, 10)]
    for low, high in pairwise(taken):
        assert not (low & ~high).any()
        assert high.sum() > low.sum()


# lengths


def shorter(steps=9, behind=50):
    """Return the timed kinds of `mixed` in rows of up to five of their `steps`, garbage behind the ends."""
    rng = np.random.default_rng(3)
    shapes = {"sequence": (3,), "video": (1, 4, 3), "tokens": (), "audio": ()}
    inputs = {m: rng.integers(1, 9, (N, 9, *own)).astype(np.float32) for m, own in shapes.items()}
    inputs["tokens"] = inputs["tokens"].astype(int)
    lengths = {m: rng.integers(1, 6, N) for m in shapes}
    for m, own in lengths.items():
        inputs[m][np.arange(9) >= own[:, None]] = behind
    inputs = {m: x[:, :steps] for m, x in inputs.items()}
    rows = {"train": np.arange(100), "validation": np.arange(100, 200), "test": TEST}
    kinds = {m: m for m in inputs}
    return assemble("shorter", inputs, np.arange(N) % 4, rows, kinds, cite="none", lengths=lengths)


OF_TIME = sorted((kind, m) for kind, fits in CORRUPTIONS["clean"].items() for m in fits if m in TIMED)


@pytest.mark.parametrize(("kind", "m"), OF_TIME)
def test_nothing_behind_a_rows_end_changes_and_noise_does_not_depend_on_it(kind, m):
    dataset = shorter()
    level = min(20, LARGEST.get(kind, 20))
    label = f"{kind}-{level:g}@{m} (share 1)"
    found, hits = read(dataset, label)
    there = np.arange(9) < dataset.lengths[m][TEST][:, None]
    np.testing.assert_array_equal(found[m][~there], dataset.inputs[m][TEST][~there])
    assert (found[m][there] != dataset.inputs[m][TEST][there]).any()
    assert hits[m].any()
    cut, _ = read(shorter(steps=5), label)  # without most of what follows the ends
    np.testing.assert_array_equal(found[m][:, :5][there[:, :5]], cut[m][there[:, :5]])
    other, _ = read(shorter(behind=7), label)
    np.testing.assert_array_equal(found[m][there], other[m][there])


@pytest.mark.parametrize("m", ["sequence", "tokens", "audio", "video"])
def test_a_span_of_time_is_a_share_of_the_steps_that_are_there(m):
    dataset = shorter()
    found, _ = read(dataset, f"time-5@{m} (share 1)")
    gone = (found[m] != dataset.inputs[m][TEST]).reshape(len(TEST), 9, -1).any(2).sum(1)
    lengths = dataset.lengths[m][TEST]
    assert (
        gone == np.array([round(n / 2) for n in lengths.tolist()])
    ).mean() > 0.9  # some number is the mean already
    assert (gone <= np.array([round(n / 2) for n in lengths.tolist()])).all()


def test_a_row_without_a_step_stays_as_it_is():
    dataset = shorter()
    dataset = replace(
        dataset, lengths={m: np.where(np.arange(N) % 2, n, 0) for m, n in dataset.lengths.items()}
    )
    for kind, m in OF_TIME:
        found, _ = read(dataset, f"{kind}-10@{m} (share 1)")
        np.testing.assert_array_equal(found[m][::2], dataset.inputs[m][TEST][::2])


def test_tokens_are_read_in_their_own_type_and_taken_away_to_0():
    dataset = mixed()
    for kind in ("words", "time"):
        found, hits = read(dataset, f"{kind}-10@tokens (share 0.5)")
        assert found["tokens"].dtype == dataset.inputs["tokens"].dtype
        assert not found["tokens"][hits["tokens"]].any()
        np.testing.assert_array_equal(
            found["tokens"][~hits["tokens"]], dataset.inputs["tokens"][TEST][~hits["tokens"]]
        )
        batch = next(Feed(dataset, TEST, condition=parse(f"{kind}-4")).batches(50))
        assert batch.inputs["tokens"].dtype == torch.int64


def test_qmf_salt_strikes_equal_images_differently_and_again_the_same():
    dataset, rows = images(100, n=200), np.arange(200)
    found, hits = read(dataset, "salt-10 (mode qmf, share 1)", rows)
    assert hits["x"].all()
    assert len(np.unique(found["x"].reshape(200, -1), axis=0)) == 200
    np.testing.assert_array_equal(read(dataset, "salt-10 (mode qmf, share 1)", rows)[0]["x"], found["x"])
    np.testing.assert_array_equal(
        read(dataset, "salt-10 (mode qmf, share 1)", rows[50:60])[0]["x"], found["x"][50:60]
    )
    again, _ = read(dataset, "salt-10 (mode qmf, share 1)", rows, repeat=1)
    assert (again["x"] != found["x"]).any()


# labels and errors

CONDITIONS = [
    (CLEAN, "clean"),
    (Condition("gaussian", 5), "gaussian-5"),
    (Condition("salt", 0.25), "salt-0.25"),
    (Condition("blur", 1e-05), "blur-1e-05"),
    (Condition("feature", 1e22), "feature-10000000000000000000000"),
    (Condition("white"), "white-0"),
    (Condition("white", -7.5, ("sound",)), "white--7.5@sound"),
    (Condition("gaussian", 10, ("spoken",)), "gaussian-10@spoken"),
    (Condition("gaussian", 10, ("spoken", "signed")), "gaussian-10@signed+spoken"),
    (Condition("gaussian", 5, share=1, repeats=3), "gaussian-5 (share 1, repeats 3)"),
    (Condition("salt", 10, ("a",), 1 / 3, "qmf", 2, -7), f"salt-10@a (share {1 / 3}, mode qmf, repeats 2, seed -7)"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "label"), CONDITIONS)
def test_a_label_gives_its_condition_back(condition, label):
    assert condition.label == label
    assert parse(label) == condition
    assert parse({"name": label}) == condition


def test_a_mapping_says_the_same_as_a_label():
    given = {
        "name": "gaussian-5",
        "modalities": ["b", "a"],
        "share": 1,
        "mode": "qmf",
        "repeats": 3,
        "seed": 1,
    }
    assert parse(given) == Condition("gaussian", 5.0, ("a", "b"), 1.0, "qmf", 3, 1)
    assert given["name"] == "gaussian-5"
    assert parse({"name": "gaussian-5@a", "share": 0.1}) == parse("gaussian-5@a (share 0.1)")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("gausian-5", "did you mean 'gaussian'"),
        ("gaussian", "has no level; write it like gaussian-5"),
        ("gaussian-", "cannot be read"),
        ("gaussian-5@", "cannot be read"),
        ("gaussian-five", "level is 'five'; a number"),
        ("gaussian--5", "level is -5.0; admissible: a number from 0"),
        ("white--101", "level is -101.0; admissible: a number from -100 to 100"),
        ("white", "has no level; write it like white-5"),
        ("gaussian-nan", "level is nan"),
        ("gaussian-inf", "level is inf"),
        ("gaussian-5@a+a", "modalities is .*each once"),
        ("gaussian-5 (shape 1)", "did you mean 'share'"),
        ("salt-101", "level is 101.0; admissible: a number from 0 to 100"),
        ("gaussian-5 (share most)", "share is 'most'"),
        ("gaussian-5 (share 1.5)", "share is 1.5; admissible: a number from 0 to 1"),
        ("blur-5 (mode qmf)", "unknown condition 'blur' in mode 'qmf'; admissible: clean, gaussian, salt"),
        ("clean-5", "'clean' has a level or options"),
        ("clean@a", "'clean' has a level or options"),
        ({"name": "clean", "repeats": 3}, "'clean' has a level or options"),
        ({"name": "gaussian-5", "share": -0.1}, "share is -0.1"),
        ({"name": "gaussian-5", "share": True}, "share is True; admissible: a number from 0 to 1"),
        ({"name": "gaussian-5", "repeats": 0}, "repeats is 0; admissible: a whole number from 1"),
        ({"name": "gaussian-5", "repeats": 2.5}, "repeats is 2.5; admissible: a whole number from 1"),
        ({"name": "gaussian-5", "mode": "fast"}, "mode is 'fast'; admissible: clean | qmf"),
        ({"name": "gaussian-5", "modalities": "a"}, "modalities is 'a'; admissible: a list of text"),
        ({"name": "gaussian-5", "modalities": 5}, "modalities is 5; admissible: a list of text"),
        ({"name": "gaussian-5", "modalities": ["a", 1]}, r"modalities is \('a', 1\); admissible: a list of text"),
        ({"name": "gaussian-5", "repeat": 3}, "unknown key 'repeat' .*did you mean 'repeats'"),
        ({"name": "gaussian-5", 3: 3}, "unknown key 3"),
        ({"name": "gaussian-5@a", "modalities": ["b"]}, "say it once"),
        ({"name": "gaussian-5", "modalities": ["a" * 201]}, "its label .* has more than 200 bytes"),
        ({"share": 1.0}, "has no name"),
        (5, "has no name"),
        (None, "has no name"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_condition_is_told_in_a_sentence(value, words):
    with pytest.raises(UserError, match=words) as error:
        parse(value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("gaussian-5@imag", "unknown modality 'imag' .*did you mean 'image'"),
        ("words-5@image", "modality 'image' is of kind image; admissible: sequence, tokens"),
        (
            "time-5@sequence+vector",
            "modality 'vector' is of kind vector; admissible: sequence, tokens, audio, image, video",
        ),
        (
            "feature-5@tokens",
            "modality 'tokens' is of kind tokens; admissible: vector, sequence, image, video, audio",
        ),
        ("gaussian-5@sequence (mode qmf)", "modality 'sequence' is of kind sequence; admissible: image"),
    ],
)
def test_a_condition_that_does_not_fit_the_dataset_is_refused(label, words):
    dataset = mixed()
    with pytest.raises(UserError, match=words):
        check(parse(label), dataset.spec.modalities, dataset.spec.name)
    with pytest.raises(UserError, match=words):
        corrupted(dataset, parse(label), 0, TEST)


def test_a_condition_that_fits_no_modality_is_refused_and_one_that_fits_some_is_not():
    check(parse("words-5"), mixed().spec.modalities, mixed().spec.name)
    check(CLEAN, mixed().spec.modalities, mixed().spec.name)
    with pytest.raises(
        UserError, match=r"words-5' fits no modality .*: x \(image\); admissible: sequence, tokens"
    ):
        check(parse("words-5"), images(1).spec.modalities, images(1).spec.name)


def test_mode_qmf_refuses_images_of_another_type():
    dataset = images(1, 2)
    dataset = replace(dataset, inputs={"x": dataset.inputs["x"].astype(np.float32)})
    with pytest.raises(
        UserError, match="modality 'x' has type float32; mode qmf is for images of type uint8"
    ):
        corrupted(dataset, parse("gaussian-5 (mode qmf)"), 0, TEST)
