"""Mean, std and range of train rows: each feature's own or a modality's, steps that are not there left out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sweeper.models.data import files
from sweeper.models.data.dataset import assemble, standardized
from sweeper.models.data.feed import Feed
from sweeper.models.data.statistics import Statistics

N = 60
SHAPES = {"vector": (7,), "sequence": (5, 3), "image": (3, 4, 6), "video": (5, 2, 3, 4), "audio": (30,)}
TIMED = ("sequence", "video", "audio")
FEATURES = {"vector": 1, "sequence": 2, "image": 1, "video": 2, "audio": None}  # the axis of (N, ...)

every_kind = pytest.mark.parametrize("kind", SHAPES)


def drawn(kind, seed=0):
    """Numbers whose features have means and stds of their own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, *SHAPES[kind]))
    if (axis := FEATURES[kind]) is not None:
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        x = x * rng.uniform(1, 9, x.shape[axis]).reshape(shape) + rng.normal(0, 20, x.shape[axis]).reshape(
            shape
        )
    return x.astype(np.float32)


def lengths_of(kind, seed=1):
    return np.random.default_rng(seed).integers(1, SHAPES[kind][0] + 1, N)


def features(kind, x, rows, lengths=None):
    """The numbers of each feature (n, F), by plain NumPy; those of a waveform are one."""
    numbers = []
    for row in rows:
        sample = x[row] if lengths is None else x[row, : lengths[row]]
        axis = FEATURES[kind]
        sample = sample[:, None] if axis is None else np.moveaxis(sample, axis - 1, -1)
        numbers.append(sample.reshape(-1, sample.shape[-1]))
    return np.concatenate(numbers).astype(np.float64)


def dataset(kind, x, present=None, lengths=None):
    rows = {"train": np.arange(0, N, 2), "validation": np.arange(1, N, 4), "test": np.arange(3, N, 4)}
    inputs, kinds, target = {"m": x, "n": np.ones((N, 1))}, {"m": kind, "n": "vector"}, np.arange(N) // 2 % 3
    beside = {
        name: {"m": own} for name, own in (("present", present), ("lengths", lengths)) if own is not None
    }
    return assemble("some", inputs, target, rows, kinds, cite="", **beside)


@every_kind
@pytest.mark.parametrize("shorter", [False, True])
@pytest.mark.parametrize("lacking", [False, True])
def test_each_features_mean_and_std_are_scikit_learns(kind, shorter, lacking, monkeypatch):
    from sklearn.preprocessing import StandardScaler

    if shorter and kind not in TIMED:
        return
    x, lengths = drawn(kind), lengths_of(kind) if shorter else None
    present = np.arange(N) % 3 > 0 if lacking else None
    if shorter:
        x[np.arange(x.shape[1]) >= lengths[:, None]] = 1e5
    own = dataset(kind, x, present, lengths)
    train = own.rows["train"]
    numbers = features(kind, x, train[present[train]] if lacking else train, lengths)
    scaler = StandardScaler().fit(numbers)
    for pieces in (
        files.blocks,
        lambda a, rows: ((r[None], a[r[None]]) for r in rows),
    ):  # in one piece, and row by row
        monkeypatch.setattr("sweeper.models.data.statistics.blocks", pieces)
        mean, std = standardized(own).scale["m"]
        np.testing.assert_allclose(np.ravel(mean), scaler.mean_, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.ravel(std), scaler.scale_, rtol=1e-9)
        low, high = replace(own).statistics["m"].range
        assert (low, high) == (numbers.min(), numbers.max())
        mean, std = standardized(own, "modality").scale["m"]
        assert (mean, std) == (
            pytest.approx(numbers.mean(), rel=1e-9),
            pytest.approx(numbers.std(), rel=1e-9),
        )


@every_kind
def test_batches_have_mean_0_and_std_1_in_every_feature_of_the_train_rows(kind):
    own = standardized(dataset(kind, drawn(kind)))
    batch = next(Feed(own, own.rows["train"], dtype=torch.float64).batches(N))
    numbers = features(kind, batch.inputs["m"].numpy(), range(len(batch)))
    np.testing.assert_allclose(numbers.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(numbers.std(0), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", TIMED)
def test_batches_of_shorter_rows_have_mean_0_and_std_1_where_they_are(kind):
    lengths = lengths_of(kind)
    own = standardized(dataset(kind, drawn(kind), lengths=lengths))
    batch = next(Feed(own, own.rows["train"], dtype=torch.float64).batches(N))
    numbers = features(kind, batch.inputs["m"].numpy(), range(len(batch)), lengths[batch.index])
    np.testing.assert_allclose(numbers.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(numbers.std(0), 1, rtol=1e-6)


@pytest.mark.parametrize("pieces", [1, 7])
def test_one_feature_alone_is_as_its_modality_to_the_bit(pieces, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (N, 1, 9, 8), dtype=np.uint8)
    monkeypatch.setattr(
        "sweeper.models.data.statistics.blocks",
        lambda a, rows: ((r, a[r]) for r in np.array_split(rows, pieces)),
    )
    own = dataset("image", x)
    assert standardized(own).scale["m"] == standardized(own, "modality").scale["m"]
    if pieces == 1:
        train = x[own.rows["train"]].astype(float)
        assert standardized(own).scale["m"] == pytest.approx((train.mean(), train.std()), rel=1e-15)


@every_kind
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_feature_becomes_0_and_stays_finite(kind, value):
    x, axis = drawn(kind), FEATURES[kind]
    x[(slice(None),) * (axis or 1) + ((1,) if axis else (slice(None),))] = value
    own = standardized(dataset(kind, x))
    mean, std = own.scale["m"]
    place = 1 if axis else 0
    assert np.ravel(std)[place] == 1.0
    assert np.ravel(mean)[place] == pytest.approx(value)
    for split in own.rows.values():
        batch = next(Feed(own, split).batches(N)).inputs["m"]
        assert batch.isfinite().all()
        own_feature = batch.movedim(axis, 0)[1] if axis else batch
        assert own_feature.abs().max() <= 1e-6 * max(1.0, value)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, 1e6 + 1 / 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_modality_is_shifted_but_not_blown_up(value, dtype):
    x = np.full((50, 7), value, dtype)
    if dtype is np.float64 and value == 0.1:
        assert x.std() > 0  # by rounding alone
    mean, std = Statistics(x, np.arange(50), "vector").mean_std("modality")
    assert (mean, std) == (pytest.approx(value), 1.0)


def test_statistics_in_pieces_are_those_of_the_whole():
    x = np.random.default_rng(0).normal(100, 3, (5000, 1000)).astype(np.float32)
    x[3000:] += 50  # the pieces differ in their means
    found = Statistics(x, np.arange(5000), "vector")
    assert found.mean_std("modality") == pytest.approx((x.mean(dtype=float), x.std(dtype=float)), rel=1e-9)
    np.testing.assert_allclose(found.moments, (x.mean(0, dtype=float), x.std(0, dtype=float)), rtol=1e-9)


def test_rows_without_a_step_count_for_nothing():
    x, lengths = drawn("sequence"), lengths_of("sequence")
    x = np.repeat(x, 40_000, axis=2)  # so large that a row is a piece of its own
    lengths[:10] = 0
    found = Statistics(x, np.arange(12), "sequence", lengths)
    expected = np.concatenate([x[row, : lengths[row]] for row in (10, 11)])
    assert found.mean_std("modality") == pytest.approx(
        (expected.mean(dtype=float), expected.std(dtype=float))
    )
    assert found.range == (expected.min(), expected.max())


def test_no_row_at_all_gives_0_and_1():
    found = Statistics(np.ones((5, 3)), np.arange(0), "vector")
    assert found.mean_std("modality") == (0.0, 1.0)
    assert found.range == (0.0, 0.0)


def test_scales_are_broadcast_with_a_sample():
    for kind, shape in SHAPES.items():
        for number in standardized(dataset(kind, drawn(kind))).scale["m"]:
            assert np.broadcast_shapes(np.shape(number), shape) == shape
            assert np.size(number) == (1 if FEATURES[kind] is None else shape[FEATURES[kind] - 1])
