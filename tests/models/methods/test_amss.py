"""AMSS: what a modality tells, the share of filters it gets, and which filters a step moves."""

import math
from collections import defaultdict
from itertools import pairwise

import pytest
import torch

from sweeper.models.errors import UserError
from sweeper.models.methods.amss import Amss, filters, number
from sweeper.models.values import Batch, Objective, Output
from tests.models.cases import same
from tests.models.toys import (
    CLASSES,
    ROWS,
    THREE,
    TWO,
    WIDTH,
    batch_of,
    context,
    gradients,
    method_of,
    optimizer_of,
    step,
)


def drawn(squares, kept, draws=4000, **options):
    """What filters are multiplied with in many draws, (draws, n)."""
    g = torch.Generator().manual_seed(0)
    return torch.stack([filters(squares, kept, g, **options) for _ in range(draws)])


def shares(method, batch, **more):
    logged = defaultdict(list)
    found, raw = gradients(method, batch, context(logged=logged, **more))
    return {m: logged[f"share/{m}"][0] for m in method.net.encoders}, found, raw


def names(method, modality):
    own = method.net.encoders[modality].named_parameters()
    return [f"net.encoders.{modality}.{name}" for name, p in own if p.dim() >= 2]


def objective_of(logits, features, target, present=None):
    """An objective whose read-out gives these logits, whatever it reads."""
    inputs = {m: torch.zeros(len(target), 1) for m in logits}
    batch = Batch(inputs, torch.tensor(target), torch.arange(len(target)), present or {})
    return Objective(torch.zeros(()), Output(features, torch.zeros(()), lambda _: logits), batch)


# how much is told


def test_information_by_hand():
    """Four classes alike often; red is undecided, green gives the class 4/7; features of two equal numbers of eight."""
    method, target = method_of(Amss), [0, 1, 2, 3]
    sure = torch.eye(4) * math.log(4.0)
    features = {"red": torch.zeros(4, WIDTH), "green": torch.tensor([[50.0, 50.0] + [0.0] * 6] * 4)}
    found = method.informed(objective_of({"red": torch.zeros(4, 4), "green": sure}, features, target))
    red, green = 0.5 / math.log(8), (math.log(4) + 0.5 - math.log(7 / 4)) / math.log(2)
    assert found.tolist() == pytest.approx([red, green], rel=1e-5)


def test_rows_that_lack_a_modality_are_left_out_of_its_means():
    target, there = [0, 1, 2, 3], torch.tensor([True, True, False, False])
    features = {
        m: torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(i)) for i, m in enumerate(TWO)
    }
    logits = {m: z[:, :CLASSES] for m, z in features.items()}
    found = method_of(Amss).informed(objective_of(logits, features, target, {"red": there}))
    changed = {"red": features["red"] * torch.where(there, 1.0, 7.0)[:, None], "green": features["green"]}
    also = {m: z[:, :CLASSES] for m, z in changed.items()}
    assert torch.equal(found, method_of(Amss).informed(objective_of(also, changed, target, {"red": there})))
    surprise = torch.nn.functional.cross_entropy(logits["red"][:2], torch.tensor([0, 1]))
    spread = torch.special.entr(features["red"][:2].softmax(-1)).sum(-1).mean()
    assert float(found[0]) == pytest.approx(float((math.log(4) + 0.5 - surprise) / spread), rel=1e-5)


def test_a_modality_that_nobody_has_leaves_the_filters_to_the_others():
    nowhere = {"red": torch.zeros(ROWS, dtype=torch.bool)}
    found, gradients, _ = shares(method_of(Amss, THREE), batch_of(THREE, present=nowhere))
    assert found["red"] == 0.1
    assert found["green"] + found["blue"] == pytest.approx(1.0)
    assert all(g.isfinite().all() for g in gradients.values())


def test_classes_are_counted_over_all_rows_trained_on():
    method = method_of(Amss)
    for target in ([0, 0, 0, 0], [1, 1, 2, 3]):
        logits = {m: torch.zeros(4, 4) for m in TWO}
        found = method.informed(objective_of(logits, {m: torch.zeros(4, WIDTH) for m in TWO}, target))
    assert method.classes.mean.tolist() == [4 / 8, 2 / 8, 1 / 8, 1 / 8]
    assert float(found[0]) == pytest.approx((1.75 * math.log(2) + 0.5 - math.log(4)) / math.log(8), rel=1e-5)


# the share of filters


def test_the_share_of_one_is_what_the_other_tells():
    """With two modalities: the softmax of r / temperature, swapped."""
    method, batch = method_of(Amss, temperature=0.7), batch_of()
    (objective,) = method.objectives(batch, context())
    red, green = method_of(Amss).informed(objective)
    found, *_ = shares(method, batch)
    by_hand = torch.stack([green, red]).div(0.7).softmax(0)
    assert [found["red"], found["green"]] == pytest.approx(by_hand.tolist())
    assert found["red"] != pytest.approx(0.5, abs=1e-3)


def test_shares_sum_to_one_and_the_one_that_tells_least_has_most():
    method, batch = method_of(Amss, THREE), batch_of(THREE)
    (objective,) = method.objectives(batch, context())
    told = method_of(Amss, THREE).informed(objective)
    found, *_ = shares(method, batch)
    assert sum(found.values()) == pytest.approx(1)
    ordered = [list(found.values())[i] for i in told.argsort().tolist()]
    assert all(a > b for a, b in pairwise(ordered))


def test_shares_stay_within_their_bounds():
    found, *_ = shares(method_of(Amss, temperature=1e-4, least=0.25, most=0.75), batch_of())
    assert sorted(found.values()) == [0.25, 0.75]


def test_a_share_is_rounded_up():
    assert [number(c, 8) for c in (0.0, 0.1, 0.125, 0.13, 0.9, 1.0)] == [0, 1, 1, 2, 8, 8]
    assert number(0.1 + 0.2, 10) == 3


# which filters


def test_as_many_filters_are_kept_as_asked_for():
    squares = torch.rand(6, generator=torch.Generator().manual_seed(0))
    for kept in range(7):
        found = drawn(squares, kept, draws=20)
        assert set(found.flatten().tolist()) <= {0.0, 1.0}
        assert (found.sum(1) == kept).all()


def test_a_single_filter_is_drawn_with_odds_of_its_squared_length():
    squares = torch.tensor([0.0, 1.0, 3.0, 6.0])
    assert drawn(squares, 1).mean(0).tolist() == pytest.approx([0, 0.1, 0.3, 0.6], abs=0.03)


def test_filters_are_drawn_one_after_another_without_replacement():
    p = [0.1, 0.3, 0.6]
    by_hand = [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(3) if j != i) for i in range(3)]
    assert drawn(torch.tensor(p), 2).mean(0).tolist() == pytest.approx(by_hand, abs=0.03)


@pytest.mark.parametrize("kept", [1, 3])
def test_unbiased_weights_are_one_in_expectation_whatever_the_odds(kept):
    found = drawn(torch.tensor([0.0, 0.02, 1.0, 4.0, 0.5]), kept, unbiased=True)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - 1).abs() < 4 * error + 1e-9).all()
    assert ((found > 0).sum(1) == kept).all()
    assert found[found > 0].min() >= 1


def test_what_hardly_had_a_chance_does_not_weigh_without_bound():
    """Its odds are at least 1 / 2n, of all odds 1: at one draw of n = 8 it weighs 16 or so."""
    squares = torch.tensor([1e-12] * 7 + [1.0])
    assert drawn(squares, 1, unbiased=True)[:, :7].mean() == pytest.approx(1, abs=0.2)
    assert drawn(torch.zeros(8), 4, draws=2000, unbiased=True).mean(0).tolist() == pytest.approx(
        [1] * 8, abs=0.15
    )


def test_gradients_of_zero_stay_zero():
    for unbiased in (False, True):
        found = filters(torch.zeros(5), 2, torch.Generator(), unbiased=unbiased)
        assert found.isfinite().all()
        assert (found > 0).sum() == 2


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_a_step_moves_whole_filters_of_encoders_and_leaves_all_else_alone(modalities):
    method, batch = method_of(Amss, modalities), batch_of(modalities)
    found_shares, found, raw = shares(method, batch)
    masked = {name for m in modalities for name in names(method, m)}
    for name in found.keys() - masked:
        assert torch.equal(found[name], raw[name]), name
    for m in modalities:
        for name in names(method, m):
            kept = (found[name] == raw[name]).all(1)
            assert torch.equal(found[name], raw[name] * kept[:, None]), name
            has = raw[name].abs().sum(1) > 0
            assert int((kept & has).sum()) == min(number(found_shares[m], len(has)), int(has.sum()))


def test_amss_plus_divides_by_the_odds_and_masks_the_same_way():
    method, batch = method_of(Amss, unbiased=True), batch_of()
    _, found, raw = shares(method, batch)
    for name in names(method, "red"):
        factor = found[name].norm(dim=1) / raw[name].norm(dim=1).clamp_min(1e-30)
        assert torch.allclose(found[name], raw[name] * factor[:, None], atol=1e-6)
        assert ((factor == 0) | (factor >= 1 - 1e-5)).all()
        assert factor.max() > 1


def test_convolutions_are_masked_by_their_output():
    squares = torch.tensor([0.0, 5.0, 0.0])
    assert filters(squares, 1, torch.Generator()).tolist() == [0, 1, 0]
    method = method_of(Amss, least=0.1, most=0.1)
    conv = torch.nn.Parameter(torch.zeros(3, 2, 1, 1))
    conv.grad = torch.tensor([0.0, 5.0, 0.0]).view(3, 1, 1, 1).expand(3, 2, 1, 1).clone()
    method.net.encoders["red"].register_parameter("conv", conv)
    (objective,) = method_of(Amss).objectives(batch_of(), context())
    method.modulate(objective, context())
    assert conv.grad[:, 0, 0, 0].tolist() == [0, 5, 0]


def test_draws_repeat_with_the_stream_and_differ_between_steps():
    once, again, later = (shares(method_of(Amss), batch_of(), step=i)[1] for i in (3, 3, 4))
    assert same(once, again)
    assert any(not torch.equal(once[name], later[name]) for name in once)


def test_neutral_setting_is_joint_training_to_the_bit():
    for options in ({}, {"unbiased": True}):
        _, found, raw = shares(method_of(Amss, least=1.0, most=1.0, **options), batch_of())
        assert same(found, raw)


def test_frozen_encoders_are_passed_over():
    method = method_of(Amss)
    method.net.encoders["red"].requires_grad_(False)
    _, found, _ = shares(method, batch_of())
    assert not any(name.startswith("net.encoders.red") for name in found)


def test_bounds_out_of_order_are_refused():
    with pytest.raises(UserError, match=r"least 0.6 lies above most 0.5; give least <= most"):
        method_of(Amss, least=0.6, most=0.5)


def test_counts_of_classes_are_part_of_the_state():
    method, fresh = method_of(Amss), method_of(Amss)
    step(method, batch_of(), context(), optimizer_of(method))
    fresh.load_state_dict(method.state_dict())
    assert fresh.classes.mean.sum() == pytest.approx(1)
    assert same(method.state_dict(), fresh.state_dict())


def test_a_single_row_and_bf16_autocast_train():
    for rows, autocast in ((1, None), (ROWS, torch.autocast("cpu", torch.bfloat16))):
        method = method_of(Amss, unbiased=True)
        step(method, batch_of(rows=rows), context(), optimizer_of(method), autocast=autocast)
        assert all(value.isfinite().all() for value in method.state_dict().values())
