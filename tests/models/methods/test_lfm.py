"""LFM: what it adds to joint training, checked on small nets without the trainer."""

import copy
import dataclasses
from collections import defaultdict
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.fusions.lstm import Lstm
from sweeper.models.maths import gradients, matching
from sweeper.models.maths.eager import eager
from sweeper.models.maths.modes import measuring
from sweeper.models.method import Method
from sweeper.models.methods.lfm import Lfm
from sweeper.models.schema.entries import entry
from tests.models.cases import SETTINGS, build, fit, same, synthetic
from tests.models.toys import (
    CLASSES,
    ROWS,
    TWO,
    Normed,
    batch_of,
    context,
    method_of,
    optimizer_of,
    step,
)


def of(epochs):
    return dataclasses.replace(SETTINGS, epochs=epochs, lr=0.005)


def rows_of(seed, modalities=TWO, rows=ROWS, present=None):
    """Classes that every modality shows as a shift of its own direction, in noise."""
    return batch_of(modalities, rows, seed=seed, first=100 * seed, present=present, told=True)


def hook_context(epoch=0, epochs=10, modalities=TWO, logged=None):
    train = [rows_of(seed, modalities) for seed in range(3)]
    held_out = [rows_of(50, modalities), rows_of(51, modalities, rows=7)]
    return context(epoch=epoch, epochs=epochs, logged=logged, train=train, held_out=held_out)


def train(method, epochs=3, modalities=TWO, start=0, stop=None, optimizer=None):
    """The trainer's order of calls, on one rank."""
    optimizer = optimizer or optimizer_of(method)
    logged = defaultdict(list)
    for epoch in range(start, stop or epochs):
        ctx = hook_context(epoch, epochs, modalities, logged)
        method.train()
        method.on_epoch_start(ctx)
        for batch in ctx.train():
            step(method, batch, ctx, optimizer)
        method.eval()
        method.on_epoch_end(ctx, {})
    return logged


def accuracy(method, modalities=TWO):
    batch = rows_of(70, modalities, rows=200)
    with torch.no_grad():
        return (method.predict(method(batch)).argmax(-1) == batch.target).float().mean().item()


@pytest.mark.parametrize("match", ["infonce", "posterior"])
def test_alpha_0_is_joint_training_to_the_bit(match):
    joint, mixed = method_of(Method), method_of(Lfm, schedule="constant", alpha=0.0, match=match)
    mixed.matching = None  # it must not be computed
    train(joint)
    train(mixed)
    weights = joint.net.state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in mixed.net.state_dict().items())


def test_the_loss_is_the_mixture():
    method, batch = method_of(Lfm, schedule="constant", alpha=0.25, tau=0.3), rows_of(1)
    logged = defaultdict(list)
    ctx = hook_context(logged=logged)
    method.on_epoch_start(ctx)
    output = method(batch)
    losses = method.loss(output, batch, ctx)
    match = matching.infonce(output.features["red"], output.features["green"], tau=0.3)
    expected = {"classification": 0.75 * cross_entropy(output.fused, batch.target), "matching": 0.25 * match}
    assert losses.keys() == expected.keys()
    assert all(torch.allclose(losses[name], expected[name]) for name in losses)
    assert logged["alpha"] == [0.25]
    assert logged["matching"] == pytest.approx([match.item()])


def test_the_released_matching_compares_the_unimodal_posteriors():
    method, batch = method_of(Lfm, schedule="constant", match="posterior"), rows_of(1)
    output = method(batch)
    expected = matching.posterior_alignment(*output.unimodal.values())
    assert torch.equal(method.matching(output, batch), expected)


def test_same_class_rows_can_be_left_out():
    method, batch = method_of(Lfm, negatives="exclude_same_label"), rows_of(1)
    output = method(batch)
    expected = matching.infonce(*output.features.values(), labels=batch.target)
    assert torch.equal(method.matching(output, batch), expected)


def test_rows_that_lack_a_modality_do_not_count():
    method = method_of(Lfm, schedule="constant")
    batch = rows_of(1, present={"green": torch.arange(ROWS) < 10})
    output = method(batch)
    expected = matching.infonce(*(z[:10] for z in output.features.values()))
    assert torch.allclose(method.matching(output, batch), expected)


def test_features_of_unequal_widths_are_projected_for_the_match_only():
    method, batch = method_of(Lfm, widths=(6, 9), projection_dim=5), rows_of(1)
    output = method(batch)
    assert [z.shape[1] for z in output.features.values()] == [6, 9]
    method.matching(output, batch).backward()
    assert {m: p.weight.shape for m, p in method.project.items()} == {"red": (5, 6), "green": (5, 9)}
    assert all(p.weight.grad.ne(0).any() for p in method.project.values())
    assert not list(method_of(Lfm).project.parameters())
    assert not list(method_of(Lfm, widths=(6, 9), match="posterior").project.parameters())


@pytest.mark.parametrize(
    ("options", "curve"),
    [
        ({"schedule": "constant", "alpha": 0.3}, [0.3] * 4),
        ({"schedule": "stepwise", "start": 1.0}, [1, 1, 0, 0]),
        ({"schedule": "heuristic"}, [0.6321206, 0.393469, 0.283469, 0.221199]),
        ({"schedule": "heuristic", "lag": 1, "alpha0": 0.9}, [0.9, 0.6321206, 0.393469, 0.283469]),
        ({"schedule": "poly5"}, [0.7954, 0.5633, 0.4608, 0.1787]),
    ],
)
def test_schedules_set_alpha_each_epoch(options, curve):
    method = method_of(Lfm, **options)
    assert method.held_out == 0
    assert train(method, epochs=4)["alpha"][::3] == pytest.approx(curve, abs=1e-4)


def test_alpha_is_state_but_never_a_parameter():
    method = method_of(Lfm)
    assert "alpha" in method.state_dict()
    assert all("alpha" not in name for name, _ in method.named_parameters())


@pytest.mark.parametrize("solver", ["identity", "neumann", "cg", "finite_difference", "released"])
@pytest.mark.parametrize("modalities", [TWO, ("a", "b", "c")])
def test_learned_alpha_moves_within_its_bounds(solver, modalities):
    method = method_of(
        Lfm, modalities=modalities, solver=solver, solver_steps=3, eta_alpha=0.5 * 3 / 200, clip_low=0.05
    )
    logged = train(method, modalities=modalities)
    assert method.held_out == 0.05
    assert len(set(logged["alpha"])) == 3
    assert all(0.05 <= alpha <= 1 for alpha in logged["alpha"])


def test_alpha_falls_by_the_hyper_gradient_of_the_held_out_rows():
    method = method_of(Lfm, alpha0=0.5, solver_lr=0.2, normalize=False, eta_alpha=0.1 * 10 / 200)
    ctx, inner = hook_context(), rows_of(0)
    method.on_epoch_start(ctx)
    method.loss(method(inner), inner, ctx)
    method.loss(method(rows_of(1)), rows_of(1), ctx)  # only the first batch counts
    assert torch.equal(method.inner, inner.index)  # and is found again by its rows
    parameters = list(method.parameters())

    def grad(loss):
        return gradients.flat(gradients.of(loss, parameters))

    held = [rows_of(50), rows_of(51, rows=7)]
    outer = sum(len(b) * grad(cross_entropy(method(b).fused, b.target)) for b in held) / (ROWS + 7)
    output = method(inner)
    delta = grad(method.matching(output, inner)) - grad(cross_entropy(method(inner).fused, inner.target))
    method.on_epoch_end(ctx, {})
    assert method.alpha.item() == pytest.approx(0.5 + 0.1 * 0.2 * (delta @ outer).item(), abs=1e-6)


@pytest.mark.parametrize("epochs", [5, 20])
def test_the_step_of_alpha_is_one_of_200_epochs_times_how_many_fewer_there_are(epochs):
    data = synthetic()
    curve = fit(build({"name": "lfm", "alpha0": 0.5, "eta_alpha": 0.002}, data), data, of(epochs)).curve
    for before, after in pairwise(curve):
        moved = after["alpha"] - before["alpha"]
        assert moved == pytest.approx(-0.002 * 200 / epochs * before["hypergradient"], abs=1e-6)


def test_alpha_over_the_share_of_training_done_is_alike_however_long_that_is():
    """Means of two seeds at every tenth of 20, 60 and 200 epochs differ by less than 0.3.

    They fall from 0.95 to 0 meanwhile. With a step of 0.03 an epoch however many there are, 20 epochs could not leave
    the upper half and 200 would be at 0 after a fifth.
    """
    data, tenths = synthetic(train=128, signal=3.0), np.arange(10) / 10
    curves = {}
    for epochs in (20, 60, 200):
        named = {"name": "lfm", "tau": 0.5, "held_out_fraction": 0.25}
        runs = [fit(build(named, data, seed), data, of(epochs), seed).curve for seed in (0, 1)]
        alpha = np.mean([[entry["alpha"] for entry in run] for run in runs], 0)
        curves[epochs] = np.interp(tenths, np.arange(epochs) / epochs, alpha)
    for one, other in combinations(curves.values(), 2):
        assert np.abs(one - other).max() < 0.3
    assert all(curve[0] > 0.9 and curve[-1] < 0.1 for curve in curves.values())


def test_the_released_solver_reads_held_out_rows_alone():
    found = []
    for first in (0, 1):
        method, ctx = method_of(Lfm, solver="released", alpha0=0.5, eta_alpha=0.5), hook_context()
        method.on_epoch_start(ctx)
        method.loss(method(rows_of(first)), rows_of(first), ctx)
        method.on_epoch_end(ctx, {})
        found.append(method.alpha.item())
    assert found[0] == found[1] != 0.5


def test_nothing_drops_out_where_the_objective_must_be_one_function():
    method = method_of(Lfm, schedule="constant", alpha=1.0)
    dims = {m: e.dim for m, e in method.net.encoders.items()}
    method.net.fusion = Lstm(dims, CLASSES, layers=2, dropout=0.5)
    method.train()
    lstm, rows = method.net.fusion.lstm, rows_of(0)
    with measuring(method):
        assert lstm.training  # cuDNN wants that for gradients
        assert torch.equal(method(rows).fused, method(rows).fused)
    assert lstm.dropout == 0.5
    assert not torch.equal(method(rows).fused, method(rows).fused)


def test_a_hyper_step_leaves_weights_statistics_and_modes_alone():
    method = method_of(Lfm, encoder=Normed, solver="cg")
    ctx = hook_context()
    method.train()
    method.net.encoders["red"].eval()
    method.on_epoch_start(ctx)
    method.loss(method(rows_of(0)), rows_of(0), ctx)
    before = copy.deepcopy(method.state_dict())
    modes = [m.training for m in method.modules()]
    method.on_epoch_end(ctx, {})
    changed = [name for name, value in method.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["alpha"]
    assert [m.training for m in method.modules()] == modes
    assert all(p.grad is None for p in method.parameters())


def test_an_interrupted_run_resumes_exactly():
    whole, first = method_of(Lfm), method_of(Lfm)
    train(whole, epochs=4)
    optimizer = optimizer_of(first)
    train(first, epochs=4, stop=2, optimizer=optimizer)
    second = method_of(Lfm, alpha0=0.1)
    second.load_state_dict(first.state_dict())
    resumed = optimizer_of(second)
    resumed.load_state_dict(optimizer.state_dict())
    train(second, epochs=4, start=2, optimizer=resumed)
    weights = whole.state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in second.state_dict().items())


def test_renaming_and_reordering_modalities_changes_nothing():
    method, batch = method_of(Lfm, modalities=("a", "b", "c")), rows_of(1, ("a", "b", "c"))
    turned = dataclasses.replace(batch, inputs={m: batch.inputs[m] for m in "cab"})
    twin = copy.deepcopy(method)
    twin.net.encoders = nn.ModuleDict({m: twin.net.encoders[m] for m in "cab"})
    losses = [m.matching(m(b), b) for m, b in ((method, batch), (twin, turned))]
    assert torch.allclose(*losses)


@pytest.mark.parametrize(
    ("options", "keep"),
    [
        ({"schedule": "stepwise"}, "last"),
        ({"schedule": "heuristic"}, "last"),
        ({"schedule": "cubic"}, "last"),
        ({"schedule": "poly5"}, "last"),
        ({"schedule": "constant", "alpha": 1.0}, "last"),
        ({"schedule": "constant", "alpha": 0.5}, "best"),
        ({"schedule": "learned"}, "best"),
    ],
)
def test_a_schedule_is_kept_at_its_end_and_all_else_where_it_is_best(options, keep):
    assert [phase.keep for phase in method_of(Lfm, **options).phases(3)] == [keep]


def test_alpha_1_trains_no_head_and_fits_it_at_the_end():
    method = method_of(Lfm, schedule="constant", alpha=1.0)
    head = copy.deepcopy(method.net.fusion.state_dict())
    optimizer = eager(torch.optim.SGD)(list(method.parameters()), 0.1)
    train(method, optimizer=optimizer)
    assert same(method.net.fusion.state_dict(), head)
    encoders = copy.deepcopy(method.net.encoders.state_dict())
    before = accuracy(method)
    method.on_phase_end(hook_context())
    assert accuracy(method) > max(0.9, before)
    assert same(method.net.encoders.state_dict(), encoders)


@pytest.mark.parametrize("start", [1.0, 0.0])
def test_a_head_that_saw_labels_is_left_alone(start):
    """In the last epoch, or in the first only."""
    method = method_of(Lfm, schedule="stepwise", start=start)
    train(method, epochs=2)
    before = copy.deepcopy(method.state_dict())
    method.on_phase_end(hook_context())
    assert same(method.state_dict(), before)


def test_what_counts_is_whether_an_epoch_up_to_the_kept_one_showed_labels():
    method = method_of(Lfm, schedule="stepwise", start=1.0)
    train(method, epochs=4, stop=2)
    kept = copy.deepcopy(method.state_dict())
    assert not kept["labelled"]
    train(method, epochs=4, start=2)
    assert method.labelled
    method.load_state_dict(kept)
    method.on_phase_end(hook_context())
    assert not torch.equal(method.net.fusion.head.weight, kept["net.fusion.head.weight"])


@pytest.mark.parametrize("modalities", [TWO, ("a", "b", "c")])
def test_it_learns(modalities):
    method = method_of(Lfm, modalities=modalities, alpha0=0.5)
    train(method, epochs=20, modalities=modalities)
    assert accuracy(method, modalities) > 0.8


def test_one_modality_is_refused_by_the_class():
    assert entry("method", "lfm").facts["modalities"] == (2, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tau": 0.0}, "tau is 0.0; admissible: a number above 0"),
        ({"alpha": 1.5}, "alpha is 1.5; admissible: a number from 0 to 1"),
        ({"clip_low": 0.5, "clip_high": 0.4}, "clip_low 0.5 lies above clip_high 0.4"),
        ({"clip_high": 1.2}, "clip_high is 1.2; admissible: a number from 0 to 1"),
        ({"held_out_fraction": 0.0}, "held_out_fraction is 0.0; admissible: a number above 0 and below 1"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        build({"name": "lfm", **options}, synthetic())
