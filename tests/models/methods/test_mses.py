"""Modality-specific early stopping on scripted validation losses: who stops, where it goes back to, who goes on."""

import copy
import dataclasses
from collections import defaultdict
from itertools import pairwise

import pytest
import torch

from sweeper.models.errors import UserError
from sweeper.models.fusions.sum import Sum
from sweeper.models.method import Method
from sweeper.models.methods.mses import Mses
from sweeper.models.schema.entries import entry
from sweeper.models.tasks.classification import Classification
from tests.models.cases import SETTINGS, build, fit, same, synthetic
from tests.models.toys import (
    ONE,
    THREE,
    TWO,
    Normed,
    batch_of,
    context,
    method_of,
    net_of,
    optimizer_of,
    spec_of,
    step,
)

RISING = [2.0, 1.0, 3.0, 4.0, 5.0, 6.0]  # smoothed by 0.6: 2, 1.6, 1.8, 3.4, 4.4, 5.4
FALLING = [2.0, 1.8, 1.6, 1.4, 1.2, 1.0]


def epochs(method, losses, optimizer, steps=2):
    """Train epoch by epoch, each followed by its scripted losses; return what each left, and what was logged."""
    states, logged = [], defaultdict(list)
    batch = batch_of(tuple(method.net.encoders))
    for number, values in enumerate(zip(*losses.values(), strict=True)):
        ctx = context(epoch=number, epochs=len(values), logged=logged)
        method.train()
        method.on_epoch_start(ctx)
        for _ in range(steps):
            step(method, batch, ctx, optimizer)
        trained = copy.deepcopy(method.state_dict())
        method.on_epoch_end(ctx, {f"loss/{m}": v for m, v in zip(losses, values, strict=True)})
        states.append(trained)
    return states, logged


def of(state, modality):
    begins = (f"net.encoders.{modality}.", f"heads.{modality}.")
    return {name: value for name, value in state.items() if name.startswith(begins)}


def test_the_fused_logits_are_the_sum_of_the_heads():
    method, batch = method_of(Mses, THREE), batch_of(THREE)
    output = method(batch)
    by_hand = sum(method.heads[m](z) for m, z in output.features.items())
    assert torch.equal(output.fused, by_hand)
    assert same(output.unimodal, {m: method.heads[m](z) for m, z in output.features.items()})


def test_a_loss_is_smoothed_with_the_one_before_it_not_recursively():
    method = method_of(Mses, smooth=0.6)
    found = []
    for number, loss in enumerate([2.0, 1.0, 0.5]):
        method.on_epoch_end(context(epoch=number), {"loss/red": loss, "loss/green": 1.0})
        found.append(float(method.least[0]))
    assert found == pytest.approx([2.0, 0.6 * 2.0 + 0.4 * 1.0, 0.6 * 1.0 + 0.4 * 0.5])


@pytest.mark.parametrize(("patience", "last"), [(1, 3), (2, 4), (3, 5)])
def test_a_modality_stops_once_its_loss_has_not_been_least_for_more_than_the_patience(patience, last):
    method = method_of(Mses, patience=patience)
    _, logged = epochs(method, {"red": RISING, "green": FALLING}, optimizer_of(method))
    assert logged["active/red"] == [float(epoch <= last) for epoch in range(len(RISING))]
    assert logged["active/green"] == [1.0] * len(RISING)


def test_it_alone_goes_back_to_its_best_epoch_and_stays_there():
    method = method_of(Mses, encoder=Normed, patience=1)
    optimizer = optimizer_of(method)
    states, _ = epochs(method, {"red": RISING, "green": FALLING}, optimizer)
    assert same(of(method.state_dict(), "red"), of(states[1], "red"))  # the statistics of batch norm, too
    assert same(of(states[4], "red"), of(states[1], "red"))  # momentum and decay move nothing
    assert not torch.equal(states[3]["heads.red.weight"], states[1]["heads.red.weight"])
    assert same(of(method.state_dict(), "green"), of(states[5], "green"))
    for before, after in pairwise(states):
        assert not torch.equal(before["heads.green.weight"], after["heads.green.weight"])


def test_a_frozen_encoder_is_in_evaluation_mode_and_takes_no_part_in_clipping():
    method, batch = method_of(Mses, encoder=Normed), batch_of()
    method.active[0] = False
    method.train()
    method.on_epoch_start(context())
    assert [method.net.encoders[m].training for m in TWO] == [False, True]
    (objective,) = method.objectives(batch, context())
    assert objective.train == ("net.encoders.green", "heads.green")


def test_once_all_are_frozen_no_step_is_made():
    method = method_of(Mses, patience=1)
    states, _ = epochs(method, dict.fromkeys(TWO, RISING), optimizer_of(method))
    assert not method.active.any()
    assert not list(method.objectives(batch_of(), context()))
    for m in TWO:
        assert same(of(method.state_dict(), m), of(states[1], m))


def test_a_run_goes_on_after_all_are_frozen():
    data = synthetic(train=24, validation=16, test=8)
    method = build({"name": "mses", "patience": 1}, data, fusion=None)
    curve = fit(method, data, dataclasses.replace(SETTINGS, epochs=12, lr=1.0)).curve
    active = [entry["active/m0"] + entry["active/m1"] for entry in curve]
    assert active[0] == 2
    assert active[-1] == 0
    assert curve[-1]["validation/loss"] == curve[-2]["validation/loss"]
    assert "loss/loss" not in curve[-1]


def test_with_more_patience_than_epochs_it_is_joint_training_with_the_sum_to_the_bit():
    ours = method_of(Mses, patience=6)
    spec = spec_of()
    joint = Method(net_of(spec, fusion=Sum), Classification(spec))
    joint.net.encoders.load_state_dict(ours.net.encoders.state_dict())
    joint.net.fusion.heads.load_state_dict(ours.heads.state_dict())
    epochs(ours, {"red": RISING, "green": FALLING}, optimizer_of(ours))
    optimizer = optimizer_of(joint)
    for _ in range(2 * len(RISING)):
        step(joint, batch_of(), context(), optimizer)
    assert same(ours.net.encoders.state_dict(), joint.net.encoders.state_dict())
    assert same(ours.heads.state_dict(), joint.net.fusion.heads.state_dict())


def test_one_modality_is_stopped_early():
    method = method_of(Mses, ONE, patience=1)
    states, _ = epochs(method, {"red": RISING}, optimizer_of(method))
    assert same(of(method.state_dict(), "red"), of(states[1], "red"))


def test_a_modality_that_no_validation_row_has_goes_on():
    method = method_of(Mses, patience=1)
    for number in range(5):
        method.on_epoch_end(context(epoch=number), {"loss/green": 1.0 + number})
    assert method.active.tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": 0}, "patience is 0; admissible: a whole number from 1"),
        ({"smooth": 1.0}, "smooth is 1.0; admissible: a number from 0 to below 1"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        entry("method", "mses").check(options)
