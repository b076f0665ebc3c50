"""UDML: its weights by hand, what each stage and each ablation does, and that estimated noise takes weight away."""

import copy
import dataclasses
from collections import defaultdict
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from sweeper.models.data.feed import Feed
from sweeper.models.errors import UserError
from sweeper.models.maths import gaussian
from sweeper.models.maths.presence import kept_only, times
from sweeper.models.maths.running import RunningMean
from sweeper.models.method import Method
from sweeper.models.methods.udml import CLEAN, NOISY, WARMUP, Udml, dependencies, weights
from sweeper.models.training.build import build_method
from sweeper.models.training.evaluation import all_scores, evaluate
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.values import Batch, InputSpec
from tests.models import toys
from tests.models.cases import build, fit, synthetic
from tests.models.toys import THREE, TWO, context, method_of, taken

WIDTH, ROWS = 6, 12
STAGES = {"clean": CLEAN, "warmup": WARMUP, "noisy": NOISY, "train": NOISY}

toy = partial(method_of, Udml, widths=WIDTH)
batch_of = partial(toys.batch_of, rows=ROWS)


def objective(method, batch, phase="noisy", **options):
    """One step's objective in a phase; the method in training mode."""
    ctx = context(phase, **options)
    method.stage.fill_(STAGES[phase])
    method.train()
    method.on_epoch_start(ctx)
    (found,) = method.objectives(batch, ctx)
    return found


def columns(output, name):
    return torch.stack([v for k, v in output.extra.items() if k.startswith(f"{name}/")], -1)


def every(rows, modalities):
    return torch.ones(rows, modalities, dtype=torch.bool)


# the weights, by hand


def test_weights_golden():
    alpha = torch.tensor([[1.6, 0.4]])
    same, noisy = torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0, 1.0]])
    assert weights(same.log(), alpha.log(), every(1, 2)).tolist()[0] == pytest.approx([0.2, 0.8])
    assert weights(noisy.log(), alpha.log(), every(1, 2))[0, 0].item() == pytest.approx(0.0588, abs=1e-4)


def test_every_pair_of_weights_has_the_printed_ratio():
    g = torch.Generator().manual_seed(0)
    rho, alpha = (torch.rand(5, 3, generator=g, dtype=torch.float64) + 0.1 for _ in range(2))
    w = weights(rho.log(), alpha.log(), every(5, 3))
    for i in range(3):
        for j in range(3):
            ratio = rho[:, j] * alpha[:, j] / (rho[:, i] * alpha[:, i])
            assert torch.allclose(w[:, i] / w[:, j], ratio)
    assert torch.allclose(w.sum(-1), torch.ones(5, dtype=torch.float64))


def test_permuted_modalities_have_permuted_coefficients():
    g, order = torch.Generator().manual_seed(0), [2, 0, 1]
    rho, d = (torch.rand(5, 3, generator=g, dtype=torch.float64) + 0.1 for _ in range(2))
    there = torch.rand(5, 3, generator=g) > 0.3
    there[:, 0] = True
    alpha = dependencies(d, there)
    assert torch.allclose(dependencies(d[:, order], there[:, order]), alpha[:, order])
    turned = weights(rho[:, order].log(), alpha[:, order].log(), there[:, order])
    assert torch.allclose(turned, weights(rho.log(), alpha.log(), there)[:, order])


def test_dependencies_are_shares_of_the_number_of_present_modalities():
    d = torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 4.0], [0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    there = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 0]]).bool()
    found = dependencies(d, there)
    assert found[0, :2].tolist() == pytest.approx([1.5, 0.5])
    assert found[1].tolist() == pytest.approx([9 / 8, 3 / 8, 12 / 8])
    assert found[2].tolist() == [1, 1, 1]
    assert found[3, 0] == 1
    assert (found > 0).all()


def test_an_absent_modality_weighs_nothing():
    there = torch.tensor([[True, False, True]])
    w = weights(torch.zeros(1, 3), torch.zeros(1, 3), there)
    assert w.tolist() == [[0.5, 0.0, 0.5]]


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_for_a_linear_head_the_change_is_the_norm_of_the_modalitys_logits(modalities):
    method, batch = toy(modalities=modalities), batch_of(modalities)
    features = method(batch).features
    blocks = method.net.fusion.head.weight.split(WIDTH, dim=1)
    expected = [(z @ w.T).abs().sum(-1) for z, w in zip(features.values(), blocks, strict=True)]
    assert torch.allclose(method._change(features), torch.stack(expected, -1), atol=1e-6)


def test_left_out_is_zeroed():
    method, batch = toy(modalities=THREE), batch_of(THREE)
    features = method(batch).features
    keep = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    found = kept_only(method.net.fusion, features, keep)
    for logits, row in zip(found, keep, strict=True):
        masked = {m: z * k for (m, z), k in zip(features.items(), row, strict=True)}
        assert torch.allclose(logits, method.net.fusion(masked), atol=1e-6)


def test_a_running_mean_forgets_but_has_no_bias():
    mean = RunningMean(2, momentum=0.5)
    assert mean.mean.tolist() == [0, 0]
    mean.update(torch.tensor([[1.0, 5.0], [3.0, 7.0]]), torch.tensor([[True, False], [True, False]]))
    assert mean.mean.tolist() == [2, 0]
    mean.update(torch.tensor([[8.0, 4.0]]), torch.tensor([[True, True]]))
    assert mean.mean.tolist() == [(0.5 * 4 + 8) / (0.5 * 2 + 1), 4]


# the stages


@pytest.mark.parametrize(
    ("options", "epochs", "expected"),
    [
        ({}, 100, {"clean": 50, "warmup": 10, "noisy": 40}),
        ({"split": 0.25, "warmup": 0.0}, 8, {"clean": 2, "warmup": 0, "noisy": 6}),
        ({}, 3, {"clean": 1, "warmup": 0, "noisy": 2}),
        ({}, 1, {"clean": 0, "warmup": 0, "noisy": 1}),
        ({"progression": False}, 9, {"clean": 0, "warmup": 0, "train": 9}),
    ],
)
def test_stages_are_phases(options, epochs, expected):
    phases = toy(**options).phases(epochs)
    assert {p.name: p.epochs for p in phases} == expected
    assert [p.keep for p in phases] == ["last", "last", "best"]
    assert [p.optimizer for p in phases] == ["fresh", "kept", "kept"]  # one optimiser from begin to end


@pytest.mark.parametrize(("progression", "stages"), [(True, [0, 0, 1, 2]), (False, [2, 2, 2, 2])])
def test_the_stage_is_the_number_of_the_phase(progression, stages):
    data = synthetic()
    named = {"name": "udml", "split": 0.5, "warmup": 0.5, "progression": progression}
    method, seen = build(named, data), []
    fit(method, data, Settings(epochs=4, batch_size=32), on_epoch=lambda _: seen.append(int(method.stage)))
    assert seen == stages
    assert int(method.stage) == NOISY


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_clean_stage_fuses_unweighted_clean_features(modalities):
    method, batch = toy(modalities=modalities), batch_of(modalities)
    found = objective(method, batch, "clean")
    assert found.batch is batch
    assert torch.allclose(columns(found.output, "weight"), torch.tensor(1 / len(modalities)))
    assert torch.allclose(found.output.fused, method.net.fusion(found.output.features), atol=1e-6)
    assert found.losses.keys() == {"task", "unimodal"}
    assert method.changes.rows.tolist() == [ROWS] * len(modalities)


def test_the_warm_up_weighs_by_dependency_and_the_noisy_stage_by_noise_too():
    method, batch = toy(), batch_of()
    for phase in ("warmup", "noisy"):
        found = objective(method, batch, phase)
        alpha, rho = columns(found.output, "dependency"), columns(found.output, "uncertainty")
        assert len(rho.unique()) > ROWS
        used = rho if phase == "noisy" else torch.ones_like(rho)
        assert torch.allclose(
            columns(found.output, "weight"), weights(used.log(), alpha.log(), every(ROWS, 2))
        )
        assert found.losses.keys() == {"task", "unimodal", "estimation"}
        assert not torch.equal(found.batch.inputs["red"], batch.inputs["red"])


@pytest.mark.parametrize("phase", ["clean", "warmup", "noisy"])
def test_evaluation_weighs_as_training_of_the_same_stage_does(phase):
    method, batch = toy(p_clean=1.0), batch_of()
    for layer in method.spread.values():
        torch.nn.init.constant_(layer.bias, -60.0)  # no randomness left in features
    objective(method, batch, phase)
    before = copy.deepcopy(method.changes)  # a step weighs by what the steps before it found
    trained = objective(method, batch, phase).output
    method.changes = before
    method.eval()
    evaluated = method(batch)
    assert torch.allclose(evaluated.fused, trained.fused, atol=1e-5)
    assert torch.equal(evaluated.fused, method(batch).fused)


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_factors_are_m_times_the_weights(modalities):
    method, batch = toy(modalities=modalities), batch_of(modalities)
    objective(method, batch)
    output = method(batch)
    weighted = times(len(modalities) * columns(output, "weight"), output.features)
    assert torch.allclose(output.fused, method.net.fusion(weighted), atol=1e-6)
    for m, logits in output.unimodal.items():
        alone = {k: z if k == m else torch.zeros_like(z) for k, z in output.features.items()}
        assert torch.allclose(logits, method.net.fusion(alone), atol=1e-6)


def test_the_losses_are_the_printed_sums():
    method, batch = toy(gamma=0.5, lambda_est=3.0, beta=0.1), batch_of()
    found = objective(method, batch)
    features, target = found.output.features, batch.target
    zero = {m: torch.zeros_like(z) for m, z in features.items()}
    alone = [cross_entropy(method.net.fusion({**zero, m: features[m]}), target) for m in TWO]
    assert torch.allclose(found.losses["task"], cross_entropy(found.output.fused, target))
    assert torch.allclose(found.losses["unimodal"], 0.5 * sum(alone), atol=1e-6)
    _, level = method._perturb(batch, context("noisy"), (ROWS, 0))
    mean, log_variance = method._represent(found.batch, every(ROWS, 2))
    error = (method.levels * method._estimate(log_variance) - level).square().mean(0).sum()
    assert torch.allclose(found.losses["estimation"], 3 * error / method.levels**2, rtol=1e-4)
    kl = [gaussian.kl(mean[m], log_variance[m], 1 + level[:, i]).mean() for i, m in enumerate(TWO)]
    assert torch.allclose(found.losses["kl"], 0.1 * sum(kl), rtol=1e-4)


def test_the_uncertainty_is_the_squared_estimate_above_the_floor():
    method, batch = toy(floor=0.3), batch_of()
    objective(method, batch)
    with torch.no_grad():
        for layers, bias in zip(method.estimator.values(), (0.5, -1.0), strict=True):
            layers[-1].weight.zero_()
            layers[-1].bias.fill_(bias)  # levels of 5 and, below all, -10
    output = method(batch)
    assert torch.allclose(output.extra["uncertainty/red"], torch.tensor(5.3**2))
    assert torch.allclose(output.extra["uncertainty/green"], torch.tensor(0.3**2))


# the noise


def levels_of(method, batch, **options):
    return method._perturb(batch, context("noisy", **options), (len(batch), 0))


def of_kind(kind, shape, **options):
    """A method whose inputs are said to be of a kind; its encoders are not for running."""
    method = toy(**options)
    inputs = dict.fromkeys(TWO, InputSpec(kind, shape))
    method.net.spec = dataclasses.replace(method.net.spec, modalities=inputs)
    return method


def test_levels_come_from_the_set_and_rows_are_clean_together():
    method, batch = toy(modalities=THREE, levels=4, p_clean=0.5), batch_of(THREE, rows=4000)
    noisy, level = levels_of(method, batch)
    assert set(level.unique().tolist()) == {0, 1, 2, 3, 4}
    clean = (level == 0).all(-1)
    assert clean.float().mean().item() == pytest.approx(0.5 + 0.5 * 0.2**3, abs=0.03)
    for i, m in enumerate(THREE):
        added = noisy.inputs[m] - batch.inputs[m]
        assert torch.equal((added == 0).all(-1), level[:, i] == 0)
        for sigma in range(1, 5):
            assert added[level[:, i] == sigma].std().item() == pytest.approx(0.2 * sigma, rel=0.1)
    assert torch.equal(levels_of(toy(modalities=THREE, p_clean=1.0), batch)[1], torch.zeros(4000, 3))


@pytest.mark.parametrize(
    ("kind", "shape", "step", "power"),
    [
        ("vector", (4,), "vector_step", 1),
        ("sequence", (3, 4), "sequence_step", 1),
        ("audio", (12,), "sequence_step", 1),
        ("image", (1, 3, 4), "image_step", 2),
        ("video", (2, 1, 3, 2), "image_step", 2),
    ],
)
def test_step_and_power_are_those_of_the_kind_of_input(kind, shape, step, power):
    method = of_kind(kind, shape, p_clean=0.0, levels=10, image_power=2.0, **{step: 0.5})
    batch = Batch({m: torch.zeros(4000, *shape) for m in TWO}, torch.zeros(4000), torch.arange(4000))
    noisy, level = levels_of(method, batch)
    for sigma in (2, 5, 10):
        std = noisy.inputs["green"][level[:, 1] == sigma].std().item()
        assert std == pytest.approx(0.5 * 10 * (sigma / 10) ** power, rel=0.1)


@pytest.mark.parametrize("levels", [5, 10])
def test_tokens_are_taken_away(levels):
    method = of_kind("tokens", (20,), p_clean=0.5, levels=levels)
    tokens = torch.randint(1, 30, (4000, 20), generator=torch.Generator().manual_seed(0))
    noisy, level = levels_of(method, Batch(dict.fromkeys(TWO, tokens), torch.zeros(4000), torch.arange(4000)))
    found, gone = noisy.inputs["red"], noisy.inputs["red"] == 0
    assert found.dtype == torch.int64
    assert torch.equal(found[~gone], tokens[~gone])
    for sigma in range(levels + 1):
        assert gone[level[:, 0] == sigma].float().mean().item() == pytest.approx(sigma / 10, abs=0.03)


@pytest.mark.parametrize(
    ("kind", "shape"), [("sequence", (6, 3)), ("video", (6, 1, 2, 2)), ("tokens", (6,)), ("audio", (6,))]
)
def test_behind_a_rows_end_there_is_no_noise_and_its_steps_have_what_a_longer_batch_gives_them(kind, shape):
    method, rows = of_kind(kind, shape, p_clean=0.0), torch.arange(40)
    mask = torch.arange(6) < 1 + rows.unsqueeze(-1) % 4  # no row has more than four of six steps
    x = torch.ones(40, *shape, dtype=torch.int64 if kind == "tokens" else torch.float)
    x = x * mask.view(40, 6, *[1] * (x.dim() - 2))
    found = {}
    for steps in (6, 4):  # the batch's longest row decides
        inputs, masks = dict.fromkeys(TWO, x[:, :steps]), dict.fromkeys(TWO, mask[:, :steps])
        noisy, _ = levels_of(method, Batch(inputs, rows, rows, mask=masks))
        found[steps] = noisy.inputs["red"]
        assert not found[steps][~mask[:, :steps]].any()
        assert not torch.equal(found[steps], x[:, :steps])
    assert torch.equal(found[6][:, :4], found[4])


def test_noise_belongs_to_the_modality_the_step_and_the_row_of_the_global_batch():
    method, batch = toy(), batch_of()
    whole, level = levels_of(method, batch)
    own, own_level = method._perturb(taken(batch, batch.index >= 5), context("noisy"), (ROWS, 5))
    assert torch.equal(own_level, level[5:])
    assert all(torch.equal(own.inputs[m], whole.inputs[m][5:]) for m in TWO)
    turned = toy(modalities=("green", "red"))
    swapped, _ = levels_of(turned, batch)
    assert all(torch.equal(swapped.inputs[m], whole.inputs[m]) for m in TWO)
    other, _ = levels_of(method, batch, step=1)
    assert not torch.equal(other.inputs["red"], whole.inputs["red"])


# gradients and cost


def gradients(method, batch):
    loss = objective(method, batch).total
    names, parameters = zip(*method.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True))


def test_the_estimation_loss_trains_the_estimator_and_nothing_else():
    batch = batch_of()
    with_it, without = gradients(toy(), batch), gradients(toy(lambda_est=0.0), batch)
    for name, gradient in with_it.items():
        assert torch.equal(gradient, without[name]) != name.startswith("estimator"), name


def test_the_task_trains_the_estimator_in_the_released_program_only():
    batch = batch_of()
    paper = gradients(toy(lambda_est=0.0), batch)
    released = gradients(toy(lambda_est=0.0, variant="released"), batch)
    assert not any(g.any() for name, g in paper.items() if name.startswith("estimator"))
    assert all(g.any() for name, g in released.items() if name.startswith("estimator.red.0"))


def test_a_step_runs_every_encoder_once_and_costs_little_more_than_joint_training():
    """Floating-point operations of a step in the noisy stage; the head is linear on concatenated features."""
    spec = dataclasses.replace(toys.spec_of(), modalities=dict.fromkeys(TWO, InputSpec("image", (1, 16, 16))))
    g = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(8, 1, 16, 16, generator=g) for m in TWO}
    batch = Batch(inputs, torch.arange(8) % toys.CLASSES, torch.arange(8))
    cost, calls = {}, []
    for name in ("joint", "udml"):
        method = build_method(spec, {}, {"name": "concat"}, {"name": name}, 0)
        for m, encoder in method.net.encoders.items():
            encoder.register_forward_hook(lambda *_, key=(name, m): calls.append(key))
        with FlopCounterMode(display=False) as counter:
            objective(method, batch).total.backward()
        cost[name] = counter.get_total_flops()
    assert sorted(calls) == sorted((name, m) for name in cost for m in TWO)
    assert cost["udml"] < 1.2 * cost["joint"]


# ablations


def test_without_the_estimator_heuristics_stand_in_its_place():
    batch = batch_of()
    for uncertainty in ("variance", "energy", "none"):
        method = toy(uncertainty=uncertainty)
        found = objective(method, batch)
        assert "estimation" not in found.losses
        assert not list(method.estimator.parameters())
        assert not torch.equal(found.batch.inputs["red"], batch.inputs["red"])
        rho = columns(method(batch), "uncertainty")
        if uncertainty == "variance":
            _, log_variance = method._represent(batch, every(ROWS, 2))
            assert torch.allclose(rho[:, 0], log_variance["red"].exp().mean(-1))
        elif uncertainty == "energy":
            assert not list(method.mean.parameters())
            assert torch.allclose(rho[:, 1], 1 / method(batch).unimodal["green"].exp().sum(-1), rtol=1e-5)
        else:
            assert torch.equal(rho, torch.ones_like(rho))


@pytest.mark.parametrize("uncertainty", ["estimated", "none"])
def test_without_the_dependency_no_modality_is_left_out_to_measure_it(uncertainty, monkeypatch):
    method, batch = toy(dependency=False, uncertainty=uncertainty), batch_of()
    monkeypatch.setattr(method, "_change", None)
    output = objective(method, batch).output
    method(batch)
    assert torch.equal(columns(output, "dependency"), torch.ones(ROWS, 2))
    assert not method.changes.rows.any()


def test_without_progression_all_begins_at_once():
    found = objective(toy(progression=False), batch_of(), "train")
    assert found.losses.keys() == {"task", "unimodal", "estimation"}
    assert columns(found.output, "weight").std() > 0


def test_without_the_unimodal_loss_the_head_runs_no_modality_alone(monkeypatch):
    method = toy(gamma=0.0)
    monkeypatch.setattr(method, "_alone", None)
    assert "unimodal" not in objective(method, batch_of()).losses


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_with_all_parts_removed_it_is_joint_training_to_the_bit(modalities):
    neutral = {"uncertainty": "none", "dependency": False, "progression": False, "gamma": 0.0, "p_clean": 1.0}
    joint, method = method_of(Method, modalities, widths=WIDTH), toy(modalities=modalities, **neutral)
    batch = batch_of(modalities)
    assert [p.name for p in method.phases(9) if p.epochs] == ["train"]
    ours, theirs = (objective(x, batch, "train").total for x in (method, joint))
    ours.backward()
    theirs.backward()
    expected = dict(joint.named_parameters())
    assert all(torch.equal(p.grad, expected[name].grad) for name, p in method.named_parameters())


# the dependency's scope, and rows that lack a modality


def test_the_dependency_is_that_of_the_rows_so_far_or_of_the_sample():
    batch = batch_of()
    running, sample = toy(), toy(scope="sample")
    objective(running, batch)
    alphas = [columns(objective(m, batch).output, "dependency") for m in (running, sample)]
    assert torch.equal(alphas[0], alphas[0][:1].expand(ROWS, 2))
    assert len(alphas[1].unique()) > ROWS
    features = sample(batch).features
    expected = dependencies(sample._change(features), every(ROWS, 2))
    assert torch.allclose(columns(sample(batch), "dependency"), expected)


def test_the_running_dependency_is_that_of_the_weighted_output_and_settles():
    """Closed form: d_m = M w_m a_m and w_m ∝ 1 / d_m, so w_m ∝ 1 / √a_m, with a_m the norm of m's logits."""
    method = toy(modalities=THREE, uncertainty="none", p_clean=1.0, momentum=0.5)
    batch = batch_of(THREE)
    for _ in range(20):
        found = objective(method, batch).output
    w = method._change(found.features).mean(0).rsqrt()
    assert torch.allclose(columns(found, "weight"), (w / w.sum()).expand(ROWS, 3), rtol=1e-4)


def test_statistics_and_weights_count_present_modalities():
    lacks = torch.arange(ROWS) < 5
    method, batch = toy(modalities=THREE), batch_of(THREE, present={"blue": ~lacks})
    found = objective(method, batch)
    w = columns(found.output, "weight")
    assert (w[lacks, 2] == 0).all()
    assert torch.allclose(w.sum(-1), torch.ones(ROWS))
    assert not found.output.features["blue"][lacks].any()
    assert method.changes.rows.tolist() == [ROWS, ROWS, ROWS - 5]
    assert method.moments["blue"].rows.unique().tolist() == [ROWS - 5]
    changed = dataclasses.replace(batch, inputs={**batch.inputs, "blue": batch.inputs["blue"].clone()})
    changed.inputs["blue"][lacks] = 9.0
    for name, loss in objective(toy(modalities=THREE), changed).losses.items():
        assert torch.equal(loss, found.losses[name]), name
    _, level = method._perturb(batch, context("noisy"), (ROWS, 0))
    _, log_variance = method._represent(found.batch, w > 0)
    error = (method._estimate(log_variance) - level / method.levels).square()
    error[lacks, 2] = 0
    assert torch.allclose(found.losses["estimation"], error.sum() / ROWS, rtol=1e-4)
    output = method(batch)
    assert not output.features["blue"][lacks].any()
    weighted = times((3 - lacks.long()).unsqueeze(-1) * columns(output, "weight"), output.features)
    assert torch.allclose(output.fused, method.net.fusion(weighted), atol=1e-6)


# the released program


def test_the_released_program_adds_one_to_the_factors_and_replaces_inputs_at_the_highest_level():
    method, batch = toy(variant="released", levels=3, p_clean=0.0), batch_of(rows=400)
    noisy, level = levels_of(method, batch)
    far = Batch({m: x + 100 for m, x in batch.inputs.items()}, batch.target, batch.index)
    again, _ = levels_of(method, far)
    replaced = (noisy.inputs["red"] == again.inputs["red"]).all(-1)
    assert torch.equal(replaced, level[:, 0] == 3)
    output = method(batch)
    weighted = times(1 + 2 * columns(output, "weight"), output.features)
    assert torch.allclose(output.fused, method.net.fusion(weighted), atol=1e-6)


def test_the_released_dependency_is_the_norm_of_the_logits_alone_in_the_batch_before():
    method, batch = toy(variant="released", p_clean=1.0), batch_of()
    for layer in method.spread.values():
        torch.nn.init.constant_(layer.bias, -60.0)
    first, before = (objective(method, batch_of(seed=seed)).output for seed in (3, 4))
    assert torch.equal(columns(first, "dependency"), torch.ones(ROWS, 2))
    weighted = times(1 + 2 * columns(before, "weight"), before.features)
    d = kept_only(method.net.fusion, weighted, torch.eye(2)).abs().sum(-1).T.mean(0, keepdim=True)
    second = columns(objective(method, batch).output, "dependency")
    assert torch.allclose(second, dependencies(d, every(1, 2)).expand(ROWS, 2), atol=1e-5)


def test_the_released_clean_phase_weighs_by_dependency_and_trains_the_estimator():
    for variant, differ in (("released", True), ("paper", False)):
        method = toy(variant=variant)
        steps = [objective(method, batch_of(seed=seed), "clean") for seed in (3, 4)]
        output = steps[1].output
        assert ("estimation" in steps[1].losses) == differ
        assert torch.allclose(*columns(output, "weight").unbind(-1)) != differ
        ratio = columns(output, "weight") * columns(output, "dependency")
        assert torch.allclose(*ratio.unbind(-1)) == differ


def test_the_released_estimate_is_of_raw_levels():
    method, batch = toy(variant="released", levels=4, p_clean=0.0, lambda_est=3.0), batch_of()
    found = objective(method, batch)
    _, level = method._perturb(batch, context("noisy"), (ROWS, 0))
    _, log_variance = method._represent(found.batch, every(ROWS, 2))
    error = (method.levels * method._estimate(log_variance) - level).square().mean(0).sum()
    assert torch.allclose(found.losses["estimation"], 3 * error, rtol=1e-4)


def test_the_released_uncertainty_has_no_floor():
    method = toy(variant="released")
    with torch.no_grad():
        method.estimator["red"][-1].weight.zero_()
        method.estimator["red"][-1].bias.fill_(-2.0)
    inputs = dict.fromkeys(TWO, torch.ones(1, WIDTH))
    assert method._log_rho({}, inputs, method._estimate(inputs))[0, 0].item() == pytest.approx(-2)


def test_the_released_estimate_is_the_exponential_of_half_a_linear_map_and_bounded():
    method = toy(variant="released")
    inputs = [dict.fromkeys(TWO, k * torch.ones(1, WIDTH)) for k in (-1.0, 0.0, 1.0)]
    outputs = [2 * (1 + method.levels * method._estimate(x)).log() for x in inputs]
    assert torch.allclose(outputs[0] + outputs[2], 2 * outputs[1], atol=1e-4)
    with torch.no_grad():
        method.estimator["red"][-1].bias.fill_(500.0)
    log_rho = method._log_rho({}, inputs[0], method._estimate(inputs[0]))
    assert log_rho[0, 0].item() == pytest.approx(6)


# what it reports, what it keeps, what it claims


def test_weights_can_be_exported_per_row_and_their_means_are_logged():
    method, batch, logged = toy(), batch_of(), defaultdict(list)
    objective(method, batch_of(seed=2))  # an earlier epoch
    found = objective(method, batch)
    names = [f"{kind}/{m}" for kind in ("weight", "dependency", "uncertainty") for m in TWO]
    assert list(found.output.extra) == names
    assert all(v.shape == (ROWS,) and not v.requires_grad for v in method(batch).extra.values())
    method.on_epoch_end(context(logged=logged), {})
    assert logged == {k: [pytest.approx(v.mean().item(), rel=1e-5)] for k, v in found.output.extra.items()}


def test_weights_and_dependencies_are_measured_where_it_is_tested():
    dataset = synthetic()
    method = build({"name": "udml"}, dataset)
    fit(method, dataset)
    found = evaluate(method, Feed(dataset, dataset.rows["test"]))
    scores = all_scores(method.task, found)
    for name, total in (("weight", 1), ("dependency", 2)):
        assert scores[f"{name}/m0"] == pytest.approx(found.extra[f"{name}/m0"].mean())
        assert scores[f"{name}/m0"] + scores[f"{name}/m1"] == pytest.approx(total, rel=1e-5)


def test_all_that_training_changes_is_state():
    method, batch = toy(), batch_of()
    objective(method, batch)
    twin = copy.deepcopy(toy())
    twin.load_state_dict(method.state_dict())
    method.eval()
    twin.eval()
    assert torch.equal(twin(batch).fused, method(batch).fused)
    assert {"stage", "changes.total", "moments.red.rows"} <= set(method.state_dict())


def test_bf16_autocast_trains():
    data = synthetic()
    method = build({"name": "udml", "split": 0.0}, data)
    curve = fit(method, data, Settings(epochs=4, batch_size=32, precision="bf16")).curve
    assert curve[-1]["loss/task"] < curve[0]["loss/task"]


def weights_by_level(**options):
    """The mean weight of a modality in noise of level 0 to 10, and as pure noise, after training."""
    data = synthetic(dim=64, signal=4.0, noise=0.5, train=256, validation=256)
    named = {"name": "udml", "split": 0.4, "warmup": 0.8, **options}
    method = build(named, data, encoder={"name": "mlp", "hidden": 64, "dim": 128})
    fit(method, data, Settings(epochs=25, batch_size=32, lr=0.01))
    (batch,) = splits_of(data, method, 0).validation.batches(256)
    clean = batch.inputs["m0"]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for x in [*(clean + 0.2 * level * noise for level in range(11)), 2 * noise]:
        with torch.no_grad():
            output = method.eval()(dataclasses.replace(batch, inputs={**batch.inputs, "m0": x}))
        found.append(output.extra["weight/m0"].mean().item())
    return found[:-1], found[-1]


def test_the_noisier_a_modality_the_less_it_weighs():
    """Figure 3: the weight falls with every level, the slight ones too, to next to nothing on pure noise."""
    found, pure = weights_by_level()
    assert all(a > b for a, b in pairwise(found))
    assert found[0] - found[2] > 0.05
    assert max(found[-1], pure) < 0.1


@pytest.mark.parametrize("heuristic", ["variance", "energy"])
def test_heuristics_leave_weight_to_pure_noise(heuristic):
    """Figure 1a: what the estimator is there to mend."""
    found, pure = weights_by_level(uncertainty=heuristic)
    assert min(*found, pure) > 0.25


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": 1.0}, "split is 1.0; admissible: a number from 0 to below 1"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"levels": 0}, "levels is 0; admissible: a whole number from 1"),
        ({"p_clean": 1.5}, "p_clean is 1.5; admissible: a number from 0 to 1"),
        ({"floor": 0.0}, "floor is 0.0; admissible: a number above 0"),
        ({"image_power": 0.0}, "image_power is 0.0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        build({"name": "udml", **options}, synthetic())
