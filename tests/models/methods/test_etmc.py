"""Enhanced trusted classification: the fused logits are one opinion more, and nothing else differs from tmc."""

import pytest
import torch

from sweeper.models.maths.evidence import concentrations, dempster, evidential
from sweeper.models.methods.tmc import Etmc, Tmc
from sweeper.models.schema.entries import entries
from tests.models.toys import CLASSES, ROWS, THREE, TWO, batch_of, context, method_of


def objective(method, batch, epoch=4):
    (found,) = method.objectives(batch, context(epoch=epoch))
    return found


@pytest.mark.parametrize("modalities", [("only",), TWO, THREE])
def test_the_fused_logits_are_an_opinion_beside_the_modalities(modalities):
    method, batch = method_of(Etmc, modalities, anneal=10), batch_of(modalities)
    output, features = method(batch), method.net.encode(batch)
    alpha = [concentrations(method.heads[m](z)) for m, z in features.items()]
    pseudo = concentrations(method.net.fusion.head(torch.cat(list(features.values()), -1)))
    assert torch.allclose(output.fused.exp(), dempster(torch.stack([*alpha, pseudo])), atol=1e-5)
    assert torch.allclose(output.extra["uncertainty/pseudo"], CLASSES / pseudo.sum(-1))
    assert list(output.unimodal) == list(modalities)
    losses = objective(method, batch).losses
    assert list(losses) == [*(f"unimodal/{m}" for m in modalities), "pseudo", "fused"]
    assert torch.allclose(losses["pseudo"], evidential(pseudo, batch.target, 0.4).mean(), atol=1e-5)


def test_it_is_tmc_where_the_pseudo_view_has_no_evidence():
    method, plain, batch = method_of(Etmc), method_of(Tmc), batch_of()
    method.net.fusion.head.weight.data.zero_()
    method.net.fusion.head.bias.data.fill_(-800.0)
    shared = plain.state_dict()
    method.load_state_dict(shared, strict=False)
    assert torch.allclose(method(batch).fused, plain(batch).fused, atol=1e-6)
    ours, theirs = objective(method, batch).losses, objective(plain, batch).losses
    for name, loss in theirs.items():
        assert torch.allclose(ours[name], loss, atol=1e-6), name


def test_the_pseudo_view_is_trained_on_rows_that_lack_a_modality():
    here = torch.arange(ROWS) % 2 == 0
    method, batch = method_of(Etmc, anneal=10), batch_of(present={"green": here})
    losses = objective(method, batch).losses
    zeroed = concentrations(method.net.fuse(method.net.encode(batch)))
    assert torch.allclose(losses["pseudo"], evidential(zeroed, batch.target, 0.4).mean(), atol=1e-5)


def test_it_has_the_hyper_parameters_of_tmc():
    assert entries("method")["etmc"].defaults() == entries("method")["tmc"].defaults() == {"anneal": 50}
