"""ARL: the coefficients by hand, the scaled gradients, and the unimodal losses."""

import dataclasses
import math
from collections import defaultdict

import pytest
import torch
from torch import tensor
from torch.nn.functional import cross_entropy

from sweeper.models.fusions.gated import Gated
from sweeper.models.methods.arl import Arl, scaled, shares, weights
from sweeper.models.tasks.classification import Classification
from tests.models.toys import ROWS, THREE, TWO, batch_of, context, gradients, method_of, net_of, spec_of

LATE = 6


def softmax(*values):
    return [math.exp(v) / sum(math.exp(x) for x in values) for v in values]


# the weights


@pytest.mark.parametrize(
    ("entropies", "sizes", "by_hand"),
    [
        # h = (0.4, 0.6): u = (0.6, 0.4); d = (0.75, 0.25)
        ([0.4, 0.6], [3.0, 1.0], softmax(8 * 0.6 * 0.25, 8 * 0.4 * 0.75)),
        # h = (0.1, 0.9), of which 0.1 counts as 0.3: u = (0.75, 0.25)
        ([0.2, 1.8], [1.0, 1.0], softmax(8 * 0.75 * 0.5, 8 * 0.25 * 0.5)),
        ([0.5, 0.5], [2.0, 2.0], [0.5, 0.5]),
        # h = (0.25, 0.25, 0.5): u = (0.4, 0.4, 0.2); d = (0.5, 0.3, 0.2)
        ([1.0, 1.0, 2.0], [5.0, 3.0, 2.0], softmax(8 * 0.4 * 0.25, 8 * 0.4 * 0.35, 8 * 0.2 * 0.4)),
        # h = (0.1, 0.45, 0.45), of which 0.1 counts as 0.2: 1/h = (5, 20/9, 20/9)
        (
            [0.2, 0.9, 0.9],
            [1.0, 1.0, 1.0],
            softmax(*[8 / 3 * x / (5 + 40 / 9) for x in (5, 20 / 9, 20 / 9)]),
        ),
    ],
)
def test_weights_by_hand(entropies, sizes, by_hand):
    found = weights(tensor(entropies, dtype=torch.float64), tensor(sizes, dtype=torch.float64), 8.0)
    assert found.tolist() == pytest.approx(by_hand)


def test_who_is_sure_and_who_is_little_used_learns_faster():
    sure = weights(tensor([0.7, 1.3]), tensor([1.0, 1.0]), 8.0)
    unused = weights(tensor([1.0, 1.0]), tensor([1.0, 4.0]), 8.0)
    assert sure[0] > sure[1]
    assert unused[0] > unused[1]


def test_weights_follow_the_order_of_the_modalities_and_are_equal_at_temperature_0():
    entropies, sizes = tensor([0.3, 0.9, 0.5, 0.6]), tensor([2.0, 1.0, 4.0, 3.0])
    order = tensor([2, 0, 3, 1])
    assert torch.allclose(weights(entropies[order], sizes[order], 4.0), weights(entropies, sizes, 4.0)[order])
    assert weights(entropies, sizes, 0.0).tolist() == [0.25] * 4


def test_nothing_known_gives_equal_shares():
    assert shares(tensor([0.0, 0.0])).tolist() == [0.5, 0.5]
    assert weights(tensor([0.0, 0.0]), tensor([0.0, 0.0]), 8.0).tolist() == [0.5, 0.5]


# the gradients


def test_scaling_changes_gradients_and_no_values():
    z = {m: torch.randn(3, 2, requires_grad=True) for m in TWO}
    found = scaled(z, tensor([1.0, 1.75]))
    assert all(torch.equal(found[m], z[m]) for m in TWO)
    sum((x**2).sum() for x in found.values()).backward()
    assert torch.equal(z["red"].grad, 2 * z["red"].detach())
    assert torch.allclose(z["green"].grad, 1.75 * 2 * z["green"].detach())


def unimodal(method, features):
    zeros = {m: torch.zeros_like(z) for m, z in features.items()}
    return [method.net.fuse({**zeros, m: z}) for m, z in features.items()]


def check(method, batch, epoch, gamma, temperature):
    """The gradients are those of the losses, times k in the encoders; k is that of the batch."""
    logged = defaultdict(list)
    features = method.net.encode(batch)
    logits = unimodal(method, features)
    entropies = [torch.distributions.Categorical(logits=x.detach()).entropy().mean() for x in logits]
    sizes = [x.detach().abs().sum(1).mean() for x in logits]
    k = 1 + weights(torch.stack(entropies), torch.stack(sizes), temperature)
    loss = cross_entropy(method.net.fuse(features), batch.target)
    loss = loss + gamma * sum(cross_entropy(x, batch.target) for x in logits)
    names = dict(method.named_parameters())
    by_hand = dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))
    found, _ = gradients(method, batch, context(epoch=epoch, logged=logged))
    for i, m in enumerate(method.net.encoders):
        assert logged[f"coefficient/{m}"] == [pytest.approx(float(k[i]), abs=1e-5)]
    for name, gradient in by_hand.items():
        place = [f"net.encoders.{m}" for m in method.net.encoders]
        factor = next((k[i] for i, prefix in enumerate(place) if name.startswith(prefix)), 1.0)
        assert torch.allclose(found[name], factor * gradient, atol=1e-5), name
    return k


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_gradients_are_those_of_all_losses_times_the_coefficients(modalities):
    method = method_of(Arl, modalities, gamma=3.0, temperature=20.0)
    method.net.fusion.head.weight.data[:, :8] *= 4.0
    k = check(method, batch_of(modalities), LATE, 3.0, 20.0)
    assert k.max() - k.min() > 0.01
    assert float(k.sum()) == pytest.approx(len(modalities) + 1)


def test_a_fusion_that_does_not_split_is_trained_alike():
    spec = spec_of()
    check(Arl(net_of(spec, fusion=Gated), Classification(spec)), batch_of(), LATE, 4.0, 8.0)


def test_in_the_warm_up_weights_are_equal_and_gamma_is_1():
    k = check(method_of(Arl, THREE), batch_of(THREE), LATE - 1, 1.0, 0.0)
    assert k.tolist() == pytest.approx([4 / 3] * 3)


def test_a_row_that_lacks_a_modality_does_not_count_there():
    there = torch.arange(ROWS) >= 8
    method, batch = method_of(Arl, gamma=1.0), batch_of(present={"red": there})
    (objective,) = method.objectives(batch, context(epoch=LATE))
    red, green = unimodal(method, method.net.encode(batch))
    by_hand = cross_entropy(red[there], batch.target[there]) * there.float().mean()
    assert torch.allclose(objective.losses["unimodal"], by_hand + cross_entropy(green, batch.target))
    changed = batch_of(present={"red": there})
    changed.inputs["red"][~there] = 5.0
    for epoch in (0, LATE):
        ours, other = (gradients(method_of(Arl), b, context(epoch=epoch))[0] for b in (batch, changed))
        assert all(torch.equal(gradient, other[name]) for name, gradient in ours.items())


def test_one_row_and_a_modality_that_no_row_has_give_no_nonsense():
    for batch in (batch_of(rows=1), batch_of(present={"red": torch.zeros(ROWS, dtype=torch.bool)})):
        found, _ = gradients(method_of(Arl), batch, context(epoch=LATE))
        assert all(gradient.isfinite().all() for gradient in found.values())
    assert not found["net.encoders.red.body.1.weight"].any()


def test_a_rows_weight_counts():
    batch = batch_of()
    double = dataclasses.replace(batch, weight=torch.full((ROWS,), 2.0))
    (ours,), (twice,) = (method_of(Arl).objectives(b, context(epoch=LATE)) for b in (batch, double))
    assert all(torch.allclose(twice.losses[name], 2 * value) for name, value in ours.losses.items())
