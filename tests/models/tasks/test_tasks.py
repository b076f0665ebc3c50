"""The four tasks: their losses, what is kept of predictions, what is refused, what evaluation reports."""

from __future__ import annotations

import dataclasses
import math
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from sweeper.models.data.dataset import assemble
from sweeper.models.errors import UserError
from sweeper.models.maths import reliability
from sweeper.models.maths.metrics import OF_TASK, check_metric
from sweeper.models.schema.entries import entries, entry
from sweeper.models.training import evaluation
from sweeper.models.training.build import build_method
from sweeper.models.training.evaluation import Evaluation, all_scores, evaluate, quick_scores
from sweeper.models.training.splits import splits_of
from sweeper.models.values import DataSpec
from tests.models.cases import SETTINGS, build, fit, synthetic

C, SIZE = 4, (5, 6)
TASKS = list(OF_TASK)


def posed(task: str):
    n_classes, size = 1 if task == "regression" else C, SIZE if task == "segmentation" else ()
    return entry("task", task).load()(DataSpec("some", {}, n_classes, {}, "", task, size))


def drawn(task: str, rows: int = 9, seed: int = 0):
    """Return logits and targets; of pixels a different number of each row is void."""
    generator = torch.Generator().manual_seed(seed)
    if task == "segmentation":
        target = torch.randint(C, (rows, *SIZE), generator=generator)
        void = torch.rand(target.shape, generator=generator) < torch.linspace(0, 1, rows).view(-1, 1, 1)
        logits = torch.randn(rows, C, *SIZE, generator=generator)
        return logits, target.masked_fill(void, -1).to(torch.int8)
    if task == "multilabel":
        return torch.randn(rows, C, generator=generator), torch.randint(2, (rows, C), generator=generator)
    if task == "regression":
        return torch.randn(rows, 1, generator=generator), torch.randn(rows, generator=generator)
    return torch.randn(rows, C, generator=generator), torch.randint(C, (rows,), generator=generator)


def test_every_task_has_metrics():
    assert set(entries("task")) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_loss_is_the_mean_of_each_rows_own(name):
    task, (logits, target) = posed(name), drawn(name)
    losses = task.losses(logits, target)
    assert losses.shape == (9,)
    torch.testing.assert_close(task.loss(logits, target), losses.mean())
    for row in range(9):  # no row's loss depends on another
        alone = task.loss(logits[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(losses[row], alone)


@pytest.mark.parametrize("name", TASKS)
def test_rows_count_by_their_weight(name):
    task, (logits, target) = posed(name), drawn(name)
    weight = torch.arange(9.0)
    expected = (task.losses(logits, target) * weight).mean()
    torch.testing.assert_close(task.loss(logits, target, weight), expected)
    torch.testing.assert_close(task.loss(logits, target, torch.ones(9)), task.loss(logits, target))
    logits.requires_grad_()
    task.loss(logits, target, weight).backward()
    assert not logits.grad[0].any()


@pytest.mark.parametrize("name", ["classification", "multilabel", "segmentation"])
def test_rows_losses_take_label_smoothing(name):
    task, (logits, target) = posed(name), drawn(name)
    smooth = task.losses(logits, target, label_smoothing=0.3)
    assert smooth.shape == (9,)
    torch.testing.assert_close(task.loss(logits, target, label_smoothing=0.3), smooth.mean())
    assert not torch.allclose(smooth, task.losses(logits, target))


@pytest.mark.parametrize("name", TASKS)
def test_loss_is_a_mean_over_rows_so_that_ranks_add_up(name):
    task, (logits, target) = posed(name), drawn(name)
    parts = [task.loss(logits[a:b], target[a:b]) * (b - a) for a, b in ((0, 2), (2, 7), (7, 9))]
    torch.testing.assert_close(task.loss(logits, target), sum(parts) / 9)


@pytest.mark.parametrize("name", TASKS)
def test_reported_loss_is_the_loss(name):
    task, (logits, target) = posed(name), drawn(name)
    losses = task.losses_of_predictions(task.predict(logits), target)
    assert losses.shape == (9,)
    torch.testing.assert_close(losses, task.losses(logits, target))
    torch.testing.assert_close(losses.mean(), task.loss(logits, target))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_loss_takes_other_precisions(name, dtype):
    task, (logits, target) = posed(name), drawn(name)
    found = task.loss(logits.to(dtype), target)
    assert float(found) == pytest.approx(float(task.loss(logits, target)), rel=0.02)
    assert found.dtype in (torch.float32, dtype)


@pytest.mark.parametrize("name", TASKS)
def test_quick_is_the_headline_of_the_scores(name):
    task, (logits, target) = posed(name), drawn(name)
    kept = [x.numpy() for x in task.kept(task.predict(logits), target)]
    scores = task.score(*kept)
    assert task.quick(*kept) == scores[task.headline]
    assert set(scores) <= set(OF_TASK[name])
    check_metric(task.headline, name)


def test_losses_by_hand():
    z = torch.tensor([[0.0, math.log(3)]])
    both = posed("multilabel").loss(z, torch.tensor([[1, 0]]))
    assert float(both) == pytest.approx((math.log(2) + math.log(4)) / 2)
    smooth = posed("multilabel").loss(z, torch.tensor([[1, 0]]), label_smoothing=0.4)
    assert float(smooth) == pytest.approx((math.log(2) + 0.8 * math.log(4) + 0.2 * math.log(4 / 3)) / 2)
    assert float(posed("regression").loss(torch.tensor([[1.0], [3.0]]), torch.tensor([2.5, 3.0]))) == 0.75


def test_a_rows_segmentation_loss_is_the_mean_over_its_labelled_pixels():
    logits = torch.zeros(3, 2, 1, 2)
    logits[0, 0, 0, 0] = math.log(3)
    target = torch.tensor([[[0, 1]], [[-1, 0]], [[-1, -1]]])
    rows = [(math.log(4 / 3) + math.log(2)) / 2, math.log(2), 0.0]
    task = entry("task", "segmentation").load()(DataSpec("some", {}, 2, {}, "", "segmentation", (1, 2)))
    assert float(task.loss(logits, target)) == pytest.approx(sum(rows) / 3)
    assert task.losses(logits, target).tolist() == pytest.approx(rows)
    assert task.losses_of_predictions(task.predict(logits), target).tolist() == pytest.approx(rows)
    before = logits.clone().requires_grad_()
    task.loss(before, target).backward()
    assert not before.grad[2].any()
    assert not before.grad[1, :, 0, 0].any()


def test_confusions_of_rows_add_up_to_scikit_learns_over_all_pixels():
    from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

    task, (logits, target) = posed("segmentation"), drawn("segmentation", rows=20)
    target[target == 2] = 1  # a class that is predicted only
    parts = [task.kept(task.predict(logits[a : a + 6]), target[a : a + 6]) for a in range(0, 20, 6)]
    confusion, pixels = (torch.cat(x).numpy() for x in zip(*parts, strict=True))
    assert (confusion.shape, pixels.shape) == ((20, C, C), (20, C))
    labelled = target != -1
    true, predicted = target[labelled].numpy(), logits.argmax(1)[labelled].numpy()
    np.testing.assert_array_equal(confusion.sum(0), confusion_matrix(true, predicted, labels=range(C)))
    np.testing.assert_array_equal(pixels, confusion.sum(2))
    scores = task.score(confusion, pixels)
    assert scores["miou"] == pytest.approx(jaccard_score(true, predicted, average="macro", zero_division=0))
    assert scores["pixel_accuracy"] == pytest.approx(accuracy_score(true, predicted))


def test_segmentation_is_evaluated_without_keeping_pixels(monkeypatch):
    data = synthetic(3, task="segmentation", missing=0.3)
    method = build({"name": "joint"}, data, fusion="decoder")
    feed = splits_of(data, method, 0).validation
    found = evaluate(method, feed)
    assert found.predicted.shape == found.unimodal["m1"].shape == (64, 4, 4)
    assert found.target.shape == (64, 4)
    assert found.features["m0"].shape == (64, 8)  # (N, D), the mean over positions
    assert {name: p.shape for name, p in found.present.items()} == dict.fromkeys(found.unimodal, (64,))
    seen = []
    forward = method.forward
    monkeypatch.setattr(method, "forward", lambda batch: seen.append(len(batch)) or forward(batch))
    monkeypatch.setattr(evaluation, "OUTPUTS_AT_ONCE", 10 * 4 * 8 * 8)
    parts = evaluate(method, feed)
    assert seen == [10] * 6 + [4]
    np.testing.assert_array_equal(parts.predicted, found.predicted)


def test_images_of_other_sizes_than_the_mask_and_than_each_other_are_segmented():
    rng = np.random.default_rng(0)
    target = np.kron(rng.integers(0, 2, (60, 2, 2)), np.ones((3, 4), int))  # (N, 6, 8), of four blocks
    fine, coarse = (np.kron(target[:, ::3, ::4], np.ones(s))[:, None] for s in ((8, 7), (2, 2)))
    target[:, 0] = -1
    rows = {"train": np.arange(40), "validation": np.arange(40, 50), "test": np.arange(50, 60)}
    inputs, kinds = {"fine": fine, "coarse": coarse}, {"fine": "image", "coarse": "image"}
    data = assemble("own", inputs, target, rows, kinds, cite="", task="segmentation")
    method = build({"name": "joint"}, data, fusion="decoder")
    settings = dataclasses.replace(SETTINGS, epochs=40, lr=0.02, optimizer="adam")
    curve = fit(method, data, settings).curve
    assert curve[-1]["validation/miou"] > 0.8
    assert curve[-1]["validation/miou/coarse"] < 1


def parts(task: str, encoder: str | None, fusion: str, **options):
    data = synthetic(task=task, **options)
    encoders = {m: {"name": encoder} for m in data.spec.modalities} if encoder else {}
    return build_method(data.spec, encoders, {"name": fusion}, {"name": "joint"}, 0)


def test_the_default_encoder_of_segmentation_gives_maps():
    method = parts("segmentation", None, "decoder")
    assert [e.body[0].__class__.__name__ for e in method.net.encoders.values()] == ["Conv2d", "Conv2d"]


ENCODERS = {name: e.facts for name, e in entries("encoder").items() if "image" in e.facts["takes"]}


@pytest.mark.parametrize(
    "encoder", [name for name, facts in ENCODERS.items() if "maps" not in facts["reads"]]
)
def test_segmentation_refuses_encoders_that_give_no_maps(encoder):
    with pytest.raises(UserError) as caught:
        parts("segmentation", encoder, "decoder")
    assert str(caught.value) == (
        f"encoder '{encoder}' of modality 'm0' can be read as {' or '.join(ENCODERS[encoder]['reads'])}, but the fusion"
        " reads maps; encoders that fit: maps, resnet18, resnet34, resnet50"
    )


def test_segmentation_takes_the_maps_of_a_resnet():
    data = synthetic(task="segmentation", dim=32)
    method = build({"name": "joint"}, data, fusion="decoder", encoder={"name": "resnet18", "width": 4})
    batch = next(splits_of(data, method, 0).validation.batches(3))
    assert method(batch).fused.shape == (3, 4, 32, 32)
    assert method.net.dims == {"m0": 32, "m1": 32}


@pytest.mark.parametrize(
    ("task", "encoder", "fusion", "sentence"),
    [
        (
            "segmentation",
            "maps",
            "concat",
            "fusion 'concat' is for classification or multilabel or regression, .* poses segmentation; .*: decoder$",
        ),
        (
            "classification",
            "mlp",
            "decoder",
            "fusion 'decoder' is for segmentation, but dataset 'synthetic' poses classification; .*: concat, film",
        ),
        (
            "regression",
            "maps",
            "concat",
            "encoder 'maps' of modality 'm0' can be read as maps, but the fusion reads pooled; .*: convnet, hf, mlp",
        ),
    ],
)
def test_parts_that_do_not_meet_the_task_are_refused_with_those_that_do(task, encoder, fusion, sentence):
    with pytest.raises(UserError, match=sentence):
        parts(task, encoder, fusion, kind="image")


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (
            {"name": "lfm", "match": "posterior"},
            "match posterior with .* one class per row; admissible: infonce",
        ),
        (
            {"name": "lfm", "negatives": "exclude_same_label"},
            "negatives exclude_same_label needs one class per row; admissible: infonce with all",
        ),
        (
            {"name": "udml", "uncertainty": "energy"},
            "uncertainty energy needs one class per row; admissible: estimated, variance",
        ),
    ],
)
@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_options_that_need_one_class_per_row_are_refused(named, sentence, task):
    build(named, synthetic())
    with pytest.raises(UserError, match=sentence):
        build(named, synthetic(task=task))


def evaluated(**changes) -> Evaluation:
    """Return an evaluation of four rows and two modalities, of which row 3 lacks the second."""
    own = {
        "left": np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]),
        "right": np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6], [0.9, 0.1]]),
    }
    extra = {
        "weight/left": np.array([0.9, 0.6, 0.5, 1.0]),
        "weight/right": np.array([0.1, 0.4, 0.5, 0.0]),
        "uncertainty": np.array([0.1, 0.9, 0.6, 0.7]),
    }
    whole = {
        "predicted": (own["left"] + own["right"]) / 2,
        "unimodal": own,
        "features": {},
        "extra": extra,
        "target": np.array([0, 0, 1, 1]),
        "index": np.arange(4),
        "loss": 0.5,
        "losses": {"left": np.array([0.1, 0.2, 0.4, 0.9]), "right": np.array([1.6, 0.4, 0.5, 9.0])},
        "present": {"right": np.array([True, True, True, False])},
    }
    return Evaluation(**whole | changes)


def test_reliability_by_hand():
    scores = all_scores(posed("classification"), evaluated())
    # right: left 1 1 1 0, right 0 1 1 and absent in the last row, fused 1 1 1 0
    assert (scores["acc_upper"], scores["acc_lower"]) == (0.75, 0.5)
    assert (scores["coverage"], scores["rejected_error"]) == (0.5, 0.0)
    assert (scores["weight/left"], scores["weight/right"]) == (pytest.approx(0.75), pytest.approx(0.25))
    pooled = np.corrcoef([0.9, 0.6, 0.5, 1.0, 0.1, 0.4, 0.5], [1, 1, 1, 0, 0, 1, 1])[0, 1]
    assert scores["correlation"] == pytest.approx(pooled)
    fused = evaluated().predicted
    assert scores["ece"] == pytest.approx(reliability.calibration_error(fused, np.array([0, 0, 1, 1])))
    # the surest rows: 0.75 twice, wrong once; then 0.65 and 0.55, right; so the risks are 1/2, 1/2, 1/3, 1/4
    assert scores["aurc"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert scores["aurc/left"] == pytest.approx((0 + 0 + 0 + 1 / 4) / 4)


def test_what_is_undefined_or_not_said_is_left_out():
    constant = {"weight/left": np.full(4, 0.1), "weight/right": np.full(4, 0.1), "uncertainty": np.ones(4)}
    scores = all_scores(posed("classification"), evaluated(extra=constant))
    assert scores["coverage"] == 0
    assert not {"correlation", "rejected_error"} & set(scores)
    partly = all_scores(posed("classification"), evaluated(extra={"weight/left": np.arange(4.0)}))
    assert partly["weight/left"] == 1.5
    assert not {"correlation", "coverage", "weight/right"} & set(partly)
    alone = evaluated(unimodal={"left": evaluated().unimodal["left"]}, extra={})
    assert not {"acc_upper", "gap"} & set(all_scores(posed("classification"), alone))


def test_epochs_report_no_reliability_and_other_tasks_have_none():
    quick = quick_scores(posed("classification"), evaluated())
    assert set(quick) == {"gap", *(f"{n}{m}" for n in ("loss", "accuracy") for m in ("", "/left", "/right"))}
    assert quick["loss/left"] == pytest.approx(0.4)
    assert quick["loss/right"] == pytest.approx(2.5 / 3)  # without the row that lacks it
    numbers = {m: np.arange(4.0) for m in ("left", "right")}
    found = evaluated(predicted=np.arange(4.0), unimodal=numbers, target=np.arange(4.0))
    scores = all_scores(posed("regression"), found)
    assert scores["weight/left"] == 0.75
    assert {name.partition("/")[0] for name in scores} <= set(OF_TASK["regression"])


@pytest.mark.parametrize(
    ("task", "named", "fusion", "lacks"),
    [
        ("classification", {"name": "eruw", "probability": "softmax"}, None, {"dependency"}),
        ("multilabel", {"name": "udml"}, "concat", set()),
        ("regression", {"name": "udml"}, "concat", set()),
    ],
)
def test_a_method_that_weighs_reports_every_metric_of_its_task(task, named, fusion, lacks):
    data = synthetic(task=task, signal=6.0)
    built = build(named, data, fusion=fusion)
    fit(built, data)
    scores = all_scores(built.task, evaluate(built, splits_of(data, built, 0).validation))
    assert {key.partition("/")[0] for key in scores} == set(OF_TASK[task]) - lacks


def outcome(task: str) -> dict[str, object]:
    data = synthetic(3, task=task, train=47, validation=33, missing=0.2)
    fusion = "decoder" if task == "segmentation" else "concat"
    method = build({"name": "joint"}, data, fusion=fusion, dtype=torch.float64)
    if task == "segmentation":
        data.target[::3, :4] = -1  # as many void pixels as to be felt, in some rows
    fit(method, data, dataclasses.replace(SETTINGS, batch_size=15, clip=0.5))
    found = all_scores(method.task, evaluate(method, splits_of(data, method, 0).validation))
    return {"state": method.state_dict(), "scores": found}


def one_rank(rank: int, port: int, path: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save({task: outcome(task) for task in TASKS}, path / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_equal_one_in_every_task(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_rank, (port, tmp_path), nprocs=2)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        for task in TASKS:
            alone = outcome(task)
            assert found[task]["scores"] == pytest.approx(alone["scores"], rel=1e-5, abs=1e-5), task
            for name, value in alone["state"].items():
                torch.testing.assert_close(found[task]["state"][name], value, rtol=1e-5, atol=1e-5)
