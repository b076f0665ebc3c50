"""Unimodal teachers: how they are trained and chosen, and what the student learns from them."""

import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.data.augment.base import Augmentation, Augmenter
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.methods.umt import STUDENT, TEACHERS, Umt
from sweeper.models.schema.entries import entry
from sweeper.models.tasks.regression import Regression
from sweeper.models.training.splits import splits_of
from sweeper.models.values import Batch
from tests.models.cases import SETTINGS, build, fit, same, synthetic, weights
from tests.models.toys import (
    ROWS,
    THREE,
    TWO,
    Normed,
    assert_trained_alone,
    batch_of,
    context,
    gradients,
    method_of,
)

DATA = synthetic(train=48, validation=32, test=8)


def student(modalities=TWO, **options):
    """A method in its last phase, whose teachers are not like its encoders any more."""
    method = method_of(Umt, modalities, **options)
    with torch.no_grad():
        for p in method.teachers.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return method


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_loss_by_hand(modalities):
    method, batch = student(modalities, weight=3.0), batch_of(modalities)
    (objective,) = method.objectives(batch, context())
    output = method.net(batch)
    assert torch.equal(objective.losses["fused"], cross_entropy(output.fused, batch.target))
    by_hand = 0.0
    for m in modalities:
        taught = method.teachers.encoders[m](batch.inputs[m], None, "pooled")
        by_hand += (output.features[m] - taught).square().sum() / taught.numel()
    assert by_hand > 0
    assert torch.allclose(objective.losses["teachers"], 3.0 * by_hand)


def test_directions_are_compared_where_features_are_of_length_one():
    method, batch = student(norm="l2", weight=1.0), batch_of()
    found = method.loss(method(batch), batch, context())["teachers"]
    features, taught = method.net.encode(batch), method.teachers.encode(batch)
    cosines = [torch.cosine_similarity(features[m], taught[m]) for m in TWO]
    width = next(iter(method.net.dims.values()))
    by_hand = sum((2 - 2 * cosine).mean() / width for cosine in cosines)
    assert torch.allclose(found, by_hand, atol=1e-6)


def test_the_teacher_is_told_nothing():
    found, _ = gradients(student(), batch_of(), context())
    assert {name.split(".")[0] for name in found} == {"net"}
    joint, _ = gradients(method_of(Method), batch_of(), context())
    heads = [name for name in found if "fusion" in name]
    assert heads
    assert same({n: found[n] for n in heads}, {n: joint[n] for n in heads})
    assert not torch.equal(*(g["net.encoders.red.body.1.weight"] for g in (found, joint)))


def test_a_row_that_lacks_a_modality_learns_nothing_about_it():
    there = torch.arange(ROWS) % 3 > 0
    full = batch_of()
    lacking = Batch(full.inputs, full.target, full.index, dict.fromkeys(TWO, there))
    method = student(weight=1.0)
    features, taught = method.net.encode(full), method.teachers.encode(full)
    by_hand = sum((features[m] - taught[m])[there].square().mean(-1).sum() / ROWS for m in TWO)
    assert torch.allclose(method.loss(method(lacking), lacking, context())["teachers"], by_hand)


def test_rows_count_what_they_weigh():
    method, batch = student(weight=1.0), batch_of()
    weight = torch.linspace(0, 2, ROWS)
    weighed = dataclasses.replace(batch, weight=weight)
    far = sum((method.net.encode(batch)[m] - method.teachers.encode(batch)[m]).square().mean(-1) for m in TWO)
    found = method.loss(method(weighed), weighed, context())
    assert torch.allclose(found["teachers"], (far * weight).mean())
    rows = cross_entropy(method(batch).fused, batch.target, reduction="none")
    assert torch.allclose(found["fused"], (rows * weight).mean())


@pytest.mark.parametrize(
    ("share", "epochs", "by_hand"),
    [(0.5, 30, [15, 15]), (0.5, 3, [1, 2]), (0.25, 2, [1, 1]), (0.9, 1, [1, 1])],
)
def test_teachers_take_their_share_of_the_epochs(share, epochs, by_hand):
    phases = method_of(Umt, teachers=share).phases(epochs)
    assert [phase.epochs for phase in phases] == by_hand
    assert [phase.keep for phase in phases] == ["none", "best"]


def test_without_weight_there_are_no_teachers_to_train():
    method = method_of(Umt, weight=0.0)
    method.stage.fill_(0)
    assert [(phase.name, phase.epochs) for phase in method.phases(7)] == [("train", 7)]
    assert list(method.loss(method(batch_of()), batch_of(), context())) == ["fused"]


def test_a_teacher_is_trained_on_its_modality_alone():
    method = method_of(Umt)
    method.stage.fill_(TEACHERS)
    assert_trained_alone(method)


def chosen(method, name, *scores):
    """After epochs of such scores {m: score}, the number of the epoch that each teacher is from."""
    method.stage.fill_(TEACHERS)
    for number, own in enumerate(scores):
        with torch.no_grad():
            for encoder in method.net.encoders.values():
                encoder.body[1].bias.fill_(number)
        method.on_epoch_end(context(epoch=number), {f"{name}/{m}": value for m, value in own.items()})
    return {m: int(encoder.body[1].bias[0]) for m, encoder in method.teachers.encoders.items()}


def test_each_teacher_is_the_first_best_epoch_of_its_own():
    scores = [
        {"red": 0.2, "green": 0.5},
        {"red": 0.6, "green": 0.4},
        {"red": 0.6, "green": 0.7},
        {"red": 0.3, "green": 0.6},
    ]
    assert chosen(method_of(Umt), "accuracy", *scores) == {"red": 1, "green": 2}


def test_an_error_is_best_where_it_is_least():
    scores = [{"red": 2.0, "green": 0.5}, {"red": 1.5, "green": 0.6}]
    assert chosen(method_of(Umt, task=Regression), "mae", *scores) == {"red": 1, "green": 0}


def test_a_modality_that_no_validation_row_has_is_taught_nevertheless():
    assert chosen(method_of(Umt), "accuracy", {"green": 0.5}, {"green": 0.6}) == {"red": 0, "green": 1}


def test_while_teachers_train_their_mean_is_what_is_scored_and_then_the_fusion():
    method, batch = method_of(Umt), batch_of()
    assert torch.equal(method(batch).fused, method.net(batch).fused)
    method.stage.fill_(TEACHERS)
    output = method(batch)
    assert torch.equal(output.fused, torch.stack(list(output.unimodal.values())).mean(0))


def test_the_student_begins_with_the_weights_that_the_teachers_began_with():
    method = build({"name": "umt"}, DATA)
    initial, found = weights(method), {}
    start = method.on_epoch_start
    method.on_epoch_start = lambda ctx: (found.setdefault(ctx.phase.name, weights(method)), start(ctx))
    fit(method, DATA, dataclasses.replace(SETTINGS, epochs=4))
    assert same(found["teachers"], initial)
    assert same(found["train"], initial)
    assert int(method.stage) == STUDENT
    for m, encoder in method.teachers.encoders.items():
        for name, p in encoder.named_parameters():
            assert not torch.equal(p, initial[f"encoders.{m}.{name}"]), (m, name)


class Shift(Augmentation):
    """Adds a row's random number to all of its features."""

    takes = ("vector",)

    def __call__(self, x, u, lengths):
        return x + u


def test_a_teacher_sees_the_augmented_rows_in_evaluation_mode():
    method = build({"name": "umt"}, DATA)
    for own in (method.net, method.teachers):
        for m in own.encoders:
            own.encoders[m] = Normed(DATA.spec.modalities[m], dim=8)
    method.teachers.requires_grad_(False)
    seen, encode = [], method.teachers.encode
    method.teachers.encode = lambda batch: (seen.append((batch, method.teachers.training)), encode(batch))[1]
    fit(
        method,
        DATA,
        dataclasses.replace(SETTINGS, epochs=2),
        augmenter=Augmenter({"m0": [Shift()]}, DATA.spec.rows, 0),
    )
    assert seen
    for batch, training in seen:
        assert not training
        assert not torch.equal(batch.inputs["m0"], torch.as_tensor(DATA.inputs["m0"])[batch.index])
    modules = [m for encoder in method.teachers.encoders.values() for m in encoder.modules()]
    assert not any(module.training for module in modules)


def test_a_heavy_weight_keeps_the_student_near_its_teachers():
    found = []
    for weight in (0.01, 30.0):
        method = build({"name": "umt", "weight": weight}, DATA)
        fit(method, DATA, dataclasses.replace(SETTINGS, epochs=16, lr=0.02, keep="last"))
        batch = next(splits_of(DATA, method, 0).train.batches(48))
        taught, own = method.teachers.encode(batch), method.net.encode(batch)
        found.append(sum((own[m] - taught[m]).square().mean().item() for m in own))
    assert found[1] < 0.2 * found[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": -1.0}, "weight is -1.0; admissible: a number from 0"),
        ({"norm": "l1"}, "norm is 'l1'; admissible: none | l2"),
        ({"teachers": 1.0}, "teachers is 1.0; admissible: a number above 0 and below 1"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        entry("method", "umt").check(options)
