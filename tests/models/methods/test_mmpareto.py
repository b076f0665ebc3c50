"""MMPareto: the joined direction by hand, its length, and what stays as in uniform training."""

import dataclasses
import math

import pytest
import torch
from torch import tensor

from sweeper.models.methods.mmpareto import Mmpareto, shortest, stretched
from tests.models.cases import SETTINGS, build, close, fit, synthetic
from tests.models.toys import THREE, TWO, batch_of, context, method_of


def joined(g, u, **options):
    """What an encoder's tensors take, whose gradients these are."""
    fused, alone = ([tensor(part, dtype=torch.float64) for part in parts] for parts in (g, u))
    found, cosine = method_of(Mmpareto, **options)._joined(fused, alone)
    return torch.cat(found).tolist(), float(cosine)


# the shortest vector


@pytest.mark.parametrize(
    ("g", "u", "by_hand"),
    [
        ([1.0, 0.0], [-1.0, 1.0], 0.6),  # (2 + 1) / 5
        ([1.0, 0.0], [0.0, 1.0], 0.5),
        ([3.0, 0.0], [0.0, 1.0], 0.1),
        ([1.0, 0.0], [3.0, 1.0], 0.999),  # <g, u> = 3 >= |g|²
        ([3.0, 1.0], [1.0, 0.0], 0.001),
        ([0.0, 0.0], [1.0, 0.0], 0.999),
        ([1.0, 0.0], [0.0, 0.0], 0.001),
    ],
)
def test_the_shortest_vector_by_hand(g, u, by_hand):
    assert float(shortest(tensor(g), tensor(u))) == pytest.approx(by_hand)


def test_the_shortest_vector_in_conflict_is_no_longer_than_any_other_and_descends_both():
    g, u = torch.randn(2, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = u - (1 + (g @ u)) * g / (g @ g)  # <g, u> = -1
    n = (c := shortest(g, u)) * g + (1 - c) * u
    others = [w * g + (1 - w) * u for w in torch.linspace(0, 1, 101)]
    assert all(n.norm() <= other.norm() for other in others)
    assert float(n @ g) == pytest.approx(float(n @ n))
    assert float(n @ u) == pytest.approx(float(n @ n))


# direction and length


def test_without_conflict_the_direction_is_the_sum_times_gamma():
    found, cosine = joined([[1.0, 2.0], [0.0]], [[2.0, -0.5], [3.0]])
    assert found == [1.5 * 3.0, 1.5 * 1.5, 1.5 * 3.0]
    assert cosine == pytest.approx(1 / math.sqrt(5 * 13.25))


def test_in_conflict_the_direction_is_stretched_to_the_length_of_the_sum():
    found, cosine = joined([[1.0], [0.0]], [[-1.0], [1.0]], gamma=2.0)
    # n = 1.2 g + 0.8 u = (0.4, 0.8), |n| = sqrt(0.8), |g + u| = 1
    assert cosine < 0
    assert found == pytest.approx([2 * 0.4 / math.sqrt(0.8), 2 * 0.8 / math.sqrt(0.8)])


def test_lengths_of_each_tensor_by_itself():
    found, _ = joined([[1.0], [0.0]], [[-1.0], [1.0]], gamma=1.0, rescale="tensor")
    # |n| = 0.4 and 0.8, |g + u| = 0 and 1: only the second is shorter than the sum
    assert found == pytest.approx([0.4, 1.0])


def test_a_longer_direction_is_not_shortened():
    assert torch.equal(stretched(tensor([2.0, 0.0]), tensor([0.0, 1.0])), tensor([2.0, 0.0]))
    assert torch.equal(stretched(tensor([2.0, 0.0]), tensor([0.0, 3.0])), tensor([3.0, 0.0]))


@pytest.mark.parametrize("rescale", ["encoder", "tensor"])
def test_gradients_of_zero_give_no_nonsense(rescale):
    def found(g, u):
        return joined([g], [u], gamma=1.0, rescale=rescale)[0]

    assert found([0.0, 0.0], [0.0, 0.0]) == [0.0, 0.0]
    assert found([1.0, 2.0], [-1.0, -2.0]) == [0.0, 0.0]  # opposed: no direction descends both
    assert found([1.0, 2.0], [0.0, 0.0]) == pytest.approx([1.0, 2.0])
    assert found([0.0, 0.0], [1.0, 2.0]) == pytest.approx([1.0, 2.0])


# the method


def gradients_of(method, batch):
    (objective,) = method.objectives(batch, context())
    names = dict(method.named_parameters())
    found = {}
    for loss, value in objective.losses.items():
        own = torch.autograd.grad(value, list(names.values()), retain_graph=True, allow_unused=True)
        found[loss] = {name: g for name, g in zip(names, own, strict=True) if g is not None}
    return found


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_each_encoder_joins_the_fused_loss_with_its_own_and_the_rest_takes_the_sum(modalities):
    method, batch = method_of(Mmpareto, modalities), batch_of(modalities)
    gradients = gradients_of(method, batch)
    assert set(gradients) == {"fused", *(f"unimodal/{m}" for m in modalities)}
    combined = method.combine(gradients, context())
    for m in modalities:
        names = [n for n, _ in method.named_parameters() if n.startswith(f"net.encoders.{m}.")]
        pair = ([gradients[loss][n] for n in names] for loss in ("fused", f"unimodal/{m}"))
        for name, by_hand in zip(names, method._joined(*pair)[0], strict=True):
            assert torch.equal(combined[name], by_hand)
        assert torch.equal(combined[f"heads.{m}.weight"], gradients[f"unimodal/{m}"][f"heads.{m}.weight"])
    assert torch.equal(combined["net.fusion.head.weight"], gradients["fused"]["net.fusion.head.weight"])
    assert set(combined) == {name for name, _ in method.named_parameters()}


def test_an_encoder_that_does_not_train_is_passed_over():
    method = method_of(Mmpareto)
    gradients = gradients_of(method, batch_of())
    left = {
        loss: {n: g for n, g in own.items() if not n.startswith("net.encoders.red")}
        for loss, own in gradients.items()
    }
    combined = method.combine(left, context())
    assert not any(name.startswith("net.encoders.red") for name in combined)
    assert any(name.startswith("net.encoders.green") for name in combined)


def trained(epochs, **named):
    """A step an epoch, from heads that agree with the fusion's, so that their gradients do."""
    data = synthetic(3, signal=4.0)
    method = build(named, data, dtype=torch.float64)
    blocks = method.net.fusion.head.weight.detach().split(list(method.net.dims.values()), 1)
    for head, block in zip(method.heads.values(), blocks, strict=True):
        head.weight.data.copy_(block)
    outcome = fit(method, data, dataclasses.replace(SETTINGS, epochs=epochs, lr=0.01, batch_size=96))
    return dict(method.named_parameters()), outcome.curve


@pytest.mark.parametrize("rescale", ["encoder", "tensor"])
def test_gamma_1_is_uniform_training_where_nothing_conflicts(rescale):
    ours, curve = trained(2, name="mmpareto", gamma=1.0, rescale=rescale)
    cosines = [v for entry in curve for name, v in entry.items() if name.startswith("cosine/")]
    assert len(cosines) == 6
    assert min(cosines) > 0
    uniform, _ = trained(2, name="uniform")
    assert close(ours, uniform)


def test_gamma_is_of_the_encoders_alone():
    ours, _ = trained(1, name="mmpareto", gamma=1.5)
    uniform, _ = trained(1, name="uniform")
    apart = {name for name, p in ours.items() if not torch.allclose(p, uniform[name], rtol=0, atol=1e-9)}
    assert apart == {name for name in ours if name.startswith("net.encoders.")}
