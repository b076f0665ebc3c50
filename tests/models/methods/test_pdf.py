"""Predictive dynamic fusion: published weights, what trains what, calibration in evaluation alone."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.methods.pdf import Pdf, belief, calibration
from tests.models.toys import ROWS, THREE, TWO, batch_of, context, gradients, method_of

SURE = torch.tensor([[0.7, 0.2], [0.4, 0.9]], dtype=torch.float64)
HERE = torch.ones(2, 2, dtype=torch.bool)


def wave(*shape, start, scale=1.0):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.7 * steps + start)).reshape(shape)


PROBABILITIES = torch.stack([wave(2, 4, start=s, scale=2).softmax(-1) for s in (0.2, 1.7)])


def close(value, *numbers):
    assert value.flatten().tolist() == pytest.approx(numbers, abs=2e-6)


def uniform(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# published numbers


def test_published_beliefs_and_weights_of_training():
    close(belief(SURE, HERE) - SURE, 0.719808, 0.061442, 0.280192, 0.938558)
    close(belief(SURE, HERE).softmax(0).T, 0.676912, 0.323088, 0.171204, 0.828796)


def test_published_distances_and_weights_of_evaluation():
    close((PROBABILITIES - 1 / 4).abs().mean(-1), 0.086196, 0.210087, 0.194805, 0.226756)
    close(calibration(PROBABILITIES, HERE), 0.086196 / 0.194805, 0.210087 / 0.226756, 1.0, 1.0)
    weights = (belief(SURE, HERE) * calibration(PROBABILITIES, HERE)).softmax(0)
    close(weights.T, 0.487011, 0.512989, 0.168494, 0.831506)


@pytest.mark.parametrize("training", [True, False])
def test_the_method_weighs_as_published_and_calibrates_in_evaluation_alone(training):
    method, batch = method_of(Pdf, dtype=torch.float64), batch_of(rows=2, dtype=torch.float64)
    logits = dict(zip(TWO, PROBABILITIES.log(), strict=True))
    method.heads.forward = lambda features: logits
    method._confidence = lambda features: SURE
    output = method.train(training)(batch)
    red = [0.676912, 0.171204] if training else [0.487011, 0.168494]
    close(output.extra["weight/red"], *red)
    weights = [output.extra[f"weight/{m}"].unsqueeze(-1) for m in TWO]
    assert torch.allclose(output.fused, sum(w * x for w, x in zip(weights, logits.values(), strict=True)))


# the weights


@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_beliefs_have_the_others_share_of_the_logarithms(modalities):
    sure, here = uniform(modalities, 4), torch.ones(modalities, 4, dtype=torch.bool)
    found = belief(sure, here) - sure
    for m in range(modalities):
        others = [n for n in range(modalities) if n != m]
        assert torch.allclose(found[m], sure[others].log().sum(0) / sure.log().sum(0))
    assert torch.allclose(found.sum(0), torch.full((4,), modalities - 1.0, dtype=torch.float64))


def test_calibration_of_three_compares_with_the_mean_of_the_other_two():
    p = torch.tensor([[[0.5, 0.5]], [[0.7, 0.3]], [[1.0, 0.0]]], dtype=torch.float64)
    close(calibration(p, torch.ones(3, 1, dtype=torch.bool)), 0.0, 0.2 / 0.25, 1.0)


@pytest.mark.parametrize("ends", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_confidence_gives_finite_beliefs(ends, dtype):
    found = belief(torch.tensor(ends, dtype=dtype).unsqueeze(-1), HERE[:, :1])
    assert found.isfinite().all()
    assert ((found >= 0) & (found <= 2)).all()


def test_distributions_that_are_all_uniform_are_left_alone():
    assert calibration(torch.full((2, 3, 4), 0.25), torch.ones(2, 3, dtype=torch.bool)).eq(1).all()


def test_absent_modalities_are_left_out_of_beliefs_and_distances():
    here = torch.tensor([[1, 1], [0, 1], [1, 0]]).bool()
    sure, p = uniform(3, 2), uniform(3, 2, 4).softmax(-1)
    for row, present in enumerate(([0, 2], [0, 1])):
        own = slice(row, row + 1)
        assert torch.allclose(belief(sure, here)[present, own], belief(sure[present, own], HERE[:, :1]))
        assert torch.allclose(calibration(p, here)[present, own], calibration(p[present, own], HERE[:, :1]))


@pytest.mark.parametrize("training", [True, False])
def test_a_row_of_one_modality_is_predicted_by_it(training):
    here = torch.arange(ROWS) % 2 == 0
    method, batch = method_of(Pdf).train(training), batch_of(present={"green": here})
    output = method(batch)
    assert output.extra["weight/green"][~here].eq(0).all()
    assert torch.allclose(output.fused[~here], output.unimodal["red"][~here])
    losses = method.loss(output, batch, context())
    rows = cross_entropy(output.unimodal["green"], batch.target, reduction="none")
    assert torch.allclose(losses["unimodal/green"], rows[here].sum() / ROWS)


# the losses


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_confidence_is_trained_towards_the_true_classs_probability(modalities):
    method, batch = method_of(Pdf, modalities), batch_of(modalities)
    (found,) = method.objectives(batch, context())
    output, rows = found.output, torch.arange(ROWS)
    for m in modalities:
        true = output.unimodal[m].softmax(-1)[rows, batch.target]
        predicted = method.confidence[m](output.features[m]).squeeze(-1)
        assert torch.allclose(found.losses[f"confidence/{m}"], (predicted - true).abs().mean())
        assert torch.allclose(found.losses[f"unimodal/{m}"], cross_entropy(output.unimodal[m], batch.target))
    assert torch.allclose(found.losses["fused"], cross_entropy(output.fused, batch.target))


def test_confidence_trains_nothing_but_itself_and_nothing_else_trains_it():
    method, batch = method_of(Pdf), batch_of()
    losses = next(method.objectives(batch, context())).losses
    (losses["confidence/red"] + losses["confidence/green"]).backward()
    moved = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert moved == {"confidence"}
    found, _ = gradients(method_of(Pdf), batch, context())
    alone = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    for name, grad in alone.items():
        assert torch.allclose(found[name], grad, atol=1e-7), name


def test_a_net_of_confidence_is_linear_before_its_sigmoid():
    net = method_of(Pdf, widths=3).confidence["red"]
    assert [tuple(p.shape) for p in net.parameters() if p.dim() == 2] == [(6, 3), (3, 6), (1, 3)]
    x = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0))
    a, b, mid = net[:-1](x[0]), net[:-1](x[1]), net[:-1]((x[0] + x[1]) / 2)
    assert torch.allclose(mid, (a + b) / 2, atol=1e-6)
