"""Conditional learning speed: what is measured, when a modality is cared for, and what its gates then are."""

import math
from collections import defaultdict

import pytest
import torch

from sweeper.models.errors import UserError
from sweeper.models.methods.greedy import NOBODY, lags, speed
from sweeper.models.values import Batch
from tests.models.cases import build, synthetic
from tests.models.toys import context, optimizer_of, step


def method_of(modalities=2, **options):
    return build({"name": "greedy", **options}, synthetic(modalities), fusion="mmtm")


def batch_of(modalities=2, seed=0, rows=24):
    g = torch.Generator().manual_seed(seed)
    inputs = {
        m: torch.randn(rows, *spec.shape, generator=g)
        for m, spec in synthetic(modalities).spec.modalities.items()
    }
    return Batch(inputs, torch.randint(4, (rows,), generator=g), torch.arange(rows))


def train(method, steps, epoch=1, modalities=2, logged=None):
    optimizer = optimizer_of(method.train())
    for i in range(steps):
        step(method, batch_of(modalities, seed=i), context(epoch=epoch, step=i, logged=logged), optimizer)


def test_speed_is_the_squared_gradient_over_the_squared_weight():
    layer = torch.nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 0.0]]))
        layer.bias.fill_(4.0)
    layer.weight.grad, layer.bias.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([0.5])
    assert speed(layer).item() == pytest.approx((1 + 4 + 0.25) / (9 + 16))
    layer.bias.grad = None  # a parameter that takes no part
    assert speed(layer).item() == pytest.approx(5 / 9)
    assert speed(torch.nn.Linear(2, 1)).item() == 0


def test_with_two_modalities_the_lag_is_the_published_difference():
    main, bypass = torch.tensor([1.0, 10.0]).double(), torch.tensor([100.0, 10.0]).double()
    found = lags(main, bypass)
    difference = math.log10(100.0 / 1.0) - math.log10(10.0 / 10.0)
    torch.testing.assert_close(found, torch.tensor([difference, -difference]).double())


def test_with_three_it_is_to_the_mean_of_the_others():
    found = lags(torch.ones(3).double(), torch.tensor([1.0, 10.0, 1000.0]).double())
    torch.testing.assert_close(found, torch.tensor([0 - 2.0, 1 - 1.5, 3 - 0.5]).double())


def test_nothing_lags_before_everything_moved():
    assert not lags(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])).any()


@pytest.mark.parametrize("modalities", [2, 3])
def test_a_modality_is_cared_for_in_a_window_and_nothing_is_measured_meanwhile(modalities):
    method, logged = method_of(modalities, eps=0.0, window=3), defaultdict(list)
    train(method, 1, modalities=modalities)
    assert int(method.caring) == lags(method.main, method.bypass).argmax()
    before = method.main.clone()
    train(method, 3, modalities=modalities, logged=logged)
    assert torch.equal(method.main, before)
    assert int(method.caring) == NOBODY
    assert sum(sum(logged[f"caring/m{i}"]) for i in range(modalities)) == 3
    train(method, 1, modalities=modalities)
    assert (method.main > before).all()


def test_nobody_is_cared_for_before_it_starts_or_within_the_tolerance():
    for options, epoch in (({"eps": 0.0, "start": 2}, 1), ({"eps": 1e9}, 5)):
        method = method_of(**options)
        train(method, 4, epoch=epoch)
        assert int(method.caring) == NOBODY
        assert method.main.min() > 0


def test_who_is_cared_for_has_the_mean_of_its_earlier_gates_in_training_alone():
    method, batch = method_of(eps=0.0), batch_of()
    fusion, gates = method.net.fusion, []
    fusion.steer = lambda stage, given: (
        gates.append({m: g.detach().mean(0) for m, g in given.items()}) or given
    )
    method.train()
    with torch.no_grad():
        for seed in range(3):
            method(batch_of(seed=seed))
    fusion.steer = method._steered
    with torch.no_grad():
        for seed in range(3):
            method(batch_of(seed=seed))
            method.steps += 1
    mean = torch.stack([g["m0"] for g in gates]).mean(0)
    torch.testing.assert_close(method.gates_0_m0, mean)
    maps = {"m0": torch.rand(24, 8), "m1": torch.rand(24, 8)}
    plain = method.eval().net.fusion.exchange(0, maps, {})
    method.train().caring.fill_(0)
    cared = fusion.exchange(0, maps, {})
    torch.testing.assert_close(cared["m0"], maps["m0"] * mean)
    torch.testing.assert_close(cared["m1"], plain["m1"])
    method.eval()
    before = method.gates_0_m0.clone()
    torch.testing.assert_close(fusion.exchange(0, maps, {})["m0"], plain["m0"])
    assert torch.equal(method.gates_0_m0, before)
    assert method(batch).fused.shape == (24, 4)


def test_its_encoder_learns_from_its_own_loss_alone_while_it_is_cared_for():
    method = method_of(eps=0.0).train()
    train(method, 1)
    method.caring.fill_(0)
    method.zero_grad()
    batch = batch_of()
    torch.nn.functional.cross_entropy(method(batch).unimodal["m0"], batch.target).backward()
    assert all(p.grad is None or not p.grad.any() for p in method.net.encoders["m1"].parameters())
    assert any(p.grad.any() for p in method.net.encoders["m0"].parameters())


def test_it_needs_gates():
    with pytest.raises(UserError, match=r"method 'greedy' needs a fusion that reads stages.*: mmtm"):
        build({"name": "greedy"}, synthetic(), fusion="concat")
