"""What corruptions do to one sample: how strong they are, where they strike, what the published ones gave."""

import numpy as np
import pytest

from sweeper.models.data.noise.corruptions import CORRUPTIONS
from sweeper.models.data.statistics import Statistics
from sweeper.models.values import AXES

ALL = sorted((kind, mode) for mode, kinds in CORRUPTIONS.items() for kind in kinds)
SHAPES = {
    "vector": (6,),
    "sequence": (6, 3),
    "image": (2, 6, 6),
    "video": (6, 2, 5, 5),
    "tokens": (6,),
    "audio": (6,),
}
GOLDEN = {100: [188, 120, 148, 212, 193, 51], 0: [88, 20, 48, 112, 93, 208], 250: [255] * 5 + [201]}


def one(kind, x, level, seed=0, mode="clean", given=None):
    """Return the sample corrupted, itself being all the train rows; of the kind that its axes say unless given."""
    given = given or {1: "vector", 2: "sequence", 3: "image", 4: "video"}[x.ndim]
    about = Statistics(x[None], np.array([0]), given)
    return CORRUPTIONS[mode][kind][given](x, level, np.random.default_rng(seed), about)


def drawn(given, seed=2):
    """A sample of a kind."""
    rng = np.random.default_rng(seed)
    if given == "tokens":
        return rng.integers(1, 9, SHAPES[given])
    return rng.normal(size=SHAPES[given]).astype(np.float32)


def test_gaussian_on_an_image_has_the_std_of_ten_pixels_a_level_and_stays_in_range():
    image = np.full((3, 200, 200), 100, np.float32)
    image[0, 0, :2] = 0, 255
    noisy = one("gaussian", image, 2)
    assert (noisy - image)[1].std() == pytest.approx(20, rel=0.02)
    np.testing.assert_array_equal(noisy[1], noisy[2])
    strong = one("gaussian", image, 20)
    assert (strong.min(), strong.max()) == (0, 255)


def test_gaussian_follows_the_range_of_the_train_rows():
    decibels = np.linspace(-80, 0, 40000, dtype=np.float32).reshape(1, 200, 200)
    inside = np.abs(decibels + 40) < 20
    assert (one("gaussian", decibels, 1) - decibels)[inside].std() == pytest.approx(80 * 10 / 255, rel=0.03)


@pytest.mark.parametrize(
    ("kind", "shape", "given"),
    [
        ("gaussian", (40000,), "audio"),
        ("gaussian", (40000, 1), "sequence"),
        ("feature", (1, 200, 200), "image"),
        ("feature", (8, 1, 70, 70), "video"),
    ],
)
def test_feature_noise_has_a_tenth_of_the_std_a_level_and_is_not_clipped(kind, shape, given):
    x = np.random.default_rng(1).normal(5, 3, shape).astype(np.float32)
    noise = one(kind, x, 4, given=given) - x
    assert noise.std() == pytest.approx(0.4 * x.std(), rel=0.02)
    assert one(kind, x, 40, given=given).max() > x.max()


@pytest.mark.parametrize(
    ("kind", "given", "shape", "axis"),
    [
        ("gaussian", "sequence", (40000, 3), 1),
        ("feature", "sequence", (40000, 3), 1),
        ("feature", "image", (3, 200, 200), 0),
        ("feature", "video", (10, 3, 60, 60), 1),
    ],
)
def test_feature_noise_is_by_the_std_of_each_feature(kind, given, shape, axis):
    scale = np.array([0.1, 1.0, 30.0]).reshape([3 if a == axis else 1 for a in range(len(shape))])
    x = (np.random.default_rng(1).normal(size=shape) * scale).astype(np.float32)
    noise = one(kind, x, 4, given=given) - x
    others = tuple(a for a in range(len(shape)) if a != axis)
    np.testing.assert_allclose(noise.std(others), 0.4 * x.std(others), rtol=0.03)


@pytest.mark.parametrize("kind", ["gaussian", "feature"])
def test_noise_of_vectors_is_by_the_std_of_each_number_among_the_train_rows(kind):
    train = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32) * [0.1, 1.0, 30.0]
    about, x = Statistics(train, np.arange(100), "vector"), np.zeros((4000, 3), np.float32)
    corrupt = CORRUPTIONS["clean"][kind]["vector"]
    noise = [corrupt(row, 5, np.random.default_rng(i), about) for i, row in enumerate(x)]
    np.testing.assert_allclose(np.std(noise, 0), 0.5 * train[:100].std(0), rtol=0.05)


def test_gaussian_on_a_video_is_fresh_in_every_frame_and_alike_in_all_channels():
    video = np.full((5, 3, 60, 60), 100, np.float32)
    video[0, 0, 0, :2] = 0, 255
    noise = (one("gaussian", video, 2) - video)[1:]
    assert noise.std() == pytest.approx(20, rel=0.02)
    np.testing.assert_array_equal(noise[:, 1], noise[:, 2])
    assert np.corrcoef(noise[0, 0].ravel(), noise[1, 0].ravel())[0, 1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("level", [-10, -3.5, 0, 10, 40])
def test_white_noise_has_the_signal_to_noise_ratio_in_decibels(level):
    time = np.arange(40000) / 16000
    sound = (3000 * np.sin(2 * np.pi * 440 * time) + 500).astype(np.float32)  # an offset is no sound
    noise = one("white", sound, level, given="audio") - sound
    ratio = 10 * np.log10(np.var(sound) / np.var(noise))
    assert ratio == pytest.approx(level, abs=0.1)
    spectrum = np.abs(np.fft.rfft(noise))[1:] ** 2
    assert spectrum[:5000].mean() == pytest.approx(spectrum[-5000:].mean(), rel=0.1)


def test_white_noise_is_the_same_pattern_at_all_levels_and_follows_each_recordings_own_loudness():
    sound = np.random.default_rng(4).normal(size=3000)
    quiet, loud = (one("white", sound, level, given="audio") - sound for level in (20, -20))
    np.testing.assert_allclose(loud, 100 * quiet, rtol=1e-6)
    np.testing.assert_allclose(
        one("white", 8 * sound, 5, given="audio"), 8 * one("white", sound, 5, given="audio")
    )
    silence = np.full(50, 7.0, np.float32)
    np.testing.assert_array_equal(one("white", silence, -100, given="audio"), silence)


@pytest.mark.parametrize("shape", [(40000,), (400, 100), (3, 200, 200), (5, 2, 100, 100)])
def test_salt_strikes_a_hundredth_a_level_to_either_end(shape):
    x = np.full(shape, 7.0, np.float32)
    x.flat[:2] = -1, 9
    struck = one("salt", x, 10)
    assert (struck == -1).mean() == pytest.approx(0.05, abs=0.01)
    assert (struck == 9).mean() == pytest.approx(0.05, abs=0.01)
    if len(shape) == 3:
        np.testing.assert_array_equal(struck[1], struck[2])
    if len(shape) == 4:
        np.testing.assert_array_equal(struck[1:, 0], struck[1:, 1])
        assert (struck[1] != struck[2]).any()


def test_words_blanks_whole_steps_to_the_mean_of_each_feature():
    x = np.random.default_rng(2).normal([0, 5, -30], size=(5000, 3)).astype(np.float32)
    blank = np.abs(one("words", x, 3) - x.mean(0, dtype=np.float64)) < 1e-9
    assert (blank.all(1) == blank.any(1)).all()
    assert blank.all(1).mean() == pytest.approx(0.3, abs=0.03)
    assert (one("words", x, 10) == one("words", x, 10)[0]).all()


@pytest.mark.parametrize("kind", ["words", "time", "gaussian", "salt"])
def test_tokens_are_taken_away_to_0(kind):
    x = np.random.default_rng(2).integers(1, 50, 5000)
    found = one(kind, x, 3, given="tokens")
    assert (found == 0).mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(found[found != 0], x[found != 0])
    assert not one(kind, x, 10, given="tokens").any()
    steps = np.flatnonzero(found == 0)
    assert (len(steps) == steps[-1] - steps[0] + 1) == (kind == "time")


@pytest.mark.parametrize("kind", ["words", "time", "gaussian", "salt"])
def test_special_tokens_stay_and_the_blank_stands_for_words(kind):
    """As where a text begins and ends, [CLS] 101 and [SEP] 102 of BERT; `_` is 1035."""
    text = np.array([101, *range(2000, 2050), 102])
    about = Statistics(text[None], np.array([0]), "tokens", blank=1035, special=(0, 101, 102))
    found = CORRUPTIONS["clean"][kind]["tokens"](text, 10, np.random.default_rng(0), about)
    assert found.tolist() == [101, *[1035] * 50, 102]


@pytest.mark.parametrize(
    ("shape", "axis", "given", "features"),
    [
        ((20, 3), 0, "sequence", 1),
        ((2, 5, 20), 2, "image", 0),
        ((20, 2, 3, 4), 0, "video", 1),
        ((20,), 0, "audio", None),
    ],
)
def test_time_blanks_one_span_to_the_mean_of_each_feature(shape, axis, given, features):
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    for seed in range(20):
        gone = np.moveaxis(one("time", x, 4, seed, given=given) != x, axis, 0).reshape(20, -1)
        steps = np.flatnonzero(gone.all(1))
        assert len(steps) == 8 == steps[-1] - steps[0] + 1
        assert gone.any(1).sum() == 8
    others = tuple(a for a in range(len(shape)) if a != features)
    expected = np.broadcast_to(x.mean(others, keepdims=True), shape)
    np.testing.assert_allclose(one("time", x, 10, given=given), expected, atol=1e-6)


def test_blur_spreads_a_point_over_space_but_not_over_channels_or_features():
    image = np.zeros((2, 41, 41), np.float32)
    image[0, 20, 20] = 1
    blurred = one("blur", image, 10)
    assert blurred[1].max() == 0
    assert blurred[0].sum() == pytest.approx(1, abs=1e-3)
    spread = (blurred[0].sum(0) * (np.arange(41) - 20) ** 2).sum() ** 0.5
    assert spread == pytest.approx(4.1, rel=0.05)
    video = np.stack([image, 0 * image])
    np.testing.assert_allclose(one("blur", video, 10)[0], blurred, atol=1e-7)
    assert not one("blur", video, 10)[1].any()
    sequence = image[0].copy()
    assert (one("blur", sequence, 10).any(0) == (np.arange(41) == 20)).all()


def test_every_kind_of_input_has_a_shape_here():
    assert set(SHAPES) == set(AXES)
    for kinds in CORRUPTIONS.values():
        assert all(set(given) <= set(AXES) for given in kinds.values())


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_a_sample_is_never_changed_in_place_and_keeps_its_shape(kind, mode):
    for given in CORRUPTIONS[mode][kind]:
        x = drawn(given)
        x = (40 * x + 100).astype(np.uint8) if mode == "qmf" else x
        before = x.copy()
        found = one(kind, x, 10, mode=mode, given=given)
        assert not np.array_equal(found, before)
        assert found.shape == x.shape
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("kind", ["gaussian", "feature"])
def test_two_levels_are_the_same_pattern_scaled(kind):
    x = np.random.default_rng(4).normal(size=30).astype(np.float64)
    np.testing.assert_allclose(one(kind, x, 6) - x, 3 * (one(kind, x, 2) - x), rtol=1e-6)


@pytest.mark.parametrize("kind", ["salt", "words", "time"])
@pytest.mark.parametrize("given", ["sequence", "tokens", "video"])
def test_what_a_low_level_strikes_a_higher_one_strikes_too(kind, given):
    if given not in CORRUPTIONS["clean"][kind]:
        return
    shape = {"sequence": (50, 4), "tokens": (50,), "video": (50, 1, 2, 2)}[given]
    rng = np.random.default_rng(5)
    x = rng.integers(1, 9, shape) if given == "tokens" else rng.normal(size=shape).astype(np.float32)
    for seed in range(10):
        low, high = (one(kind, x, level, seed, given=given) for level in (3, 6))
        assert ((low == x) | (high == low)).all()
        assert (high != x).sum() > (low != x).sum() > 0


@pytest.mark.parametrize(("value", "expected"), GOLDEN.items())
def test_qmf_noise_is_the_releases_bit_for_bit(value, expected):
    image = np.full((3, 4, 6), value, np.uint8)
    noisy = one("gaussian", image, 5, mode="qmf")
    assert noisy.dtype == np.uint8
    assert [channel.ravel()[:6].tolist() for channel in noisy] == [expected] * 3
    np.testing.assert_array_equal(one("gaussian", image, 5, seed=1, mode="qmf"), noisy)


def test_qmf_noise_wraps_where_clean_noise_is_clipped():
    image = np.full((1, 200, 200), 20, np.uint8)
    image[0, 0, :2] = 0, 255
    assert one("gaussian", image, 5, mode="qmf").mean() == pytest.approx(106, abs=2)
    assert one("gaussian", image.astype(np.float32), 5).mean() == pytest.approx(31, abs=2)


def test_qmf_salt_makes_a_twentieth_black_and_a_twentieth_white_at_any_level():
    image = np.full((2, 100, 100), 100, np.uint8)
    struck = one("salt", image, 5, mode="qmf")
    np.testing.assert_array_equal(one("salt", image, 10, mode="qmf"), struck)
    np.testing.assert_array_equal(struck[0], struck[1])
    for seed in (0, 1):
        struck = one("salt", image, 5, seed, mode="qmf")
        assert [(struck == v).mean() for v in (0, 255)] == pytest.approx([0.05, 0.05], abs=0.01)


def test_qmf_salt_strikes_pixels_anew_in_each_image():
    image = np.full((1, 100, 100), 100, np.uint8)
    first, second = (one("salt", image, 5, seed, mode="qmf") != 100 for seed in (0, 1))
    assert (first & second).mean() == pytest.approx(0.01, abs=0.005)
