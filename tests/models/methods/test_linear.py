"""The floor: linear models of every kind of input and task, against scikit-learn and by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from sweeper.models.data import load_dataset
from sweeper.models.errors import UserError
from sweeper.models.maths import linear
from sweeper.models.methods.linear import Linear
from sweeper.models.net import Net
from sweeper.models.tasks.segmentation import Segmentation
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.splits import splits_of
from sweeper.models.values import Batch, DataSpec, InputSpec
from tests.models.cases import build, fit, of_all_lengths, synthetic


def fitted(data, **options):
    method = build({"name": "linear", **options}, data, fusion=None, dtype=torch.float64)
    outcome = fit(method, data)
    assert (outcome.curve, outcome.kept) == ([], "last")
    return method, evaluate(method, splits_of(data, method, 0).validation)


def flat(data, split):
    """Inputs side by side and targets of a split, as any program would read them."""
    rows = data.rows[split]
    x = [data.inputs[m][rows].reshape(len(rows), -1) for m in data.spec.modalities]
    return np.concatenate(x, 1).astype(float), data.target[rows]


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_classes_are_predicted_as_scikit_learn_does(penalty):
    data = load_dataset("digits", {})
    _, found = fitted(data, penalty=penalty)
    (x, y), (test, target) = flat(data, "train"), flat(data, "validation")
    scale = StandardScaler().fit(x)
    theirs = LogisticRegression(C=1 / penalty, max_iter=1000).fit(scale.transform(x), y)
    expected = theirs.predict_proba(scale.transform(test))
    np.testing.assert_allclose(found.predicted, expected, atol=0.02)
    assert (found.predicted.argmax(1) == target).mean() > 0.94


def test_numbers_are_predicted_as_scikit_learn_does():
    data = synthetic(3, task="regression")
    _, found = fitted(data, penalty=5.0)
    (x, y), (test, _) = flat(data, "train"), flat(data, "validation")
    scale = StandardScaler().fit(x)
    theirs = Ridge(alpha=5.0).fit(scale.transform(x), y)
    np.testing.assert_allclose(found.predicted, theirs.predict(scale.transform(test)), atol=1e-6)


def test_one_modality_alone_is_that_modality_only():
    data = synthetic(2)
    method, found = fitted(data, modality="m1")
    assert list(found.unimodal) == ["m1"]
    np.testing.assert_array_equal(found.unimodal["m1"], found.predicted)
    other = dataclasses.replace(data, inputs={**data.inputs, "m0": data.inputs["m0"] * 0})
    np.testing.assert_array_equal(fitted(other, modality="m1")[1].predicted, found.predicted)
    assert method.head.in_features == data.spec.modalities["m1"].shape[0]


def test_the_read_out_is_the_split_of_the_logits():
    data = synthetic(3)
    method, _ = fitted(data)
    batch = splits_of(data, method, 0).validation.batch(torch.arange(10))
    output = method(batch)
    torch.testing.assert_close(sum(output.unimodal.values()), output.fused)


def test_a_modality_that_a_row_lacks_adds_nothing_and_is_left_out_of_the_scale():
    data = synthetic(2, missing=0.4)
    method, _ = fitted(data)
    batch = splits_of(data, method, 0).train.batches(1000)
    (rows,) = batch
    there, width = rows.present["m1"], method.widths["m0"]
    torch.testing.assert_close(method.mean[width:], rows.inputs["m1"][there].double().mean(0))
    noisy = dataclasses.replace(rows, inputs={**rows.inputs, "m1": rows.inputs["m1"] + 7.0})
    torch.testing.assert_close(method(noisy).fused[~there], method(rows).fused[~there])
    assert not torch.allclose(method(noisy).fused[there], method(rows).fused[there])


def test_tokens_are_counted_wherever_they_stand():
    data = of_all_lengths()
    method, _ = fitted(data, modality="m1")
    (rows,) = splits_of(data, method, 0).validation.batches(1000)
    assert method.head.in_features == data.spec.modalities["m1"].vocabulary
    turned = rows.inputs["m1"].clone()
    for row, mask in zip(turned, rows.mask["m1"], strict=True):
        row[mask] = row[mask].flip(0)
    found = dataclasses.replace(rows, inputs={**rows.inputs, "m1": turned})
    torch.testing.assert_close(method(found).fused, method(rows).fused)


def test_rows_of_any_length_are_read_alike_in_any_company():
    data = of_all_lengths()
    method, _ = fitted(data)
    feed = splits_of(data, method, 0).validation
    (rows,) = feed.batches(1000)
    alone = torch.cat([method(feed.batch(torch.tensor([i]))).fused for i in range(8)])
    torch.testing.assert_close(alone, method(rows).fused[:8])


def test_every_pixel_has_a_regression():
    data = synthetic(2, task="segmentation", signal=4.0)
    method, found = fitted(data)
    assert method.head.in_features == sum(s.shape[-3] for s in data.spec.modalities.values())
    assert all_scores(method.task, found)["miou"] > 0.4
    assert found.unimodal.keys() == {"m0", "m1"}


def test_what_is_no_picture_is_refused_in_segmentation():
    data = synthetic(2, task="segmentation")
    inputs = {**data.spec.modalities, "m1": synthetic(2).spec.modalities["m1"]}
    strange = dataclasses.replace(data, spec=dataclasses.replace(data.spec, modalities=inputs))
    with pytest.raises(
        UserError, match="modality 'm1' is of kind vector; admissible in segmentation: image, video"
    ):
        build({"name": "linear"}, strange, fusion=None, encoder={"name": "mlp"})


def test_a_pixel_of_a_video_is_the_mean_over_the_frames_that_are_there():
    inputs = {"still": InputSpec("image", (1, 4, 4)), "moving": InputSpec("video", (3, 2, 4, 4))}
    spec = DataSpec("toy", inputs, 2, {}, "none", "segmentation", (8, 8))
    net = Net(spec, {m: torch.nn.Identity() for m in inputs}, None)
    method = Linear(net, Segmentation(spec))
    frames = torch.rand(2, 3, 2, 4, 4)
    mask = torch.tensor([[True] * 3, [True, False, False]])
    moving = frames * mask.view(2, 3, 1, 1, 1)
    rows = Batch({"still": torch.rand(2, 1, 4, 4), "moving": moving}, torch.zeros(2, 8, 8), torch.arange(2))
    found = method._flat("moving", dataclasses.replace(rows, mask={"moving": mask}))
    assert found.shape == (2, 8, 8, 2)
    still = torch.nn.functional.interpolate(frames[1, :1], (8, 8), mode="bilinear")[0]
    torch.testing.assert_close(found[1], still.movedim(0, -1))
    assert method(rows).fused.shape == (2, 2, 8, 8)


def test_the_seed_changes_nothing():
    data = synthetic(2)
    one, other = (build({"name": "linear"}, data, seed, fusion=None) for seed in (0, 1))
    fit(one, data, seed=0)
    fit(other, data, seed=1)
    torch.testing.assert_close(one.state_dict(), other.state_dict())


def test_classes_that_training_rows_lack_are_never_predicted():
    x = np.random.default_rng(0).normal(size=(30, 4))
    for present in ([2], [1, 3], [0, 1, 3]):
        y = np.resize(present, 30)
        weight, bias = linear.softmax_regression(x, y, 5, 1.0)
        assert weight.shape == (5, 4)
        assert set((x @ weight.T + bias).argmax(1)) <= set(present)


def test_two_classes_and_labels_that_are_always_or_never_there():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = (x[:, 0] > 0).astype(int)
    weight, bias = linear.softmax_regression(x, y, 2, 0.1)
    assert ((x @ weight.T + bias).argmax(1) == y).mean() > 0.95
    labels = np.stack([y, np.ones_like(y), np.zeros_like(y)], 1)
    weight, bias = linear.label_regressions(x, labels, 3, 0.1)
    assert ((x @ weight.T + bias > 0) == labels).mean(0).min() > 0.95
