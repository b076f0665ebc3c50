"""AGM: Shapley shares, coefficients over time, and the gradient of every share scaled by hand."""

import copy
import math
from collections import defaultdict
from itertools import permutations

import pytest
import torch
from torch import tensor
from torch.nn.functional import cross_entropy

from sweeper.models.encoders.convnet import Convnet
from sweeper.models.fusions.concat import Concat
from sweeper.models.fusions.gated import Gated
from sweeper.models.method import Method
from sweeper.models.methods.agm import Agm, chosen, relative, shapley, zeroed
from sweeper.models.tasks.classification import Classification
from sweeper.models.values import Batch, DataSpec, InputSpec, Tokens
from tests.models.cases import SETTINGS, build, fit, of_all_lengths, same
from tests.models.toys import (
    CLASSES,
    ROWS,
    THREE,
    TWO,
    Normed,
    batch_of,
    context,
    gradients,
    method_of,
    net_of,
    optimizer_of,
    spec_of,
    step,
)

# Shapley shares


def test_the_shares_of_two_modalities():
    subsets, weights = shapley(2)
    assert subsets.tolist() == [[True, True], [True, False], [False, True]]
    assert weights.tolist() == [[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5]]


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_shares_are_mean_marginal_gains_over_all_orders(modalities):
    subsets, weights = shapley(modalities)
    assert len(subsets) == 2**modalities - 1
    g = torch.Generator().manual_seed(0)
    value = {
        tuple(s): x
        for s, x in zip(
            subsets.tolist(), torch.rand(len(subsets), generator=g).double().tolist(), strict=True
        )
    }
    empty = value[(False,) * modalities] = 0.37
    gains = [0.0] * modalities
    orders = list(permutations(range(modalities)))
    for order in orders:
        there = [False] * modalities
        for m in order:
            before, there[m] = value[tuple(there)], True
            gains[m] += (value[tuple(there)] - before) / len(orders)
    found = weights.T @ tensor([value[tuple(s)] for s in subsets.tolist()], dtype=torch.float64)
    assert found.tolist() == pytest.approx([gain + empty / modalities for gain in gains])
    assert float(found.sum()) == pytest.approx(value[(True,) * modalities])


@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_equal_coefficients_of_1_change_nothing_to_the_bit(modalities):
    _, weights = shapley(modalities)
    assert not (weights @ (torch.ones(modalities, dtype=torch.float64) - 1)).any()
    assert weights.sum(1).tolist() == pytest.approx([1.0] + [0.0] * (2**modalities - 2))


# coefficients


def test_relative_scores_by_hand():
    assert relative(tensor([0.5, 1.5])).tolist() == pytest.approx([math.exp(1.0), math.exp(-1.0)])
    found = relative(tensor([1.0, 2.0, 6.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([math.exp(1.5 * x) for x in (2.0, 1.0, -3.0)])


def logits_of(p, rows=2):
    """Logits (rows, 4) whose softmax has p for class 0."""
    return tensor([math.log(p), *[math.log((1 - p) / 3)] * 3]).repeat(rows, 1)


def test_coefficients_over_time_by_hand():
    method = method_of(Agm, alpha=0.5)
    batch = batch_of(rows=2)
    batch.target.zero_()
    tau = [0.0, 0.0]
    for number, p in enumerate([(0.8, 0.4), (0.9, 0.3), (0.5, 0.5)], 1):
        s = [-math.log(x) for x in p]
        before = math.exp(tau[1] - tau[0]), math.exp(tau[0] - tau[1])
        now = p[0] / p[1], p[1] / p[0]  # exp(S_other - S_m)
        by_hand = [math.exp(0.5 * min(b - n, 10)) for b, n in zip(before, now, strict=True)]
        found = method._kappa(torch.stack([logits_of(x) for x in p]), batch)
        assert found.tolist() == pytest.approx(by_hand, rel=1e-5)
        tau = [t * (number - 1) / number + x / number for t, x in zip(tau, s, strict=True)]
        assert method.tau.tolist() == pytest.approx(tau, rel=1e-5)
    assert int(method.batches) == 3


def test_a_coefficient_is_capped_and_a_probability_bounded():
    method, batch = method_of(Agm, cap=2.0), batch_of(rows=2)
    batch.target.zero_()
    method.tau.copy_(tensor([0.0, 5.0]))
    found = method._kappa(torch.stack([logits_of(0.5), logits_of(0.5)]), batch)
    assert found.tolist() == pytest.approx([math.exp(2.0), math.exp(math.exp(-5.0) - 1)])
    surest = torch.full((2, 2, 4), -1000.0)
    surest[0, :, 0] = surest[1, :, 1] = 1000.0
    fresh = method_of(Agm)
    fresh._kappa(surest, batch)
    assert fresh.tau.tolist() == pytest.approx([0.0, -math.log(1e-8)], rel=1e-4)


def test_a_score_is_of_the_rows_that_have_the_modality():
    method = method_of(Agm)
    batch = batch_of(rows=4, present={"red": tensor([True, True, False, False])})
    batch.target.zero_()
    method._kappa(torch.stack([torch.cat([logits_of(0.5), logits_of(0.1)]), logits_of(0.3, 4)]), batch)
    assert method.tau.tolist() == pytest.approx([-math.log(0.5), -math.log(0.3)])


# gradients


def scaled(values, kappa):
    return kappa * values + (1 - kappa) * values.detach()


def with_zeros(method, batch, kept):
    inputs = {m: x if m in kept else torch.zeros_like(x) for m, x in batch.inputs.items()}
    return method.net(type(batch)(inputs, batch.target, batch.index, batch.present)).fused


@pytest.mark.parametrize("fusion", [None, Gated])
def test_gradients_of_two_modalities_are_the_published_ones(fusion):
    spec = spec_of()
    method = Agm(net_of(spec, **({"fusion": fusion} if fusion else {})), Classification(spec), clip=None)
    batch, logged = batch_of(told=True), defaultdict(list)
    method.tau.copy_(tensor([0.3, 1.2]))
    method.batches.fill_(7)
    plain = copy.deepcopy(method)
    found, _ = gradients(method, batch, context(logged=logged))
    both, red, green = (with_zeros(plain, batch, kept) for kept in (TWO, ("red",), ("green",)))
    o = 0.5 * (both - green + red), 0.5 * (both - red + green)
    assert torch.allclose(o[0] + o[1], both, atol=1e-6)
    s = [float(cross_entropy(x, batch.target).detach()) for x in o]
    kappa = [
        math.exp(math.exp(0.9) - math.exp(s[1] - s[0])),
        math.exp(math.exp(-0.9) - math.exp(s[0] - s[1])),
    ]
    assert [logged[f"coefficient/{m}"][0] for m in TWO] == pytest.approx(kappa, rel=1e-4)
    assert abs(kappa[0] - kappa[1]) > 0.1
    loss = cross_entropy(sum(scaled(x, k) for x, k in zip(o, kappa, strict=True)), batch.target)
    names = dict(plain.named_parameters())
    for (name, _), by_hand in zip(
        names.items(), torch.autograd.grad(loss, list(names.values())), strict=True
    ):
        assert torch.allclose(found[name], by_hand, atol=1e-5), name


def test_gradients_of_three_modalities():
    method = method_of(Agm, THREE, clip=None)
    batch = batch_of(THREE, told=True)
    method.tau.copy_(tensor([0.1, 0.9, 0.4]))
    plain, logged = copy.deepcopy(method), defaultdict(list)
    found, _ = gradients(method, batch, context(logged=logged))
    kappa = [logged[f"coefficient/{m}"][0] for m in THREE]
    v = {
        kept: with_zeros(plain, batch, [m for m, k in zip(THREE, kept, strict=True) if k])
        for kept in map(tuple, plain.subsets.tolist())
    }
    zero = with_zeros(plain, batch, [])
    o = []
    for m in range(3):
        total = zero / 3
        for order in permutations(range(3)):
            before = order[: order.index(m)]
            without = tuple(j in before for j in range(3))
            total = total + (v[tuple(j in before or j == m for j in range(3))] - v.get(without, zero)) / 6
        o.append(total)
    loss = cross_entropy(sum(scaled(x, k) for x, k in zip(o, kappa, strict=True)), batch.target)
    names = dict(plain.named_parameters())
    for (name, _), by_hand in zip(
        names.items(), torch.autograd.grad(loss, list(names.values())), strict=True
    ):
        assert torch.allclose(found[name], by_hand, atol=1e-5), name


def test_the_loss_is_that_of_joint_training():
    batch = batch_of()
    (ours,), (joint,) = (method_of(c).objectives(batch, context()) for c in (Agm, Method))
    assert torch.equal(ours.total, joint.total)


def test_running_statistics_are_updated_once():
    ours, joint = (method_of(c, encoder=Normed) for c in (Agm, Method))
    batch = batch_of()
    for method in (ours, joint):
        step(method.train(), batch, context(), optimizer_of(method))
    for name, value in joint.named_buffers():
        assert torch.equal(ours.state_dict()[name], value), name
    assert int(ours.net.encoders["red"].body[1].num_batches_tracked) == 1
    assert all(module.training for module in ours.modules())


def test_inputs_are_zeroed_not_features():
    batch = batch_of(present={"red": torch.arange(ROWS) > 5})
    stacked = zeroed(batch, shapley(2)[0][1:], list(TWO))
    assert len(stacked) == len(stacked.target) == 2 * ROWS
    assert torch.equal(stacked.inputs["red"][:ROWS], batch.inputs["red"])
    assert not stacked.inputs["red"][ROWS:].any()
    assert not stacked.inputs["green"][:ROWS].any()
    assert torch.equal(stacked.inputs["green"][ROWS:], batch.inputs["green"])
    assert torch.equal(stacked.present["red"], batch.present["red"].repeat(2))


class Exchanging(Concat):
    """Adds to each modality's maps the mean of all."""

    reads = "stages"

    def exchange(self, stage, maps, mask):
        mean = sum(maps.values()) / len(maps)
        return {m: z + mean for m, z in maps.items()}


@pytest.mark.parametrize("fusion", [Concat, Gated, Exchanging])
def test_logits_without_modalities_are_those_of_zeroed_inputs(fusion):
    spec = DataSpec("toy", {m: InputSpec("image", (1, 8, 8)) for m in THREE}, CLASSES, {"train": 6}, "none")
    net = net_of(spec, encoder=Convnet, fusion=fusion, width=4, layers=2)
    method = Agm(net, Classification(spec)).eval()
    g = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(6, 1, 8, 8, generator=g) for m in THREE}
    batch = Batch(inputs, torch.zeros(6).long(), torch.arange(6), {"green": torch.arange(6) > 2})
    found = method._others(batch)
    assert len(found) == 6
    for kept, logits in zip(method.subsets[1:].tolist(), found, strict=True):
        by_hand = with_zeros(method, batch, [m for m, k in zip(THREE, kept, strict=True) if k])
        assert torch.allclose(logits, by_hand, atol=1e-5)


def test_tokens_are_chosen_with_their_masks():
    z = Tokens(torch.arange(4.0).view(4, 1, 1), tensor([[True], [False], [False], [True]]))
    found = chosen(z, [False, True], 2)
    assert found.values.flatten().tolist() == [2.0, 3.0, 0.0, 1.0]
    assert found.mask.flatten().tolist() == [False, True, True, False]


# clipping


def test_gradients_are_clipped_when_the_fusions_are_large():
    def stepped(factor, **options):
        method = method_of(Agm, **options)
        (objective,) = method.objectives(batch_of(), context())
        (factor * objective.total).backward()
        raw = {name: p.grad.clone() for name, p in method.named_parameters()}
        method.modulate(objective, context())
        return raw, {name: p.grad for name, p in method.named_parameters()}

    raw, found = stepped(1.0)
    assert raw["net.fusion.head.weight"].abs().max() < 1
    assert same(raw, found)
    raw, found = stepped(100.0)
    assert raw["net.fusion.head.weight"].abs().max() > 1
    norm = torch.cat([g.flatten() for g in raw.values()]).norm()
    assert all(torch.allclose(found[name], g / norm, rtol=1e-4) for name, g in raw.items())
    raw, found = stepped(100.0, clip=None)
    assert same(raw, found)


def test_zero_alpha_still_counts_and_does_nothing():
    ours, joint = (method_of(c, **o) for c, o in ((Agm, {"alpha": 0.0, "clip": None}), (Method, {})))
    for i in range(3):
        for method in (ours, joint):
            optimizer = optimizer_of(method)
            step(method, batch_of(seed=i), context(step=i), optimizer)
    assert same(ours.net.state_dict(), joint.net.state_dict())
    assert ours.tau.all()


def test_rows_of_all_lengths_are_stacked():
    data = of_all_lengths(missing=0.2)
    method = build({"name": "agm"}, data)
    outcome = fit(method, data, SETTINGS)
    assert all(math.isfinite(v) for entry in outcome.curve for v in entry.values())
    assert int(method.batches) == 3 * outcome.best_epoch  # the weights kept come with their scores
