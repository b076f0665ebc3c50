"""Quality-aware fusion: published numbers, weights by energy, the history of losses and what it asks of energies."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.methods.qmf import Qmf, normalised, ranked
from sweeper.models.schema.entries import entry
from tests.models.toys import ROWS, THREE, TWO, batch_of, context, method_of, optimizer_of, step, taken

HISTORY = torch.tensor([[0.2, 1.4, 0.9, 0.9, 3.2]], dtype=torch.float64)
OFFICIAL, PAPER = -1, 1


def wave(*shape, start, scale=1.0):
    steps = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (scale * torch.sin(0.7 * steps + start)).reshape(shape)


def energies(method, batch):
    return {m: method.heads[m](z).logsumexp(-1) / 10 for m, z in method.net.encode(batch).items()}


def rank_by_hand(energy, hard, margin):
    """The mean over the ring of rows of the hinge on neighbours, of one modality."""
    energy, hard, total = torch.as_tensor(energy).tolist(), torch.as_tensor(hard).tolist(), 0.0
    for i in range(len(energy)):
        j = (i + 1) % len(energy)
        sign = (hard[i] > hard[j]) - (hard[i] < hard[j])
        total += max(0.0, sign * (energy[i] - energy[j]) + margin * abs(hard[i] - hard[j]))
    return total / len(energy)


# published numbers


@pytest.mark.parametrize(("margin", "number"), [(OFFICIAL, 0.073140), (PAPER, 0.393925)])
def test_published_rank_loss(margin, number):
    energy, hard = wave(4, start=0.3), normalised(HISTORY, slice(None))[0, :4]
    assert energy.tolist() == pytest.approx([0.295520, 0.841471, 0.991665, 0.675463], abs=2e-6)
    difference = hard - hard.roll(-1)
    assert difference.sign().tolist() == [-1, 1, 0, 1]
    assert difference.abs().tolist() == pytest.approx([0.4, 0.166667, 0, 0.233333], abs=2e-6)
    found = ranked(energy - energy.roll(-1), difference, margin).mean().item()
    assert found == pytest.approx(number, abs=2e-6)
    assert found == pytest.approx(rank_by_hand(energy.tolist(), hard.tolist(), margin))


@pytest.mark.parametrize(("margin", "number"), [(OFFICIAL, 0.073140), (PAPER, 0.393925)])
def test_the_method_has_the_published_rank_loss_of_each_modality(margin, number):
    method = method_of(Qmf, rows=5, margin=margin, dtype=torch.float64)
    method.history.copy_(HISTORY.expand(2, -1))
    energy, here = wave(4, start=0.3).expand(2, -1), torch.ones(2, 4, dtype=torch.bool)
    found = method.rank(energy, torch.zeros(2, 4), here, torch.arange(4))
    assert found.item() == pytest.approx(2 * number, abs=4e-6)


def test_published_energy_weighs_the_logits():
    method, batch = method_of(Qmf, dtype=torch.float64), batch_of(rows=2, dtype=torch.float64)
    logits = {"red": wave(2, 4, start=0.2, scale=3), "green": wave(2, 4, start=1.7, scale=3)}
    method.heads.forward = lambda features: logits
    output = method(batch)
    assert output.extra["weight/red"].tolist() == pytest.approx([0.373113, 0.061566], abs=2e-6)
    weights = {m: (x.exp().sum(-1).log() / 10).unsqueeze(-1) for m, x in logits.items()}
    assert torch.allclose(output.fused, sum(weights[m] * x for m, x in logits.items()))


# the forward pass


def test_weights_take_no_gradient_and_may_be_negative():
    method, batch = method_of(Qmf, lam=0.0), batch_of()
    method.heads["green"].bias.data.fill_(-20.0)
    output = method(batch)
    assert (output.extra["weight/green"] < 0).all()
    output.fused.sum().backward()
    total = output.extra["weight/red"].sum()
    assert torch.allclose(method.heads["red"].bias.grad, total.expand(4))


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_every_head_and_the_fused_logits_are_trained(modalities):
    method, batch = method_of(Qmf, modalities, lam=0.5), batch_of(modalities)
    (found,) = method.objectives(batch, context())
    for m, x in found.output.unimodal.items():
        assert torch.allclose(found.losses[f"unimodal/{m}"], cross_entropy(x, batch.target))
    assert torch.allclose(found.losses["fused"], cross_entropy(found.output.fused, batch.target))
    hard = normalised(method.history, slice(None))
    ranks = [rank_by_hand(c, k, PAPER) for c, k in zip(energies(method, batch).values(), hard, strict=True)]
    assert found.losses["rank"].item() == pytest.approx(0.5 * sum(ranks), rel=1e-4)


# the history


def test_the_history_sums_a_rows_losses_over_epochs_and_leaves_the_others():
    method, batch, by_hand = method_of(Qmf, rows=2 * ROWS), batch_of(first=5), torch.zeros(2, 2 * ROWS)
    optimizer = optimizer_of(method)
    for epoch in range(2):
        logits = method(batch).unimodal
        for i, x in enumerate(logits.values()):
            by_hand[i, 5 : 5 + ROWS] += cross_entropy(x, batch.target, reduction="none").detach()
        step(method, batch, context(epoch=epoch), optimizer)
    assert torch.allclose(method.history, by_hand, atol=1e-5)
    assert not method.history.requires_grad


def test_the_history_does_not_depend_on_the_order_in_a_batch():
    ours, other, batch = method_of(Qmf), method_of(Qmf), batch_of()
    for method, rows in ((ours, batch), (other, taken(batch, torch.arange(ROWS).flip(0)))):
        list(method.objectives(rows, context()))
    assert torch.allclose(ours.history, other.history, atol=1e-6)


def test_rows_that_are_no_training_rows_do_not_count_as_the_easiest():
    method = method_of(Qmf, rows=8)
    rows = torch.tensor([1, 2, 3, 4])
    assert torch.equal(method.epoch_rows(rows, context()).index, rows)
    method.history[:, rows] = torch.tensor([2.0, 3.0, 4.0, 6.0])
    here = torch.ones(2, 4, dtype=torch.bool)
    found = method.rank(torch.zeros(2, 4), torch.zeros(2, 4), here, rows)
    assert found.item() == pytest.approx(2 * (0.25 + 0.25 + 0.5 + 1.0) / 4)
    seen_once = torch.tensor([[2.0, 0.0, 4.0, 0.0]])
    assert normalised(seen_once, slice(None)).tolist() == [[0.5, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_histories_ask_for_nothing(value):
    assert normalised(torch.full((2, 5), value), slice(None)).eq(0).all()
    method = method_of(Qmf, rows=4)
    method.history.fill_(value)
    energy = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    here = torch.ones(2, 4, dtype=torch.bool)
    found = method.rank(energy, torch.zeros(2, 4), here, torch.arange(4))
    found.backward()
    assert found.item() == 0
    assert energy.grad.eq(0).all()


def test_the_rank_loss_lowers_the_energy_of_the_harder_row():
    method = method_of(Qmf, rows=2, margin=OFFICIAL)
    method.history.copy_(torch.tensor([[1.0, 5.0], [1.0, 5.0]]))
    energy, here = (
        torch.tensor([[0.0, 2.0], [2.0, 0.0]], requires_grad=True),
        torch.ones(2, 2, dtype=torch.bool),
    )
    method.rank(energy, torch.zeros(2, 2), here, torch.arange(2)).backward()
    assert energy.grad[0, 1] > 0 > energy.grad[0, 0]
    assert energy.grad[1].eq(0).all()


def test_a_single_row_is_its_own_neighbour():
    method, batch = method_of(Qmf), batch_of(rows=1, first=3)
    (found,) = method.objectives(batch, context())
    assert found.losses["rank"].item() == 0
    assert found.total.isfinite()


def test_a_row_that_lacks_a_modality_leaves_its_history_and_stands_in_no_pair():
    here = torch.tensor([True, False, True, True, False, True])
    method, batch = method_of(Qmf, rows=6), batch_of(rows=6, present={"green": here})
    (found,) = method.objectives(batch, context())
    output, rows = found.output, here.nonzero().flatten()
    losses = cross_entropy(output.unimodal["green"], batch.target, reduction="none")
    assert output.extra["weight/green"][~here].eq(0).all()
    assert method.history[1][~here].eq(0).all()
    assert torch.allclose(method.history[1][rows], losses[rows])
    assert torch.allclose(found.losses["unimodal/green"], losses[rows].sum() / 6)
    assert torch.allclose(
        output.fused[~here], method(batch).extra["weight/red"][~here, None] * output.unimodal["red"][~here]
    )
    energy, hard = energies(method, batch), normalised(method.history, slice(None))
    # of a ring of two the mean is that of one pair, whichever way round
    pairs = [rank_by_hand(energy["green"][[i, j]], hard[1][[i, j]], PAPER) for i, j in ((2, 3), (5, 0))]
    by_hand = rank_by_hand(energy["red"], hard[0], PAPER)
    assert found.losses["rank"].item() == pytest.approx(by_hand + sum(pairs) / 6, rel=1e-4)


def test_refuses_a_margin_that_is_no_sign():
    with pytest.raises(UserError, match=r"margin is 0.5; admissible"):
        entry("method", "qmf").check({"margin": 0.5})
