"""OPM: whose features are dropped, how often, at what scale, and which rows then count."""

import dataclasses
import math
from collections import defaultdict

import pytest
import torch
from torch import tensor
from torch.nn.functional import cross_entropy

from sweeper.models.method import Method
from sweeper.models.methods.opm import Opm, drop_rates
from tests.models.cases import SETTINGS, build, fit, same, synthetic
from tests.models.toys import ROWS, THREE, TWO, batch_of, context, method_of, optimizer_of, step

LATE = context(epoch=6)


def leaning(modalities=TWO, widths=8, **options):
    """A method on which red is ahead of all others: its part of the head alone knows anything."""
    method = method_of(Opm, modalities, widths=widths, **{"p_exe": 1.0, **options})
    method.net.fusion.head.weight.data[:, method.net.dims["red"] :] *= 0.0
    optimizer = optimizer_of(method)
    for _ in range(40):
        step(method, batch_of(modalities, told=True), context(epoch=0), optimizer)
    return method


# the rates


@pytest.mark.parametrize(
    ("scores", "by_hand"),
    [
        ([0.6, 0.3], [0.5 * (1 + 0.5 * math.tanh(1.0)), 0.0]),
        ([0.3, 0.6], [0.0, 0.5 * (1 + 0.5 * math.tanh(1.0))]),
        ([0.4, 0.4], [0.0, 0.0]),
        ([0.9, 0.6, 0.3], [0.5 * (1 + 0.5 * math.tanh(1.0)), 0.0, 0.0]),
        ([0.8, 0.7, 0.1], [0.5 * (1 + 0.5 * math.tanh(x)) for x in (1.0, 0.25 / 0.45)] + [0.0]),
    ],
)
def test_drop_rates_by_hand(scores, by_hand):
    found = drop_rates(tensor(scores, dtype=torch.float64), 0.5, 0.5)
    assert found.tolist() == pytest.approx(by_hand, abs=1e-12)


def test_what_stands_for_a_modality_that_no_row_has_leads_nothing():
    """Its score is the mean of the others', but for rounding."""
    for seed in range(50):
        known = torch.rand(4, generator=torch.Generator().manual_seed(seed))
        scores = torch.cat([known, known.sum().view(1) / 4])
        assert drop_rates(scores, 0.5, 0.5)[-1] == 0


def test_a_drop_rate_is_a_probability():
    assert drop_rates(tensor([0.9, 0.0]), 0.6, 1.0).tolist() == [1.0, 0.0]  # 0.6 (1 + tanh ∞), cut
    assert drop_rates(tensor([0.9, 0.1]), 0.0, 1.0).tolist() == [0.0, 0.0]


# a batch


def test_the_dominant_modality_is_dropped_and_no_other_loses_rows():
    method, batch, logged = leaning(), batch_of(told=True), defaultdict(list)
    ctx = context(epoch=6, logged=logged)
    unimodal = method(batch).unimodal
    scores = torch.stack([x.softmax(-1)[torch.arange(ROWS), batch.target].mean() for x in unimodal.values()])
    q = drop_rates(scores.detach(), 0.5, 0.5)
    assert q[0] > 0.5
    (objective,) = method.objectives(batch, ctx)
    assert [logged[f"drop/{m}"] for m in TWO] == [pytest.approx([float(x)]) for x in q]
    drawn = torch.rand(ROWS, generator=ctx.generator("drop", "red"))
    kept, scale = (drawn >= q[0]).float().unsqueeze(1), 1 / (1 - q[0] / 2)
    assert 0 < kept.sum() < ROWS
    z = method.net.encode(batch)
    fused = method.net.fuse({"red": kept * z["red"] * scale, "green": z["green"] * scale})
    assert torch.allclose(objective.output.fused, fused, atol=1e-5)
    assert torch.allclose(objective.total, cross_entropy(fused, batch.target), atol=1e-5)


def test_the_scale_weighs_modalities_by_their_widths():
    method, batch = leaning(THREE, [8, 4, 12]), batch_of(THREE, told=True)
    logged = defaultdict(list)
    (objective,) = method.objectives(batch, context(epoch=6, logged=logged))
    q = [logged[f"drop/{m}"][0] for m in THREE]
    assert q[0] > 0.5
    assert q[1:] == [0.0, 0.0]
    kept = (torch.rand(ROWS, generator=LATE.generator("drop", "red")) >= q[0]).float().unsqueeze(1)
    z = {m: z / (1 - 8 * q[0] / 24) for m, z in method.net.encode(batch).items()}
    assert torch.allclose(objective.output.fused, method.net.fuse({**z, "red": kept * z["red"]}), atol=1e-5)


def test_rows_that_are_left_with_nothing_do_not_count():
    only_red = torch.arange(ROWS) < 10
    method, batch = leaning(), batch_of(told=True, present={"green": ~only_red})
    logged = defaultdict(list)
    (objective,) = method.objectives(batch, context(epoch=6, logged=logged))
    lost = torch.rand(ROWS, generator=LATE.generator("drop", "red")) < logged["drop/red"][0]
    counted = ~(lost & only_red)
    assert 0 < (lost & only_red).sum() < 10
    by_hand = cross_entropy(objective.output.fused[counted], batch.target[counted])
    assert torch.allclose(objective.total, by_hand)


def test_a_batch_that_is_left_with_nothing_makes_no_step():
    nowhere = torch.zeros(ROWS, dtype=torch.bool)
    method = leaning(q_base=1.0)
    batch = batch_of(told=True, present={"green": nowhere})
    batch.present["red"] = nowhere
    assert list(method.objectives(batch, LATE)) == []
    before = {name: p.clone() for name, p in method.state_dict().items()}
    step(method, batch, LATE, optimizer_of(method))
    assert same(before, method.state_dict())


def test_a_modality_that_no_row_has_is_neither_ahead_nor_behind():
    method, logged = leaning(), defaultdict(list)
    batch = batch_of(told=True, present={"green": torch.zeros(ROWS, dtype=torch.bool)})
    (objective,) = method.objectives(batch, context(epoch=6, logged=logged))
    assert [logged[f"drop/{m}"] for m in TWO] == [[0.0], [0.0]]
    assert torch.allclose(objective.total, cross_entropy(method(batch).fused, batch.target))


def test_one_row_is_a_batch():
    method = leaning()
    for i in range(20):
        for objective in method.objectives(batch_of(rows=1, seed=i, told=True), context(epoch=6, step=i)):
            assert objective.total.isfinite()


def test_a_rows_weight_counts():
    method, batch = leaning(), batch_of(told=True)
    (objective,) = method.objectives(batch, LATE)
    weight = torch.rand(ROWS, generator=torch.Generator().manual_seed(0))
    (weighed,) = method.objectives(dataclasses.replace(batch, weight=weight), LATE)
    losses = cross_entropy(objective.output.fused, batch.target, reduction="none")
    assert torch.allclose(weighed.total, (weight * losses).mean())


# when


def test_a_batch_is_modulated_with_probability_p_exe_after_the_warm_up():
    method, batch = leaning(p_exe=0.7, warmup=3), batch_of(told=True)

    def modulated(epoch, step):
        logged = defaultdict(list)
        list(method.objectives(batch, context(epoch=epoch, step=step, logged=logged)))
        return bool(logged)

    assert not any(modulated(2, i) for i in range(50))
    share = sum(modulated(3, i) for i in range(300)) / 300
    assert share == pytest.approx(0.7, abs=4 * math.sqrt(0.7 * 0.3 / 300))


def test_the_warm_up_is_joint_training():
    data, settings = synthetic(), dataclasses.replace(SETTINGS, epochs=2)
    method, joint = (build({"name": n}, data) for n in ("opm", "joint"))
    fit(method, data, settings)
    fit(joint, data, settings)
    assert same(dict(method.named_parameters()), dict(joint.named_parameters()))


def test_prediction_drops_nothing():
    method, plain = method_of(Opm), method_of(Method)
    assert torch.equal(method(batch_of()).fused, plain(batch_of()).fused)
