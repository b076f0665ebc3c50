"""`synthetic`: the distances, the noise and the gaps are those that were asked for."""

import numpy as np
import pytest

from sweeper.models.data import inputs, load_dataset
from sweeper.models.errors import UserError


def synthetic(**options):
    return load_dataset("synthetic", options)


SHAPES = {
    "vector": (6,),
    "sequence": (4, 6),
    "image": (1, 6, 6),
    "video": (4, 1, 6, 6),
    "tokens": (24,),
    "audio": (384,),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_has_the_asked_shapes(kind, count):
    options = {"kind": kind, "dim": 6, "modalities": count}
    dataset = synthetic(train=40, **options)
    for specs in (dataset.spec.modalities, inputs("synthetic", options)):
        assert list(specs) == [f"m{i}" for i in range(count)]
        assert {(spec.kind, spec.shape) for spec in specs.values()} == {(kind, SHAPES[kind])}
    assert {x.shape[1:] for x in dataset.inputs.values()} == {SHAPES[kind]}
    assert dataset.spec.sizes == {"train": 40, "validation": 128, "test": 128}
    assert not dataset.lengths


def test_modalities_may_be_of_different_kinds():
    dataset = synthetic(kind=list(SHAPES), modalities=6, dim=6)
    assert [spec.kind for spec in dataset.spec.modalities.values()] == list(SHAPES)
    alone = synthetic(kind=["video", "sequence"], dim=6)
    np.testing.assert_array_equal(alone.inputs["m1"], dataset.inputs["m1"])


def test_tokens_are_drawn_by_their_scores():
    still = synthetic(kind="vector", dim=4, modalities=1, train=8, n_classes=2, signal=3.0, noise=0.0)
    dataset = synthetic(kind="tokens", dim=4, modalities=1, train=4000, n_classes=2, signal=3.0, noise=0.0)
    assert dataset.spec.modalities["m0"].vocabulary == 4
    for label in (0, 1):
        odds = np.exp(still.inputs["m0"][label])
        drawn = dataset.inputs["m0"][:4000][dataset.target[:4000] == label]
        shares = [(drawn == token).mean() for token in range(4)]
        assert shares == pytest.approx(odds / odds.sum(), abs=0.01)


@pytest.mark.parametrize("kind", SHAPES)
def test_what_has_steps_is_cut_short_by_up_to_the_share(kind):
    dataset = synthetic(kind=kind, dim=6, train=3000, shorter=0.5)
    if kind in ("vector", "image"):
        assert not dataset.lengths
        return
    steps = SHAPES[kind][0]
    assert set(dataset.lengths) == {"m0", "m1"}
    for lengths in dataset.lengths.values():
        assert (lengths.min(), lengths.max()) == (steps // 2, steps)
        assert lengths.mean() == pytest.approx(0.75 * steps, rel=0.03)
    assert not np.array_equal(*dataset.lengths.values())
    assert synthetic(kind=kind, dim=6, shorter=1.0, train=3000).lengths["m0"].min() == 1


@pytest.mark.parametrize("kind", ["vector", "image"])
@pytest.mark.parametrize("n_classes", [2, 12])
def test_signal_is_the_mean_distance_of_centres_and_noise_the_std(kind, n_classes):
    sized = {"kind": kind, "n_classes": n_classes, "dim": 4, "train": 12000, "signal": [3.0, 0.5]}
    still = synthetic(noise=0, **sized)
    noisy = synthetic(noise=[0.2, 2], **sized)
    for m, signal, noise in (("m0", 3.0, 0.2), ("m1", 0.5, 2.0)):
        centres = still.inputs[m][:n_classes].reshape(n_classes, -1)
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(centres) for b in centres[:i]]
        assert np.mean(gaps) == pytest.approx(signal, rel=1e-5)
        assert (noisy.inputs[m] - still.inputs[m]).std() == pytest.approx(noise, rel=0.02)


def test_two_classes_can_be_told_apart_as_often_as_documented():
    from scipy.stats import norm

    options = {"n_classes": 2, "signal": 1.5, "dim": 3, "test": 40000}
    centres = synthetic(noise=0, **options).inputs["m0"][:2]
    dataset = synthetic(**options)
    rows = dataset.rows["test"]
    gaps = np.linalg.norm(dataset.inputs["m0"][rows, None] - centres, axis=2)
    assert (gaps.argmin(1) == dataset.target[rows]).mean() == pytest.approx(norm.cdf(0.75), abs=0.01)


def test_rows_lack_modalities_but_never_all():
    dataset = synthetic(missing=0.3, modalities=3, train=6000)
    present = np.stack(list(dataset.present.values()))
    assert present.any(0).all()
    assert 1 - present.mean(1) == pytest.approx(0.3 - 0.3**3 / 3, abs=0.02)
    for m, mask in dataset.present.items():
        assert not dataset.inputs[m][~mask].any()
        assert dataset.inputs[m][mask].all()
    assert synthetic(missing=0.9, modalities=1).present == {}


def test_tokens_that_a_row_lacks_are_0_too():
    dataset = synthetic(missing=0.3, kind="tokens")
    for m, mask in dataset.present.items():
        assert not dataset.inputs[m][~mask].any()
        assert dataset.inputs[m][mask].any(1).all()


@pytest.mark.parametrize("kind", SHAPES)
def test_a_longer_split_begins_with_the_shorter_and_moves_no_other(kind):
    short, long = (synthetic(train=n, missing=0.2, kind=kind, shorter=0.5) for n in (100, 200))
    assert short.lengths.keys() == long.lengths.keys()
    pairs = [(own[m], other[m]) for own, other in zip(parts(short), parts(long), strict=True) for m in own]
    for a, b in pairs:
        np.testing.assert_array_equal(a[:100], b[:100])
        np.testing.assert_array_equal(a[short.rows["test"]], b[long.rows["test"]])


def parts(dataset):
    return dataset.inputs, dataset.present, dataset.lengths


def test_is_seeded():
    a, b, c = (synthetic(data_seed=s).inputs["m0"] for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.allclose(a, c)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"modalities": 0}, "modalities is 0; admissible: a whole number from 1"),
        ({"test": 0}, "test is 0"),
        ({"dim": -1}, "dim is -1"),
        ({"n_classes": 1}, "n_classes is 1; admissible: whole numbers from 2"),
        ({"train": 3}, "train holds no sample of class 3"),
        ({"missing": 1.0}, "missing is 1.0; admissible: a number from 0 to below 1"),
        ({"signal": [1.0]}, r"signal is \[1.0\]; admissible: a number from 0, or a list of 2 of them"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"shorter": 1.5}, "shorter is 1.5; admissible: a number from 0 to 1"),
        (
            {"kind": "sound"},
            r"kind is 'sound'; admissible: a list of vector \| sequence \| image \| video",
        ),
        ({"kind": ["image"]}, r"kind is \['image'\]; admissible: one kind, or a list of 2 of them"),
        ({"kind": "video", "task": "segmentation"}, "kind is video; admissible: image, for segmentation"),
    ],
)
def test_refuses_in_a_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence):
        synthetic(**options)


def posing(task, **options):
    return synthetic(task=task, **({"kind": "image"} if task == "segmentation" else {}), **options)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression", "segmentation"])
def test_every_task_is_seeded_and_a_longer_split_begins_with_the_shorter(task):
    short, long, other = (
        posing(task, train=n, missing=0.2, data_seed=s) for n, s in ((100, 0), (200, 0), (100, 1))
    )
    assert short.spec.task == task
    test = short.rows["test"]
    for a, b in [(short.target, long.target), *((short.inputs[m], long.inputs[m]) for m in short.inputs)]:
        np.testing.assert_array_equal(a[:100], b[:100])
        np.testing.assert_array_equal(a[test], b[test + 100])
    assert not np.array_equal(short.inputs["m0"], other.inputs["m0"])
    assert np.array_equal(short.target, other.target) == (task == "classification")


def test_labels_add_their_shifts():
    dataset = posing("multilabel", noise=0, n_classes=3, train=400)
    assert dataset.target.shape[1:] == (3,)
    assert dataset.target.mean(0) == pytest.approx(0.5, abs=0.08)
    shifts, rest, *_ = np.linalg.lstsq(dataset.target, dataset.inputs["m0"], rcond=None)
    assert rest.sum() == pytest.approx(0, abs=1e-6)
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(shifts) for b in shifts[:i]]
    assert np.mean(gaps) == pytest.approx(1.0, rel=1e-5)


def test_numbers_lie_on_a_line_of_the_length_asked_for():
    dataset = posing("regression", noise=0, signal=5.0, train=400)
    assert (dataset.target.min(), dataset.target.max()) == pytest.approx((-3, 3), abs=0.05)
    x, y = dataset.inputs["m0"].astype(float), dataset.target.astype(float)
    steps = np.linalg.norm(x[1:] - x[:-1], axis=1) / np.abs(y[1:] - y[:-1])
    assert steps == pytest.approx(5 / 6, rel=1e-3)


def test_pixels_have_the_grey_of_their_class():
    dataset = posing("segmentation", noise=0, signal=[2.0, 0.7], n_classes=4, dim=12)
    for m, signal in (("m0", 2.0), ("m1", 0.7)):
        greys = [np.unique(dataset.inputs[m][:, 0][dataset.target == c]) for c in range(4)]
        assert [len(g) for g in greys] == [1] * 4
        gaps = [abs(a - b) for i, a in enumerate(greys) for b in greys[:i]]
        assert np.mean(gaps) == pytest.approx(signal, rel=1e-5)
    for row, mask in enumerate(dataset.target[:9]):
        assert set(np.unique(mask)) == {0, 1 + row % 3}


def test_segmentation_is_of_images_alone():
    with pytest.raises(UserError, match="kind is vector; admissible: image, for segmentation"):
        synthetic(task="segmentation")
