"""What corruptions do to one sample: how strong they are, where they strike, what the published ones gave."""

import numpy as np
import pytest

from sweeper.models.data.noise.corruptions import CORRUPTIONS, Statistics

ALL = sorted((kind, mode) for mode, kinds in CORRUPTIONS.items() for kind in kinds)
GOLDEN = {100: [188, 120, 148, 212, 193, 51], 0: [88, 20, 48, 112, 93, 208], 250: [255] * 5 + [201]}


def one(kind, x, level, seed=0, mode="clean"):
    """Return the sample corrupted, itself being all the train rows."""
    about = Statistics(x[None], np.array([0]), None)
    fits = {1: "vector", 2: "sequence", 3: "image"}[x.ndim]
    return CORRUPTIONS[mode][kind][fits](x, level, np.random.default_rng(seed), about)


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
    ("kind", "shape"), [("gaussian", (40000,)), ("gaussian", (400, 100)), ("feature", (1, 200, 200))]
)
def test_feature_noise_has_a_tenth_of_the_std_a_level_and_is_not_clipped(kind, shape):
    x = np.random.default_rng(1).normal(5, 3, shape).astype(np.float32)
    noise = one(kind, x, 4) - x
    assert noise.std() == pytest.approx(0.4 * x.std(), rel=0.02)
    assert one(kind, x, 40).max() > x.max()


@pytest.mark.parametrize("shape", [(40000,), (400, 100), (3, 200, 200)])
def test_salt_strikes_a_hundredth_a_level_to_either_end(shape):
    x = np.full(shape, 7.0, np.float32)
    x.flat[:2] = -1, 9
    struck = one("salt", x, 10)
    assert (struck == -1).mean() == pytest.approx(0.05, abs=0.01)
    assert (struck == 9).mean() == pytest.approx(0.05, abs=0.01)
    if len(shape) == 3:
        np.testing.assert_array_equal(struck[1], struck[2])


def test_words_blanks_whole_steps_to_the_mean():
    x = np.random.default_rng(2).normal(size=(5000, 3)).astype(np.float32)
    blank = one("words", x, 3) == np.float32(x.mean(dtype=np.float64))
    assert (blank.all(1) == blank.any(1)).all()
    assert blank.all(1).mean() == pytest.approx(0.3, abs=0.03)
    assert (one("words", x, 10) == one("words", x, 10)[0, 0]).all()


@pytest.mark.parametrize(("shape", "axis"), [((20, 3), 0), ((2, 5, 20), 2)])
def test_time_blanks_one_span(shape, axis):
    x = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    for seed in range(20):
        gone = np.moveaxis(one("time", x, 4, seed) != x, axis, 0).reshape(20, -1)
        steps = np.flatnonzero(gone.all(1))
        assert len(steps) == 8 == steps[-1] - steps[0] + 1
        assert gone.any(1).sum() == 8
    assert np.ptp(one("time", x, 10)) == 0


def test_blur_spreads_a_point_over_space_but_not_over_channels_or_features():
    image = np.zeros((2, 41, 41), np.float32)
    image[0, 20, 20] = 1
    blurred = one("blur", image, 10)
    assert blurred[1].max() == 0
    assert blurred[0].sum() == pytest.approx(1, abs=1e-3)
    spread = (blurred[0].sum(0) * (np.arange(41) - 20) ** 2).sum() ** 0.5
    assert spread == pytest.approx(4.1, rel=0.05)
    sequence = image[0].copy()
    assert (one("blur", sequence, 10).any(0) == (np.arange(41) == 20)).all()


@pytest.mark.parametrize(("kind", "mode"), ALL)
def test_a_sample_is_never_changed_in_place(kind, mode):
    for dims, fits in (((6,), "vector"), ((6, 3), "sequence"), ((1, 6, 6), "image")):
        if fits in CORRUPTIONS[mode][kind]:
            x = np.arange(np.prod(dims)).reshape(dims).astype(np.uint8 if mode == "qmf" else np.float32)
            before = x.copy()
            assert not np.array_equal(one(kind, x, 10, mode=mode), before)
            np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("kind", ["gaussian", "feature"])
def test_two_levels_are_the_same_pattern_scaled(kind):
    x = np.random.default_rng(4).normal(size=30).astype(np.float64)
    np.testing.assert_allclose(one(kind, x, 6) - x, 3 * (one(kind, x, 2) - x), rtol=1e-6)


@pytest.mark.parametrize("kind", ["salt", "words", "time"])
def test_what_a_low_level_strikes_a_higher_one_strikes_too(kind):
    x = np.random.default_rng(5).normal(size=(50, 4)).astype(np.float32)
    for seed in range(10):
        low, high = one(kind, x, 3, seed), one(kind, x, 6, seed)
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
    np.testing.assert_array_equal(one("salt", image, 10, seed=1, mode="qmf"), struck)
    np.testing.assert_array_equal(struck[0], struck[1])
    assert [(struck == v).mean() for v in (0, 255)] == pytest.approx([0.05, 0.05], abs=0.01)
