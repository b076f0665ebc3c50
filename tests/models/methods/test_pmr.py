"""PMR: prototypes and what renews them, coefficients by hand, and the two terms that are added."""

import dataclasses
from collections import defaultdict

import pytest
import torch
from torch import tensor
from torch.nn.functional import cross_entropy

from sweeper.models.fusions.gated import Gated
from sweeper.models.methods.pmr import Pmr, leads, stratified
from sweeper.models.tasks.classification import Classification
from tests.models.cases import SETTINGS, build, fit, of_all_lengths, synthetic
from tests.models.toys import (
    CLASSES,
    ROWS,
    THREE,
    TWO,
    Normed,
    batch_of,
    context,
    method_of,
    net_of,
    spec_of,
    taken,
)


def begun(modalities=TWO, batch=None, **options):
    """A method whose prototypes are of all of a batch's rows, and that batch."""
    method, batch = method_of(Pmr, modalities, subset=1.0, **options), batch or batch_of(modalities)
    method.on_epoch_start(context(train=[batch]))
    return method, batch


# coefficients


@pytest.mark.parametrize(
    ("scores", "beta", "gamma"),
    [
        ([0.5, 0.4], [0.0, 0.25], [0.25, 0.0]),
        ([0.4, 0.5], [0.25, 0.0], [0.0, 0.25]),
        ([0.5, 0.5], [0.0, 0.0], [0.0, 0.0]),
        ([0.9, 0.1], [0.0, 1.0], [1.0, 0.0]),  # 8, cut
        ([0.6, 0.5, 0.4], [0.0, 0.2, 0.5], [0.5, 0.25, 0.0]),
        ([0.5, 0.0], [0.0, 1.0], [1.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
        ([0.7], [0.0], [0.0]),
    ],
)
def test_coefficients_by_hand(scores, beta, gamma):
    found = leads(tensor(scores, dtype=torch.float64))
    assert found[0].tolist() == pytest.approx(beta)
    assert found[1].tolist() == pytest.approx(gamma)


def test_coefficients_of_two_are_those_of_their_ratio():
    for rho in (0.3, 0.7, 1.0, 1.4, 5.0):
        beta, gamma = leads(tensor([rho, 1.0], dtype=torch.float64))
        expected = [max(0.0, min(1.0, 1 / rho - 1)), max(0.0, min(1.0, rho - 1))]
        assert beta.tolist() == pytest.approx(expected)
        assert gamma.tolist() == pytest.approx(expected[::-1])


# prototypes


def test_a_prototype_is_the_mean_of_its_classs_features():
    method, batch = begun()
    z = method.net.encode(batch)
    by_hand = [torch.cat([z[m][batch.target == c].mean(0) for m in TWO]) for c in range(CLASSES)]
    assert torch.allclose(method.prototypes, torch.stack(by_hand), atol=1e-6)
    assert method.known.all()


def test_prototypes_are_blended_but_for_the_first():
    method, batch = begun(eps=0.2)
    old = method.prototypes.clone()
    for p in method.net.encoders.parameters():
        p.data.mul_(1.5)
    method.on_epoch_start(context(epoch=1, train=[batch]))
    fresh = Pmr(method.net, method.task, subset=1.0)
    fresh.on_epoch_start(context(epoch=1, train=[batch]))
    assert torch.allclose(method.prototypes, 0.2 * old + 0.8 * fresh.prototypes, atol=1e-6)
    assert not torch.allclose(fresh.prototypes, old)


def test_a_class_without_rows_keeps_its_prototype():
    method, _ = begun()
    old = method.prototypes.clone()
    method.labels = None
    method.on_epoch_start(context(epoch=1, train=[taken(batch_of(seed=2), batch_of(seed=2).target != 1)]))
    kept = (method.prototypes == old).all(1)
    assert kept.tolist() == [False, True, False, False]
    assert method.known.all()


def test_a_class_that_never_had_a_row_is_left_out():
    batch = batch_of()
    method, _ = begun(batch=taken(batch, batch.target != 1))
    assert method.known.all(1).tolist() == [True, False, True, True]
    p = method.similarities(method(batch).pooled).softmax(-1)
    assert not p[..., 1].any()
    losses = method.loss(method(batch), batch, context())
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())
    left = taken(batch, batch.target != 1)
    alone = method.loss(method(left), left, context())
    assert torch.allclose(losses["prototypes"] * ROWS, alone["prototypes"] * len(left), atol=1e-5)


def test_rows_that_lack_a_modality_are_no_part_of_its_prototypes():
    there = torch.arange(ROWS) % 3 > 0
    batch = batch_of(present={"red": there})
    method = method_of(Pmr, subset=1.0)
    whole = dataclasses.replace(context(train=[batch]), rows=lambda index: taken(batch, index))
    method.on_epoch_start(whole)
    rows = there & (batch.target == 2)
    assert 0 < rows.sum() < (batch.target == 2).sum()
    z = method.net.encode(batch)
    assert torch.allclose(method.prototypes[2, :8], z["red"][rows].mean(0), atol=1e-6)
    assert torch.allclose(method.prototypes[2, 8:], z["green"][batch.target == 2].mean(0), atol=1e-6)


def test_prototypes_are_measured_in_evaluation_mode_and_leave_no_trace():
    method, batch = method_of(Pmr, encoder=Normed, subset=1.0), batch_of()
    method.train()
    method.net.encoders["red"].eval()
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    method.on_epoch_start(context(train=[batch]))
    assert all(torch.equal(value, before[name]) for name, value in method.net.state_dict().items())
    assert (method.net.encoders["red"].training, method.net.encoders["green"].training) == (False, True)
    method.eval()
    z = method.net.encode(batch)["green"]
    assert torch.allclose(method.prototypes[0, 8:], z[batch.target == 0].mean(0), atol=1e-6)
    assert not method.prototypes.requires_grad


def test_a_subset_is_a_share_of_every_class_and_another_in_every_epoch():
    target = tensor([0] * 50 + [1] * 20 + [2] + [4] * 3)[
        torch.randperm(74, generator=torch.Generator().manual_seed(0))
    ]
    g = torch.Generator().manual_seed(1)
    found = [stratified(target, 0.1, g) for _ in range(3)]
    for places in found:
        assert target[places].bincount().tolist() == [5, 2, 1, 0, 1]
        assert places.tolist() == sorted(set(places.tolist()))
    assert not torch.equal(found[0], found[1])
    assert stratified(target, 1.0, g).tolist() == list(range(74))
    assert target[stratified(target, 0.0, g)].tolist().count(0) == 1


def test_only_the_subsets_rows_are_asked_for():
    batches = [batch_of(seed=s, first=ROWS * s) for s in range(3)]
    asked, ctx = [], context(train=batches)
    ctx = dataclasses.replace(ctx, rows=lambda index, rows=ctx.rows: asked.append(len(index)) or rows(index))
    method = method_of(Pmr, subset=0.25)
    method.on_epoch_start(ctx)
    sizes = torch.cat([b.target for b in batches]).bincount()
    assert asked == [int((sizes * 0.25).ceil().sum())]


# the loss


def by_hand(method, batch, modality):
    """The distances' logits (B, C) of a modality, and the softmax's probability of the true class."""
    place = list(method.net.dims).index(modality) * 8
    z, c = method.net.encode(batch)[modality], method.prototypes[:, place : place + 8]
    sim = -(z.unsqueeze(1) - c).square().sum(-1).sqrt()
    return sim, sim.softmax(-1)[torch.arange(len(batch)), batch.target]


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_loss_by_hand(modalities):
    method, _ = begun(modalities, batch_of(modalities, told=True), alpha=1.5, mu=0.3)
    batch, logged = batch_of(modalities, seed=2, told=True), defaultdict(list)
    sims, p = zip(*(by_hand(method, batch, m) for m in modalities), strict=True)
    beta, gamma = leads(torch.stack([x.mean() for x in p]))
    assert max(beta) > 0.01
    losses = method.loss(method(batch), batch, context(epoch=4, logged=logged))
    prototypes = 1.5 * sum(b * cross_entropy(s, batch.target) for b, s in zip(beta, sims, strict=True))
    entropies = [torch.distributions.Categorical(logits=s).entropy().mean() for s in sims]
    entropy = -0.3 * sum(g * h for g, h in zip(gamma, entropies, strict=True))
    assert torch.allclose(losses["fused"], cross_entropy(method(batch).fused, batch.target))
    assert torch.allclose(losses["prototypes"], prototypes, atol=1e-5)
    assert torch.allclose(losses["entropy"], entropy, atol=1e-5)
    assert [logged[f"coefficient/{m}"][0] for m in modalities] == pytest.approx(beta.tolist(), abs=1e-5)


def test_coefficients_and_prototypes_are_constants():
    method, batch = begun(alpha=2.0, mu=0.0)
    batch = batch_of(seed=2)
    sim, p = by_hand(method, batch, "red")
    _, other = by_hand(method, batch, "green")
    beta = leads(torch.stack([p.mean(), other.mean()]).detach())[0]
    weak = "red" if beta[0] > 0 else "green"
    sim, _ = by_hand(method, batch, weak)
    loss = method.loss(method(batch), batch, context())["prototypes"]
    own = list(method.net.encoders[weak].parameters())
    expected = torch.autograd.grad(2 * beta.max() * cross_entropy(sim, batch.target), own)
    for found, gradient in zip(torch.autograd.grad(loss, own), expected, strict=True):
        assert torch.allclose(found, gradient, atol=1e-5)


def test_the_entropy_is_rewarded_in_the_first_epochs_alone():
    method, batch = begun(per_epochs=2)
    told = [set(method.loss(method(batch), batch, context(epoch=e))) for e in range(3)]
    assert told == [{"fused", "prototypes", "entropy"}] * 2 + [{"fused", "prototypes"}]


def test_a_row_at_its_prototype_takes_no_gradient_of_nan():
    batch = taken(batch_of(), tensor([0]))
    method, _ = begun(batch=batch)
    batch = taken(batch_of(), tensor([0]))
    distance = method.similarities(method(batch).pooled)[:, 0, batch.target[0]]
    assert distance.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    sum(method.loss(method(batch), batch, context()).values()).backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_a_row_that_lacks_a_modality_adds_nothing_there():
    method, _ = begun(alpha=1.0)
    there = torch.arange(ROWS) >= 6
    batch = batch_of(seed=2, present={"red": there})
    changed = batch_of(seed=2, present={"red": there})
    changed.inputs["red"][~there] = 7.0
    ours, other = (method.loss(method(b), b, context()) for b in (batch, changed))
    assert all(torch.equal(value, other[name]) for name, value in ours.items())
    nowhere = batch_of(seed=2, present={"red": torch.zeros_like(there)})
    losses = method.loss(method(nowhere), nowhere, context())
    assert (losses["prototypes"], losses["entropy"]) == (0, 0)


def test_a_rows_weight_counts():
    method, _ = begun()
    batch = batch_of(seed=2)
    double = dataclasses.replace(batch, weight=torch.full((ROWS,), 2.0))
    ours, twice = (method.loss(method(b), b, context()) for b in (batch, double))
    assert all(torch.allclose(twice[name], 2 * value) for name, value in ours.items())


def test_it_reads_the_features_of_any_fusion():
    spec = spec_of()
    method = Pmr(net_of(spec, fusion=Gated), Classification(spec), subset=1.0)
    method.on_epoch_start(context(train=[batch_of()]))
    assert method.loss(method(batch_of()), batch_of(), context())["prototypes"].isfinite()


@pytest.mark.parametrize("make", [synthetic, of_all_lengths])
def test_coefficients_stay_within_their_bounds_in_training(make):
    data = make(missing=0.2)
    method = build({"name": "pmr", "alpha": 2.0, "subset": 1.0}, data)
    outcome = fit(method, data, dataclasses.replace(SETTINGS, epochs=3))
    assert method.known.all()
    assert all(0 <= v <= 1 for e in outcome.curve for n, v in e.items() if n.startswith("coefficient/"))
    assert any(v > 0.01 for e in outcome.curve for n, v in e.items() if n.startswith("coefficient/"))
