"""ReconBoost: its stages, the loss of the modality that is added by hand, and what each phase leaves alone."""

import copy
import dataclasses
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.methods.reconboost import Reconboost, boosting
from sweeper.models.training.optimizers import begins
from sweeper.models.values import Batch
from tests.models.cases import SETTINGS, build, fit, synthetic
from tests.models.toys import (
    CLASSES,
    ONE,
    ROWS,
    THREE,
    TWO,
    Normed,
    batch_of,
    context,
    method_of,
)


def at(stage, modalities=TWO, **options):
    """A method in the phase of that number."""
    method = method_of(Reconboost, modalities, **options)
    method.stage.fill_(stage)
    return method


def logits(method, batch):
    return {m: method.head(z) for m, z in method.net.encode(batch).items()}


@pytest.mark.parametrize(
    ("modalities", "options", "epochs", "by_hand"),
    [
        (TWO, {}, 24, [4, 4] * 3),
        (TWO, {}, 30, [5, 5] * 3),
        (TWO, {}, 8, [2, 2, 2, 2]),
        (THREE, {}, 12, [2, 2, 2, 2, 2, 2]),
        (TWO, {"alone": 1, "together": 3}, 12, [1, 3, 1, 3, 1, 3]),
        (TWO, {"alone": 1, "together": 1}, 3, [1, 1, 0, 1]),
        (THREE, {"alone": 1, "together": 1}, 3, [1, 0, 1, 0, 0, 1]),
        (TWO, {}, 1, [0, 0, 0, 1]),
        (ONE, {}, 8, [4, 4]),
    ],
)
def test_stages_fill_the_runs_epochs_one_for_each_modality_at_least(modalities, options, epochs, by_hand):
    phases = method_of(Reconboost, modalities, **options).phases(epochs)
    assert [phase.epochs for phase in phases] == by_hand
    assert [phase.keep for phase in phases] == ["last"] * (len(phases) - 1) + ["best"]
    assert len({phase.name for phase in phases}) == len(phases)


def test_modalities_take_turns_and_are_added_one_by_one():
    phases = method_of(Reconboost, THREE).phases(32)
    own = [[n.removeprefix("net.encoders.") for n in phase.train] for phase in phases]
    assert own == [
        ["red", "head"],
        ["red", "head", "rho"],
        ["green", "head"],
        ["red", "green", "head", "rho"],
        ["blue", "head"],
        ["red", "green", "blue", "head", "rho"],
        ["red", "head"],
        ["red", "green", "blue", "head", "rho"],
    ]


def test_what_boosts_is_the_published_sum_over_classes_by_hand():
    own, others = torch.tensor([[0.5, -1.0, 0.25]]), torch.tensor([[1.0, 2.0, 0.0]])
    target, w1, w2 = torch.tensor([1]), 5.0, 1.0
    label = torch.eye(3)[target]
    by_hand = -((w1 * label - w2 * others.softmax(-1) * label) * own.log_softmax(-1)).mean(-1)
    assert torch.allclose(boosting(own, others, target, w1, w2), by_hand)
    first = (w1 - w2) * cross_entropy(own, target) / 3
    assert torch.allclose(boosting(own, None, target, w1, w2), first)


def test_rows_that_the_others_get_right_count_less():
    own, target = torch.zeros(2, 4), torch.tensor([0, 0])
    others = torch.tensor([[9.0, 0, 0, 0], [0, 9.0, 0, 0]])
    sure, wrong = boosting(own, others, target, 5.0, 1.0)
    assert (sure / wrong).item() == pytest.approx(4 / 5, rel=1e-3)


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_ensemble_is_the_scaled_sum_of_the_modalities_added(modalities):
    batch = batch_of(modalities)
    for stage in range(2 * len(modalities) + 2):
        method = at(stage, modalities)
        with torch.no_grad():
            method.rho.fill_(0.5)
        found = logits(method, batch)
        added = modalities[: stage // 2 + 1]
        assert torch.allclose(method(batch).fused, 0.5 * sum(found[m] for m in added), atol=1e-6)
        assert list(method(batch).unimodal) == list(modalities)
    assert torch.allclose(
        method_of(Reconboost, modalities)(batch).fused,
        sum(logits(method_of(Reconboost, modalities), batch).values()),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("stage", "own", "others", "before"),
    [
        (0, "red", (), None),
        (2, "green", ("red",), "red"),
        (4, "blue", ("red", "green"), "green"),
        (6, "red", ("green", "blue"), "blue"),
        (8, "green", ("red", "blue"), "red"),
    ],
)
def test_the_loss_of_a_modality_alone_by_hand(stage, own, others, before):
    method, batch = at(stage, THREE, w1=4.0, w2=2.0, agreement=0.3), batch_of(THREE)
    with torch.no_grad():
        method.rho.fill_(0.7)
    losses = method.loss(method(batch), batch, context())
    found = logits(method, batch)
    q = torch.ones(ROWS)
    if others:
        q = (0.7 * sum(found[m] for m in others)).softmax(-1)[torch.arange(ROWS), batch.target]
    rows = cross_entropy(found[own], batch.target, reduction="none")
    assert torch.allclose(losses["boosting"], ((4 - 2 * q) * rows).sum() / (ROWS * CLASSES), atol=1e-6)
    if before is None:
        assert list(losses) == ["boosting"]
    else:
        apart = found[own].softmax(-1) - found[before].softmax(-1)
        assert torch.allclose(losses["agreement"], 0.3 * apart.square().mean(), atol=1e-6)


def test_agreement_has_a_gradient_through_the_modality_alone():
    method, batch = at(2), batch_of()
    method.loss(method(batch), batch, context())["agreement"].backward()
    for m, trains in (("red", False), ("green", True)):
        moved = [p.grad is not None and bool(p.grad.any()) for p in method.net.encoders[m].parameters()]
        assert any(moved) == trains
    assert method.rho.grad is None


def test_together_the_ensembles_loss_trains_all_that_were_added():
    for stage, added in ((1, ("red",)), (3, TWO)):
        method, batch = at(stage), batch_of()
        losses = method.loss(method(batch), batch, context())
        assert list(losses) == ["ensemble"]
        assert torch.equal(losses["ensemble"], cross_entropy(method(batch).fused, batch.target))
        losses["ensemble"].backward()
        moved = {m for m in TWO if any(p.grad is not None for p in method.net.encoders[m].parameters())}
        assert moved == {*added}
        assert method.rho.grad.abs() > 0


def test_one_modality_is_a_perceptron_on_it():
    method, batch = at(0, ONE), batch_of(ONE)
    losses = method.loss(method(batch), batch, context())
    assert torch.allclose(losses["boosting"], 4 / CLASSES * cross_entropy(method(batch).fused, batch.target))
    assert list(losses) == ["boosting"]
    method.stage.fill_(2)
    assert list(method.loss(method(batch), batch, context())) == ["boosting"]


def test_a_row_that_lacks_a_modality_is_neither_its_voter_nor_its_pupil():
    there = torch.arange(ROWS) % 3 > 0
    full = batch_of()
    lacking = Batch(full.inputs, full.target, full.index, {"green": there})
    method = at(2)
    found = logits(method, full)
    fused = method(lacking).fused
    assert torch.allclose(fused[~there], found["red"][~there], atol=1e-6)
    assert torch.allclose(fused[there], (found["red"] + found["green"])[there], atol=1e-6)
    losses = method.loss(method(lacking), lacking, context())
    rows = boosting(found["green"], found["red"], full.target, 5.0, 1.0)
    assert torch.allclose(losses["boosting"], rows[there].sum() / ROWS, atol=1e-6)
    apart = (found["green"].softmax(-1) - found["red"].softmax(-1)).square().mean(-1)
    assert torch.allclose(losses["agreement"], 0.5 * apart[there].sum() / ROWS, atol=1e-6)


def test_each_phase_moves_what_it_says_and_nothing_else():
    data = synthetic(train=24, validation=16, test=8)
    method = build({"name": "reconboost", "alone": 1, "together": 1}, data, fusion=None)
    for m in method.net.encoders:
        method.net.encoders[m] = Normed(data.spec.modalities[m], dim=8)
    states, names, start = [], [], method.on_epoch_start

    def record(ctx):
        states.append(copy.deepcopy(method.state_dict()))
        names.append(ctx.phase)
        start(ctx)

    method.on_epoch_start = record
    fit(method, data, dataclasses.replace(SETTINGS, epochs=4, keep="last"))
    states.append(method.state_dict())
    for phase, (before, after) in zip(names, pairwise(states), strict=True):
        changed = {n for n, value in after.items() if n != "stage" and not torch.equal(value, before[n])}
        assert changed
        assert all(any(begins(n, prefix) for prefix in phase.train) for n in changed), phase.name
        assert {prefix for prefix in phase.train if any(begins(n, prefix) for n in changed)} == {*phase.train}


def test_more_weight_off_than_on_is_refused():
    with pytest.raises(UserError, match=r"w2 is 6.0; admissible: a number from 0 to w1, which is 5.0"):
        build({"name": "reconboost", "w2": 6.0}, synthetic(), fusion=None)
