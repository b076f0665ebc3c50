"""Fusion where modalities agree: divergence by hand, who is predicted by what, which rows train what, the phases."""

from collections import defaultdict

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.methods.domfn import FUSING, PRETRAINING, Domfn, divergence
from sweeper.models.methods.unimodal_sum import UnimodalSum
from tests.models.cases import build, fit, synthetic
from tests.models.toys import (
    ROWS,
    THREE,
    TWO,
    batch_of,
    context,
    gradients,
    method_of,
    optimizer_of,
    step,
)

NEVER, ALWAYS = 0.0, 1.0


def divided(modalities=TWO, **options):
    """Return a method and a batch, half of whose rows agree."""
    method, batch = method_of(Domfn, modalities, **options), batch_of(modalities)
    logits = torch.stack(list(method(batch).unimodal.values()))
    here = torch.ones(len(modalities), ROWS, dtype=torch.bool)
    method.threshold = divergence(logits, here).amax(0).median().item()
    agree = method(batch).extra["agreement"].bool()
    assert 0 < agree.sum() < ROWS
    return method, batch, agree


# divergence


def test_divergence_is_the_largest_squared_distance_from_the_mean_of_the_modalities():
    p = torch.tensor([[[0.8, 0.2, 0.0]], [[0.2, 0.2, 0.6]], [[0.5, 0.5, 0.0]]], dtype=torch.float64)
    found = divergence(p.clamp_min(1e-300).log(), torch.ones(3, 1, dtype=torch.bool))
    assert found.flatten().tolist() == pytest.approx([0.3**2, 0.4**2, 0.2**2])


@pytest.mark.parametrize("modalities", [2, 3, 5])
def test_divergence_has_its_maximum_where_one_modality_surely_contradicts_the_others(modalities):
    logits, here = torch.zeros(modalities, 1, 2), torch.ones(modalities, 1, dtype=torch.bool)
    logits[:, 0, 0], logits[0] = 100.0, torch.tensor([[0.0, 100.0]])
    assert divergence(logits, here).max().item() == pytest.approx(((modalities - 1) / modalities) ** 2)
    assert divergence(logits[1:], here[1:]).eq(0).all()


def test_divergence_is_among_the_modalities_present():
    logits = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    here = torch.tensor([[1, 0], [0, 1], [1, 0]]).bool()
    found = divergence(logits, here)
    assert torch.allclose(found[[0, 2], 0], divergence(logits[[0, 2]], here[[0, 2], :1].expand(2, 2))[:, 0])
    assert found[1].eq(0).all()
    assert found[~here].eq(0).all()


# prediction


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_rows_that_agree_are_predicted_by_the_fusion_and_others_by_the_surest_modality(modalities):
    method, batch, agree = divided(modalities)
    output = method(batch)
    fused = method.net(batch).fused
    assert torch.equal(output.fused[agree], fused[agree])
    p = torch.stack([x.softmax(-1) for x in output.unimodal.values()])
    for row in (~agree).nonzero().flatten():
        surest = max(range(len(modalities)), key=lambda m: p[m, row].max())
        assert torch.allclose(method.predict(output)[row], p[surest, row])


def test_an_absent_modality_is_never_the_surest():
    here = torch.arange(ROWS) % 2 == 0
    method, batch = method_of(Domfn, THREE, threshold=NEVER), batch_of(THREE, present={"red": here})
    method.heads["red"].bias.data[0] = 50.0
    output = method(batch)
    assert torch.equal(output.fused[here], output.unimodal["red"][here])
    others = torch.stack([output.unimodal[m] for m in ("green", "blue")])
    assert torch.equal(output.fused[~here].softmax(-1).amax(-1), others.softmax(-1).amax(-1).amax(0)[~here])


def test_a_modality_that_is_alone_agrees_with_itself():
    here = torch.arange(ROWS) % 2 == 0
    method, batch = method_of(Domfn, threshold=1e-12), batch_of(present={"green": here})
    assert torch.equal(method(batch).extra["agreement"].bool(), ~here)


# training


def test_the_loss_is_the_published_one_row_by_row():
    method, batch, agree = divided(THREE, eta=0.3)
    (found,) = method.objectives(batch, context())
    output = found.output
    logits = torch.stack(list(output.unimodal.values()))
    own = torch.stack([cross_entropy(x, batch.target, reduction="none") for x in logits])
    apart = divergence(logits, torch.ones(3, ROWS, dtype=torch.bool))
    fused = cross_entropy(method.net(batch).fused, batch.target, reduction="none")
    multi = own.sum(0) + fused
    uni = (0.5 * own.square() - 0.3 * apart).sum(0)
    by_hand = (agree * (uni + multi) + ~agree * own.sum(0)).mean()
    assert torch.allclose(found.total, by_hand, atol=1e-6)


def test_eta_draws_rows_apart_that_agree():
    here, found = torch.ones(2, ROWS, dtype=torch.bool), []
    for eta in (0.0, 1.0):
        method, batch, agree = divided(eta=eta)
        step(method, batch, context(), optimizer_of(method))
        found.append(divergence(torch.stack(list(method(batch).unimodal.values())), here)[:, agree].mean())
    assert found[0] < found[1]


def test_rows_that_disagree_train_no_fusion():
    found, _ = gradients(method_of(Domfn, threshold=NEVER), batch_of(), context())
    assert all(grad.eq(0).all() for name, grad in found.items() if name.startswith("net.fusion"))
    found, _ = gradients(method_of(Domfn, threshold=ALWAYS), batch_of(), context())
    assert any(grad.ne(0).any() for name, grad in found.items() if name.startswith("net.fusion"))


def test_where_no_row_agrees_encoders_and_heads_train_as_in_unimodal_sum():
    ours, other = method_of(Domfn, threshold=NEVER), method_of(UnimodalSum)
    other.net.encoders.load_state_dict(ours.net.encoders.state_dict())
    other.heads.load_state_dict(ours.heads.state_dict())
    mine, theirs = optimizer_of(ours), optimizer_of(other)
    for seed in range(3):
        batch = batch_of(seed=seed)
        step(ours, batch, context(), mine)
        step(other, batch, context(), theirs)
    found = ours.state_dict()
    for name, value in other.state_dict().items():
        if name.startswith(("net.encoders", "heads")):
            assert torch.allclose(found[name], value, atol=1e-6), name


def test_an_absent_modality_adds_no_loss_and_a_single_row_is_trained_on():
    here = torch.arange(ROWS) % 2 == 0
    method, batch = method_of(Domfn), batch_of(present={"green": here})
    (found,) = method.objectives(batch, context())
    rows = cross_entropy(found.output.unimodal["green"], batch.target, reduction="none")
    assert torch.allclose(found.losses["unimodal/green"], rows[here].sum() / ROWS)
    step(method, batch_of(rows=1), context(), optimizer_of(method))
    assert all(p.isfinite().all() for p in method.parameters())


# phases


@pytest.mark.parametrize(("pretrain", "epochs"), [(0.0, [0, 30]), (0.13, [3, 27]), (0.5, [15, 15])])
def test_pre_training_takes_a_share_of_the_epochs(pretrain, epochs):
    assert [phase.epochs for phase in method_of(Domfn, pretrain=pretrain).phases(30)] == epochs


def test_no_row_agrees_in_pre_training():
    method, batch = method_of(Domfn, threshold=ALWAYS), batch_of()
    assert int(method.stage) == FUSING
    assert method(batch).extra["agreement"].eq(1).all()
    method.stage.fill_(PRETRAINING)
    assert method(batch).extra["agreement"].eq(0).all()


def test_pre_training_leaves_the_fusion():
    data = synthetic()
    method = build({"name": "domfn", "pretrain": 0.9, "threshold": ALWAYS}, data)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    first = method.phases(3)[0]
    method.phases = lambda epochs: [first]
    fit(method, data)
    for name, p in method.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("net.fusion"), name


def test_the_share_of_rows_that_agree_is_logged():
    method, batch, agree = divided()
    logged = defaultdict(list)
    list(method.objectives(batch, context(logged=logged)))
    assert logged == {"agreement": [pytest.approx(agree.float().mean().item())]}
