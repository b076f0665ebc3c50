"""Trusted classification: published numbers, the loss by hand, what evidence a prediction has."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from sweeper.models.errors import UserError
from sweeper.models.maths.evidence import evidential
from sweeper.models.methods.tmc import Tmc
from sweeper.models.schema.entries import entry
from tests.models.toys import CLASSES, ROWS, THREE, TWO, batch_of, context, method_of, optimizer_of, step

ONE = ("only",)


def alphas(method, batch):
    """Return every modality's concentrations, as they are defined."""
    return {m: softplus(method.heads[m](z)) + 1 for m, z in method.net.encode(batch).items()}


def objective(method, batch, epoch=0):
    (found,) = method.objectives(batch, context(epoch=epoch))
    return found


def saying(logits):
    """Return a method whose heads say these logits (M, C) of every row, whatever they see."""
    method = method_of(Tmc, tuple(f"m{i}" for i in range(len(logits))), dtype=torch.float64)
    for head, own in zip(method.heads.values(), logits, strict=True):
        head.weight.data.zero_()
        head.bias.data.copy_(torch.as_tensor(own))
    return method


def test_published_loss_of_three_views_and_their_combination():
    steps = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    views = [softplus(3 * torch.sin(0.7 * steps + v)) for v in range(3)]
    method = method_of(Tmc, THREE, anneal=50, dtype=torch.float64)
    method.opinions = lambda features, batch: {m: e + 1 for m, e in zip(THREE, views, strict=True)}
    batch = batch_of(THREE, rows=2, dtype=torch.float64)
    batch.target.copy_(torch.tensor([0, 2]))
    found = objective(method, batch, epoch=5)
    assert found.total.item() == pytest.approx(6.543745, abs=2e-6)
    assert found.output.extra["uncertainty"].tolist() == pytest.approx([0.087480, 0.320029], abs=2e-6)


@pytest.mark.parametrize("modalities", [ONE, TWO, THREE])
def test_the_prediction_is_the_mean_of_the_combined_dirichlet(modalities):
    method, batch = method_of(Tmc, modalities), batch_of(modalities)
    output, own = method(batch), alphas(method, batch)
    product = math.prod(1 + (alpha - 1) / CLASSES for alpha in own.values())
    alpha = CLASSES * (product - 1) + 1
    assert torch.allclose(method.predict(output), alpha / alpha.sum(-1, keepdim=True), atol=1e-6)
    assert torch.allclose(output.extra["uncertainty"], CLASSES / alpha.sum(-1))
    for m in modalities:
        mean = own[m] / own[m].sum(-1, keepdim=True)
        assert torch.allclose(method.task.predict(output.unimodal[m]), mean)
        assert torch.allclose(output.extra[f"uncertainty/{m}"], CLASSES / own[m].sum(-1))
        assert (output.extra["uncertainty"] <= output.extra[f"uncertainty/{m}"]).all()


@pytest.mark.parametrize(("epoch", "penalty"), [(0, 0.0), (3, 0.3), (10, 1.0), (25, 1.0)])
def test_every_opinion_is_trained_with_a_penalty_that_grows_with_the_epoch(epoch, penalty):
    method, batch = method_of(Tmc, anneal=10), batch_of()
    found, own = objective(method, batch, epoch), alphas(method, batch)
    own = {f"unimodal/{m}": alpha for m, alpha in own.items()} | {"fused": method(batch).fused.exp()}
    assert set(found.losses) == set(own)
    for name, alpha in own.items():
        by_hand = evidential(alpha, batch.target, penalty).mean()
        assert torch.allclose(found.losses[name], by_hand, atol=1e-5), name


def test_agreement_makes_surer_than_either_and_conflict_is_no_uncertainty():
    batch = batch_of(("m0", "m1"), rows=1, dtype=torch.float64)
    sure = [5.0, -9.0, -9.0, -9.0]
    agreed = saying([sure, sure])(batch)
    torn = saying([sure, sure[::-1]])(batch)
    assert agreed.extra["uncertainty"] < torn.extra["uncertainty"] < torn.extra["uncertainty/m0"]
    found = torn.fused.softmax(-1)[0].tolist()
    assert found[0] == pytest.approx(found[3])
    assert found[0] > 0.4


@pytest.mark.parametrize("number", [2, 3])
def test_a_modality_without_evidence_changes_no_prediction(number):
    sure = [[2.0, 1.0, -1.0, 0.0], [0.5, 0.0, 3.0, -2.0]][: number - 1]
    batch = batch_of([f"m{i}" for i in range(number)], rows=3, dtype=torch.float64)
    silent, alone = saying([*sure, [-800.0] * CLASSES])(batch), saying(sure)(batch)
    assert torch.allclose(silent.fused, alone.fused)
    assert silent.extra[f"uncertainty/m{number - 1}"].tolist() == [1.0] * 3


def test_an_absent_modality_has_no_say_and_is_not_trained():
    here = torch.arange(ROWS) % 2 == 0
    method, batch = method_of(Tmc, anneal=10), batch_of(present={"green": here})
    output, own = method(batch), alphas(method, batch)
    assert torch.allclose(output.fused[~here].exp(), own["red"][~here], atol=1e-5)
    assert output.extra["uncertainty/green"][~here].eq(1).all()
    found = objective(method, batch, epoch=10)
    rows = evidential(own["green"], batch.target, 1.0)
    assert torch.allclose(found.losses["unimodal/green"], rows[here].sum() / ROWS)


def test_a_class_that_no_row_has_and_a_single_row_are_trained_on():
    method, batch = method_of(Tmc), batch_of(rows=1)
    step(method, batch, context(epoch=10), optimizer_of(method))
    assert all(value.isfinite().all() for value in method.state_dict().values())


def test_evidence_is_computed_in_full_precision_under_autocast():
    method, batch = method_of(Tmc), batch_of()
    with torch.autocast("cpu", torch.bfloat16):
        output, found = method(batch), objective(method, batch, epoch=10)
    assert output.fused.dtype == torch.float32
    assert {loss.dtype for loss in found.losses.values()} == {torch.float32}


def test_refuses_to_anneal_over_no_epoch():
    with pytest.raises(UserError, match=r"anneal is 0; admissible: a whole number from 1"):
        entry("method", "tmc").check({"anneal": 0})
