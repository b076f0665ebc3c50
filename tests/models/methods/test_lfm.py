"""LFM: what it adds to joint training, checked on small nets without the trainer."""

import copy
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sweeper.models.encoders.all import mlp
from sweeper.models.errors import UserError
from sweeper.models.fusions.all import Concat, Lstm
from sweeper.models.maths import gradients, matching
from sweeper.models.method import Method
from sweeper.models.methods.lfm import Lfm, _frozen_statistics
from sweeper.models.net import Net
from sweeper.models.schema import entries as registry
from sweeper.models.tasks.all import Classification
from sweeper.models.values import Batch, Context, DataSpec, InputSpec, Phase

CLASSES, WIDTH, ROWS = 4, 8, 24
EYES = ("left", "right")


def build(cls=Lfm, modalities=EYES, widths=None, encoder=mlp, **options):
    torch.manual_seed(0)
    spec = DataSpec("toy", {m: InputSpec((5,)) for m in modalities}, CLASSES, {}, "none")
    widths = widths or [WIDTH] * len(modalities)
    encoders = {m: encoder(s, dim=d) for (m, s), d in zip(spec.modalities.items(), widths, strict=True)}
    fusion = Concat({m: e.dim for m, e in encoders.items()}, CLASSES)
    return cls(Net(encoders, fusion), Classification(spec), **options)


def normed(spec, dim):
    net = nn.Sequential(nn.Linear(5, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Dropout(0.5))
    net.dim = dim
    return net


def rows_of(seed, modalities=EYES, rows=ROWS, present=None):
    """Classes that every modality shows as a shift of its own direction, in noise."""
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (rows,), generator=g)
    centres = torch.randn(CLASSES, 5, generator=torch.Generator().manual_seed(99))
    clean = {m: centres[target].roll(i, 1) for i, m in enumerate(modalities)}
    inputs = {m: x + 0.3 * torch.randn(rows, 5, generator=g) for m, x in clean.items()}
    return Batch(inputs, target, torch.arange(rows), present or {})


def context(epoch=0, epochs=10, modalities=EYES, logged=None):
    logged = defaultdict(list) if logged is None else logged
    return Context(
        phase=Phase("train", epochs),
        epoch=epoch,
        epochs=epochs,
        step=0,
        train=lambda: iter([rows_of(seed, modalities) for seed in range(3)]),
        held_out=lambda: iter([rows_of(50, modalities), rows_of(51, modalities, rows=7)]),
        log=lambda name, value: logged[name].append(value),
        generator=None,
        lr=0.1,
    )


def train(method, epochs=3, modalities=EYES, start=0, optimizer=None):
    """The trainer's order of calls, on one rank."""
    optimizer = optimizer or torch.optim.SGD(method.param_groups(0.1), momentum=0.9, weight_decay=1e-2)
    logged = defaultdict(list)
    for epoch in range(start, epochs):
        ctx = context(epoch, epochs, modalities, logged)
        method.train()
        method.on_epoch_start(ctx)
        for batch in ctx.train():
            for objective in method.objectives(batch, ctx):
                optimizer.zero_grad(set_to_none=True)
                method.backward(objective)
                optimizer.step()
        method.eval()
        method.on_epoch_end(ctx, {})
    return logged


def accuracy(method, modalities=EYES):
    batch = rows_of(70, modalities, rows=200)
    with torch.no_grad():
        return (method.predict(method(batch)).argmax(-1) == batch.target).float().mean().item()


@pytest.mark.parametrize("match", ["infonce", "posterior"])
def test_alpha_0_is_joint_training_to_the_bit(match):
    joint, mixed = build(Method), build(schedule="constant", alpha=0.0, match=match)
    mixed.matching = None  # it must not be computed
    train(joint)
    train(mixed)
    weights = joint.net.state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in mixed.net.state_dict().items())


def test_the_loss_is_the_mixture():
    method, batch = build(schedule="constant", alpha=0.25, tau=0.3), rows_of(1)
    logged = defaultdict(list)
    ctx = context(logged=logged)
    method.on_epoch_start(ctx)
    output = method(batch)
    losses = method.loss(output, batch, ctx)
    match = matching.infonce(output.features["left"], output.features["right"], tau=0.3)
    expected = {"classification": 0.75 * cross_entropy(output.fused, batch.target), "matching": 0.25 * match}
    assert losses.keys() == expected.keys()
    assert all(torch.allclose(losses[name], expected[name]) for name in losses)
    assert logged["alpha"] == [0.25]
    assert logged["matching"] == pytest.approx([match.item()])


def test_the_released_matching_compares_the_unimodal_posteriors():
    method, batch = build(schedule="constant", match="posterior"), rows_of(1)
    output = method(batch)
    expected = matching.posterior_alignment(*output.unimodal.values())
    assert torch.equal(method.matching(output, batch), expected)


def test_same_class_rows_can_be_left_out():
    method, batch = build(negatives="exclude_same_label"), rows_of(1)
    output = method(batch)
    expected = matching.infonce(*output.features.values(), labels=batch.target)
    assert torch.equal(method.matching(output, batch), expected)


def test_rows_that_lack_a_modality_do_not_count():
    method = build(schedule="constant")
    batch = rows_of(1, present={"right": torch.arange(ROWS) < 10})
    output = method(batch)
    expected = matching.infonce(*(z[:10] for z in output.features.values()))
    assert torch.allclose(method.matching(output, batch), expected)


def test_features_of_unequal_widths_are_projected_for_the_match_only():
    method, batch = build(widths=(6, 9), projection_dim=5), rows_of(1)
    output = method(batch)
    assert [z.shape[1] for z in output.features.values()] == [6, 9]
    method.matching(output, batch).backward()
    assert {m: p.weight.shape for m, p in method.project.items()} == {"left": (5, 6), "right": (5, 9)}
    assert all(p.weight.grad.ne(0).any() for p in method.project.values())
    assert not list(build().project.parameters())
    assert not list(build(widths=(6, 9), match="posterior").project.parameters())


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
    method = build(**options)
    assert method.held_out == 0
    assert train(method, epochs=4)["alpha"][::3] == pytest.approx(curve, abs=1e-4)


def test_alpha_is_state_but_never_a_parameter():
    method = build()
    assert "alpha" in method.state_dict()
    assert all("alpha" not in name for name, _ in method.named_parameters())


@pytest.mark.parametrize("solver", ["identity", "neumann", "cg", "finite_difference", "released"])
@pytest.mark.parametrize("modalities", [EYES, ("a", "b", "c")])
def test_learned_alpha_moves_within_its_bounds(solver, modalities):
    method = build(modalities=modalities, solver=solver, solver_steps=3, eta_alpha=0.5, clip_low=0.05)
    logged = train(method, modalities=modalities)
    assert method.held_out == 0.05
    assert len(set(logged["alpha"])) == 3
    assert all(0.05 <= alpha <= 1 for alpha in logged["alpha"])


def test_alpha_falls_by_the_hyper_gradient_of_the_held_out_rows():
    method = build(alpha0=0.5, solver_lr=0.2, normalize=False, eta_alpha=0.1)
    ctx, inner = context(), rows_of(0)
    method.on_epoch_start(ctx)
    method.loss(method(inner), inner, ctx)
    method.loss(method(rows_of(1)), rows_of(1), ctx)  # only the first batch counts
    parameters = list(method.parameters())

    def grad(loss):
        return gradients.flat(gradients.of(loss, parameters))

    held = [rows_of(50), rows_of(51, rows=7)]
    outer = sum(len(b) * grad(cross_entropy(method(b).fused, b.target)) for b in held) / (ROWS + 7)
    output = method(inner)
    delta = grad(method.matching(output, inner)) - grad(cross_entropy(method(inner).fused, inner.target))
    method.on_epoch_end(ctx, {})
    assert method.alpha.item() == pytest.approx(0.5 + 0.1 * 0.2 * (delta @ outer).item(), abs=1e-6)


def test_the_released_solver_reads_held_out_rows_alone():
    found = []
    for first in (0, 1):
        method, ctx = build(solver="released", alpha0=0.5, eta_alpha=0.5), context()
        method.on_epoch_start(ctx)
        method.loss(method(rows_of(first)), rows_of(first), ctx)
        method.on_epoch_end(ctx, {})
        found.append(method.alpha.item())
    assert found[0] == found[1] != 0.5


def test_nothing_drops_out_where_the_objective_must_be_one_function():
    method = build(schedule="constant", alpha=1.0)
    dims = {m: e.dim for m, e in method.net.encoders.items()}
    method.net.fusion = Lstm(dims, CLASSES, layers=2, dropout=0.5)
    method.train()
    lstm, rows = method.net.fusion.lstm, rows_of(0)
    with _frozen_statistics(method):
        assert lstm.training  # cuDNN wants that for gradients
        assert torch.equal(method(rows).fused, method(rows).fused)
    assert lstm.dropout == 0.5
    assert not torch.equal(method(rows).fused, method(rows).fused)


def test_a_hyper_step_leaves_weights_statistics_and_modes_alone():
    method = build(encoder=normed, solver="cg")
    ctx = context()
    method.train()
    method.net.encoders["left"].eval()
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
    whole, first = build(), build()
    train(whole, epochs=4)
    optimizer = torch.optim.SGD(first.param_groups(0.1), momentum=0.9, weight_decay=1e-2)
    train(first, epochs=2, optimizer=optimizer)
    second = build(alpha0=0.1)
    second.load_state_dict(first.state_dict())
    resumed = torch.optim.SGD(second.param_groups(0.1), momentum=0.9, weight_decay=1e-2)
    resumed.load_state_dict(optimizer.state_dict())
    train(second, epochs=4, start=2, optimizer=resumed)
    weights = whole.state_dict()
    assert all(torch.equal(w, weights[name]) for name, w in second.state_dict().items())


def test_renaming_and_reordering_modalities_changes_nothing():
    method, batch = build(modalities=("a", "b", "c")), rows_of(1, ("a", "b", "c"))
    turned = Batch({m: batch.inputs[m] for m in "cab"}, batch.target, batch.index)
    twin = copy.deepcopy(method)
    twin.net.encoders = nn.ModuleDict({m: twin.net.encoders[m] for m in "cab"})
    losses = [m.matching(m(b), b) for m, b in ((method, batch), (twin, turned))]
    assert torch.allclose(*losses)


def test_alpha_1_trains_no_head_and_fits_it_at_the_end():
    method = build(schedule="constant", alpha=1.0)
    assert method.phases(3)[0].keep == "last"
    head = copy.deepcopy(method.net.fusion.state_dict())
    optimizer = torch.optim.SGD(method.param_groups(0.1))
    train(method, optimizer=optimizer)
    assert all(torch.equal(w, head[name]) for name, w in method.net.fusion.state_dict().items())
    encoders = copy.deepcopy(method.net.encoders.state_dict())
    before = accuracy(method)
    method.on_phase_end(context())
    assert accuracy(method) > max(0.9, before)
    assert all(torch.equal(w, encoders[name]) for name, w in method.net.encoders.state_dict().items())


def test_a_head_that_saw_labels_is_left_alone():
    method = build(schedule="stepwise", start=1.0)
    train(method, epochs=2)
    assert method.phases(3)[0].keep == "best"
    before = copy.deepcopy(method.state_dict())
    method.on_phase_end(context())
    assert all(torch.equal(w, before[name]) for name, w in method.state_dict().items())


@pytest.mark.parametrize("modalities", [EYES, ("a", "b", "c")])
def test_it_learns(modalities):
    method = build(modalities=modalities, alpha0=0.5)
    train(method, epochs=20, modalities=modalities)
    assert accuracy(method, modalities) > 0.8


def test_one_modality_is_refused_by_the_class():
    assert registry.entry("method", "lfm").facts["modalities"] == (2, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tau": 0.0}, "tau is 0.0; admissible: above 0"),
        ({"alpha": 1.5}, "alpha is 1.5; admissible: 0 to 1"),
        ({"clip_low": 0.5, "clip_high": 0.4}, "clip_high is 0.4; admissible: 0.5 .clip_low. to 1"),
        ({"held_out_fraction": 0.0}, "held_out_fraction is 0.0"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words):
        build(**options)
