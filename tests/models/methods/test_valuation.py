"""Modality valuation: contributions by hand, how many copies they are worth, and what stands in an epoch."""

import dataclasses
from collections import Counter, defaultdict
from itertools import permutations

import pytest
import torch
from torch import nn

from sweeper.models.methods.valuation import Valuation, copies, drawn, shapley, shortfall, subsets
from sweeper.models.values import Batch
from tests.models.cases import SETTINGS, build, fit, synthetic, weights
from tests.models.toys import ROWS, THREE, TWO, batch_of, context, method_of, taken


class Told(nn.Module):
    """An encoder whose features are its inputs."""

    dim = 2

    def forward(self, x, mask, reads):
        return x


def told(red, green, target, present=None, **options):
    """A method of two classes whose fused logits are the sum of the inputs, and its only batch."""
    method = method_of(Valuation, widths=2, warmup=0, **options)
    for m in TWO:
        method.net.encoders[m] = Told()
    with torch.no_grad():
        method.net.fusion.head.weight.copy_(torch.eye(4)[:, :2].repeat(1, 2))
        method.net.fusion.head.bias.copy_(torch.tensor([0.0, 0.0, -9.0, -9.0]))
    inputs = {"red": torch.tensor(red), "green": torch.tensor(green)}
    return method, Batch(inputs, torch.tensor(target), 10 + torch.arange(len(target)), present or {})


# of class 0: red alone is right, or not; green alone; both together
RED = [[3.0, 0.0], [3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
GREEN = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0], [0.0, 1.0]]
VALUES = {"red": [1.0, 1.5, 0.5, 0.5, 0.0], "green": [1.0, 0.5, 1.5, -0.5, 0.0]}


def test_contributions_by_hand():
    method, batch = told(RED, GREEN, [0] * 5)
    found, present = method.contributions(batch)
    assert found.tolist() == [VALUES["red"], VALUES["green"]]
    assert present.all()


def test_a_modality_that_a_row_lacks_is_worth_nothing_and_the_others_share_the_row():
    lacks = {"green": torch.tensor([False, False, True, True, True])}
    method, batch = told(RED, GREEN, [0] * 5, lacks)
    found, _ = method.contributions(batch)
    assert found[0].tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    assert found[1].tolist() == [0.0, 0.0, 1.5, -0.5, 0.0]


def test_two_modalities_have_the_published_values():
    nothing, a, v, both = torch.randn(4, 5, dtype=torch.double)
    found = shapley(torch.stack([nothing, a, v, both]))
    assert torch.allclose(found[0], (a - nothing + both - v) / 2)
    assert torch.allclose(found[1], (v - nothing + both - a) / 2)


def test_shapley_is_the_mean_of_what_each_adds_over_all_orders():
    values = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    by_hand = torch.zeros(3, 3, dtype=torch.double)
    for order in permutations(range(3)):
        s = 0
        for m in order:
            by_hand[m] += (values[s | 1 << m] - values[s]) / 6
            s |= 1 << m
    found = shapley(values)
    assert torch.allclose(found, by_hand)
    assert torch.allclose(found.sum(0), values[7] - values[0])


def test_subsets_are_numbered_by_their_bits():
    assert subsets(2).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert [int(row @ torch.tensor([1.0, 2.0, 4.0]).double()) for row in subsets(3)] == list(range(8))


def test_a_contribution_is_worth_copies():
    value = torch.tensor([-1.0, -0.5, 0.0, 0.39, 0.41, 0.5, 1 - 1e-9, 1.0, 1.5], dtype=torch.double)
    assert copies(value).tolist() == [3, 3, 2, 2, 1, 1, 0, 0, 0]


def test_every_row_is_repeated_with_what_contributed_too_little():
    method, batch = told(RED, GREEN, [0] * 5)
    logged = defaultdict(list)
    rows = batch.index[[3, 1, 4, 0, 2]]
    found = method.epoch_rows(rows, context(train=[batch], logged=logged))
    alone = [
        Counter(found.index[found.present[m] & ~found.present[other]].tolist())
        for m, other in (TWO, TWO[::-1])
    ]
    assert alone == [{12: 1, 13: 1, 14: 2}, {11: 1, 13: 3, 14: 2}]
    whole = found.present["red"] & found.present["green"]
    assert found.index[whole].tolist() == rows.tolist()
    assert whole.sum() + 4 + 6 == len(found.index)
    assert logged["contribution/red"] == pytest.approx([3.5 / 5])
    assert logged["contribution/green"] == pytest.approx([2.5 / 5])
    assert (logged["copies/red"], logged["copies/green"]) == ([4 / 5], [6 / 5])


def test_a_row_with_one_modality_has_no_copies():
    method, batch = told(RED, GREEN, [1] * 5, {"green": torch.zeros(5, dtype=torch.bool)})
    found = method.epoch_rows(batch.index, context(train=[batch]))
    assert torch.equal(found.index, batch.index)


def test_the_worse_modality_gets_copies_by_its_gap():
    method, batch = told(RED, GREEN, [0] * 5, level="modality", alpha=9.0)
    found = method.epoch_rows(batch.index, context(train=[batch]))
    alone = found.index[~found.present["red"]]
    assert len(alone) == 6  # 2/3 · 9 · (3.5 - 2.5) / 5 · 5
    assert found.present["green"].all()
    assert sorted(Counter(alone.tolist()).values()) == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("means", "alpha", "by_hand"),
    [
        ([0.9, 0.3], 1.0, [0, 40]),
        ([0.3, 0.9], 0.5, [20, 0]),
        ([0.5, 0.5], 2.0, [0, 0]),
        ([0.2, 0.5, 0.8], 1.0, [40, 20, 0]),
    ],
)
def test_copies_of_modalities_by_hand(means, alpha, by_hand):
    assert shortfall(torch.tensor(means, dtype=torch.double), alpha, 100) == by_hand


def test_rows_are_drawn_again_only_when_all_have_been():
    pool, g = torch.tensor([3, 5, 8]), torch.Generator().manual_seed(0)
    assert all(len(set(drawn(pool, 3, g).tolist())) == 3 for _ in range(10))
    assert set(Counter(drawn(pool, 7, g).tolist()).values()) == {2, 3}
    assert drawn(pool, 0, g).tolist() == []
    assert drawn(pool[:0], 4, g).tolist() == []


def test_copies_lie_between_the_rows():
    batch = batch_of(rows=200)
    method = method_of(Valuation, warmup=0)
    found = method.epoch_rows(batch.index, context(train=[batch]))
    whole = (found.present["red"] & found.present["green"]).double()
    half = len(whole) // 2
    assert 0.1 < whole.mean() < 0.9
    assert abs(whole[:half].mean() - whole[half:].mean()) < 0.15


def test_rows_are_as_they_are_until_the_warm_up_is_over():
    method, batch = method_of(Valuation, warmup=3), batch_of()
    for epoch in range(5):
        ctx = context(epoch=epoch, train=[batch])
        longer = len(method.epoch_rows(batch.index, ctx).index) > ROWS
        assert longer == (epoch >= 3)


def test_rows_are_valued_in_evaluation_mode_and_without_gradient():
    method, batch = method_of(Valuation, warmup=0), batch_of()
    seen = []
    method.net.encoders["red"].register_forward_hook(
        lambda module, *_: seen.append((module.training, torch.is_grad_enabled()))
    )
    method.train()
    method.epoch_rows(batch.index, context(train=[taken(batch, torch.arange(9)), batch]))
    assert seen == [(False, False)] * 2
    assert method.net.encoders["red"].training


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_contributions_sum_to_what_all_modalities_are_worth(modalities):
    method, batch = method_of(Valuation, modalities), batch_of(modalities)
    found, _ = method.contributions(batch)
    right = method(batch).fused.argmax(-1) == batch.target
    assert torch.allclose(found.sum(0), len(modalities) * right.double())


def test_a_warm_up_as_long_as_training_is_joint_training_to_the_bit():
    data = synthetic()
    joint, whole = (build({"name": n, **o}, data) for n, o in (("joint", {}), ("valuation", {"warmup": 3})))
    for method in (joint, whole):
        fit(method, data)
    assert all(torch.equal(p, weights(whole)[name]) for name, p in weights(joint).items())


def test_an_epoch_is_as_long_as_its_copies_make_it():
    data = synthetic()
    method, steps = build({"name": "valuation", "warmup": 1}, data), []
    step = method.objectives
    method.objectives = lambda batch, ctx: steps.append((ctx.epoch, len(batch))) or step(batch, ctx)
    curve = fit(method, data, dataclasses.replace(SETTINGS, epochs=2)).curve
    rows = [sum(n for epoch, n in steps if epoch == e) for e in (0, 1)]
    extra = sum(curve[1][f"copies/m{i}"] for i in range(2))
    assert rows == [96, round(96 * (1 + extra))]
    assert extra > 0
