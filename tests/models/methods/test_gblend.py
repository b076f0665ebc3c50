"""Gradient blending: what probes measure and leave behind, and what becomes of it."""

import copy
import dataclasses
import math
from collections import defaultdict

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.methods.gblend import ALONE, JOINT, TRAIN, Gblend, blend, gains
from sweeper.models.schema.entries import entry
from sweeper.models.values import Batch
from tests.models.cases import SETTINGS, build, fit, resumed, same, synthetic
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
    optimizer_of,
    step,
    taken,
)

# losses on training and held-out rows of three heads, before and after a probe
BEFORE = torch.tensor([[1.4, 1.4, 1.4], [1.5, 1.4, 1.5]], dtype=torch.float64)
AFTER = torch.tensor([[0.4, 1.0, 0.2], [1.0, 1.2, 1.3]], dtype=torch.float64)


def test_generalisation_and_overfitting_by_hand():
    gain, overfitting = gains(BEFORE, AFTER)
    assert gain.tolist() == pytest.approx([0.5, 0.2, 0.2])
    assert overfitting.tolist() == pytest.approx([0.5, 0.2, 1.0])


def test_weights_are_generalisation_over_squared_overfitting():
    by_hand = [0.5 / 0.25, 0.2 / 0.04, 0.2 / 1.0]
    found = blend(*gains(BEFORE, AFTER))
    assert found.tolist() == pytest.approx([w / sum(by_hand) for w in by_hand], rel=1e-4)


@pytest.mark.parametrize(
    ("gain", "overfitting", "by_hand"),
    [
        ([0.5, -0.2, 0.5], [0.5, 0.1, 0.5], [0.5, 0.0, 0.5]),  # what got worse weighs nothing
        ([-0.5, 0.0, -0.1], [0.5, 0.1, 0.0], [1 / 3] * 3),
        ([0.1, 0.1], [0.0, 0.0], [0.5, 0.5]),
        ([0.1, 0.0], [0.0, 0.0], [1.0, 0.0]),
        ([0.3, 0.1], [-0.2, 0.2], [0.75, 0.25]),  # the gap may close, too
    ],
)
def test_weights_where_the_ratio_means_nothing(gain, overfitting, by_hand):
    found = blend(torch.tensor(gain, dtype=torch.float64), torch.tensor(overfitting, dtype=torch.float64))
    assert found.tolist() == pytest.approx(by_hand, abs=1e-3)
    assert found.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "epochs", "by_hand"),
    [
        ({}, 30, [3, 3, 9, 3, 3, 9]),
        ({}, 100, [3, 3, 10, 3, 3, 11, 3, 3, 11, 3, 3, 10, 3, 3, 11, 3, 3, 11]),
        ({}, 12, [3, 3, 6]),
        ({}, 5, [2, 2, 1]),
        ({}, 2, [0, 0, 2]),
        ({"super_epoch": 1, "probe": 1}, 8, [1, 1, 2, 1, 1, 2]),
        ({"mode": "offline"}, 30, [6, 6, 18]),
        ({"mode": "offline"}, 3, [1, 1, 1]),
    ],
)
def test_probes_and_training_take_the_runs_epochs_together(options, epochs, by_hand):
    phases = method_of(Gblend, **options).phases(epochs)
    assert [phase.epochs for phase in phases] == by_hand
    assert sum(by_hand) == epochs
    assert [phase.keep for phase in phases[:-1]] == (["none", "none", "last"] * len(phases))[
        : len(phases) - 1
    ]
    assert phases[-1].keep == "best"


def in_part(part, modalities=TWO, **options):
    method = method_of(Gblend, modalities, **options)
    method.stage.fill_(part)
    return method


def test_each_head_is_weighed_and_all_share_the_encoders():
    method, batch = in_part(TRAIN, THREE), batch_of(THREE)
    method.weights.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    (objective,) = method.objectives(batch, context())
    output = method.net(batch)
    by_hand = {
        f"unimodal/{m}": w * cross_entropy(method.heads[m](output.features[m]), batch.target)
        for m, w in zip(THREE, (0.1, 0.2, 0.3), strict=True)
    }
    by_hand["fused"] = 0.4 * cross_entropy(output.fused, batch.target)
    assert objective.losses.keys() == by_hand.keys()
    for name, loss in objective.losses.items():
        assert torch.allclose(loss, by_hand[name]), name


def test_weight_on_the_fused_loss_alone_is_joint_training_to_the_bit():
    ours, joint = in_part(TRAIN), method_of(Method)
    ours.weights.copy_(torch.tensor([0.0, 0.0, 1.0]))
    for method in (ours, joint):
        optimizer = optimizer_of(method)
        for seed in range(4):
            step(method, batch_of(seed=seed), context(), optimizer)
    assert same(ours.net.state_dict(), joint.net.state_dict())


def test_a_probe_of_a_modality_is_its_training_alone():
    assert_trained_alone(in_part(ALONE))


def test_a_probe_of_the_fusion_leaves_the_heads_alone():
    found, _ = gradients(in_part(JOINT), batch_of(), context())
    joint, _ = gradients(method_of(Method), batch_of(), context())
    assert same(found, joint)


def probed(part, train, held_out, modalities=TWO):
    """Return a method that has been through a probe of two epochs of that part, and its losses before and after."""
    method, measured = in_part(part, modalities), []
    ctx = [context(epoch=e, epochs=2, train=train, held_out=held_out) for e in (0, 1)]
    optimizer = optimizer_of(method)
    for number in (0, 1):
        method.on_epoch_start(ctx[number])
        if number == 0:
            measured.append(losses(method, train, held_out))
        for batch in train:
            step(method, batch, ctx[number], optimizer)
        if number == 1:
            measured.append(losses(method, train, held_out))
        method.on_epoch_end(ctx[number], {})
    return method, measured


@torch.no_grad()
def losses(method, *sets):
    """Mean losses of the heads and the fused logits on all rows of sets of batches."""
    found = []
    for batches in sets:
        rows = [(method.net(b), b.target) for b in batches]
        own = [
            torch.cat([cross_entropy(method.heads[m](o.features[m]), y, reduction="none") for o, y in rows])
            for m in method.net.encoders
        ]
        own.append(torch.cat([cross_entropy(o.fused, y, reduction="none") for o, y in rows]))
        found.append(torch.stack([x.mean() for x in own]))
    return torch.stack(found)


@pytest.mark.parametrize("part", [ALONE, JOINT])
def test_a_probe_measures_the_heads_it_trains_on_rows_of_both_kinds(part):
    train, held_out = [batch_of(seed=1), batch_of(seed=2, rows=7)], [batch_of(seed=3, rows=9)]
    method, (before, after) = probed(part, train, held_out)
    gain, overfitting = gains(before, after)
    own, others = (slice(-1), slice(-1, None)) if part == ALONE else (slice(-1, None), slice(-1))
    assert torch.allclose(method.gain[own], gain[own], atol=1e-5)
    assert torch.allclose(method.overfitting[own], overfitting[own], atol=1e-5)
    assert method.gain[others].tolist() == pytest.approx([1 / 3] * len(method.gain[others]))
    if part == JOINT:
        assert torch.equal(method.weights, blend(method.gain, method.overfitting))


def test_measuring_is_in_evaluation_mode_and_leaves_no_trace():
    method = in_part(ALONE, encoder=Normed).train()
    state = copy.deepcopy(method.net.state_dict())
    rows = [batch_of()]
    method.on_epoch_start(context(train=rows, held_out=rows))
    assert same(state, method.net.state_dict())
    assert method.net.encoders["red"].training
    assert torch.equal(method.before[0], method.before[1])  # nothing drops out


def test_rows_that_lack_a_modality_do_not_count_for_its_head():
    there = torch.arange(ROWS) % 3 > 0
    full = batch_of()
    lacking = Batch(full.inputs, full.target, full.index, {"red": there})
    method = in_part(TRAIN)
    ctx = context(train=[lacking], held_out=[lacking])
    method.stage.fill_(ALONE)
    method.on_epoch_start(ctx)
    own = taken(full, there)
    logits = method.heads["red"](method.net.encode(own)["red"])
    assert method.before[0, 0].item() == pytest.approx(cross_entropy(logits, own.target).item(), abs=1e-6)
    objective = next(method.objectives(lacking, ctx))
    by_hand = cross_entropy(logits, own.target, reduction="sum") / ROWS
    assert objective.total.item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_a_modality_that_no_held_out_row_has_weighs_finitely():
    lacking = dataclasses.replace(batch_of(), present={"red": torch.zeros(ROWS, dtype=torch.bool)})
    method, _ = probed(ALONE, [batch_of()], [lacking])
    assert method.gain[0] == 0
    assert method.gain.isfinite().all()


def test_while_heads_are_probed_their_mean_is_what_is_scored():
    method, batch = in_part(ALONE), batch_of()
    output = method(batch)
    assert torch.equal(output.fused, torch.stack(list(output.unimodal.values())).mean(0))
    method.stage.fill_(TRAIN)
    assert torch.equal(method(batch).fused, method.net(batch).fused)


TWO_CYCLES = dataclasses.replace(SETTINGS, epochs=8, batch_size=16)
OPTIONS = {"name": "gblend", "super_epoch": 2, "probe": 1}
SIZES = {"train": 48, "validation": 32, "test": 8}


def test_weights_change_from_cycle_to_cycle_and_sum_to_one():
    data = synthetic(**SIZES)
    method = build(OPTIONS, data)
    curve = fit(method, data, TWO_CYCLES).curve
    weights = [
        [entry[f"weight/{m}"] for m in ("m0", "m1", "joint")] for entry in curve if "weight/m0" in entry
    ]
    assert [math.isclose(sum(w), 1.0, rel_tol=1e-5) for w in weights] == [True] * 4
    assert weights[0] == weights[1] != weights[2] == weights[3]


@pytest.mark.parametrize("killed", [2, 3, 5, 6, 7])
def test_a_run_of_two_cycles_resumes_as_if_uninterrupted(killed, tmp_path):
    data = synthetic(**SIZES)
    whole = build(OPTIONS, data)
    expected = fit(whole, data, TWO_CYCLES)
    method, outcome = resumed(
        lambda: build(OPTIONS, data), data, tmp_path / "checkpoint.pt", TWO_CYCLES, killed=killed
    )
    assert outcome == expected
    assert same(method.state_dict(), whole.state_dict())


@pytest.mark.parametrize("options", [OPTIONS, {"name": "gblend", "mode": "offline"}])
def test_training_starts_from_where_the_probe_found_the_net(options):
    data = synthetic(**SIZES)
    method = build(options, data)
    initial, seen = copy.deepcopy(method.state_dict()), defaultdict(list)
    start = method.on_epoch_start
    method.on_epoch_start = lambda ctx: (
        seen[ctx.phase.name].append(copy.deepcopy(method.state_dict())),
        start(ctx),
    )
    fit(method, data, dataclasses.replace(SETTINGS, epochs=4))
    for name in ("alone 0", "joint 0", "train 0"):
        found = {k: v for k, v in seen[name][0].items() if k.startswith(("net.", "heads."))}
        assert same(found, {k: initial[k] for k in found}), name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "often"}, "mode is 'often'; admissible: online | offline"),
        ({"probe": 0}, "probe is 0; admissible: a whole number from 1"),
        ({"share": 1.0}, "share is 1.0; admissible: a number above 0 and below 1"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        entry("method", "gblend").check(options)
