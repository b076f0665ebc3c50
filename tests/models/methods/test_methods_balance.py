"""Balancing methods that need no state beyond heads: what each adds to joint training, checked by hand."""

import copy
import math
from collections import defaultdict

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.data import load_dataset
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.methods.label_smoothing import LabelSmoothing
from sweeper.models.methods.mla import Mla, absorb, entropy_weights
from sweeper.models.methods.ogm import Ogm, coefficients
from sweeper.models.methods.uniform import Uniform
from sweeper.models.methods.unimodal_sum import UnimodalSum
from sweeper.models.schema.entries import entry
from sweeper.models.training.build import build_method
from sweeper.models.values import Batch
from tests.models.cases import same
from tests.models.toys import (
    CLASSES,
    ROWS,
    THREE,
    TWO,
    WIDTH,
    batch_of,
    context,
    gradients,
    method_of,
    optimizer_of,
    step,
    stepping,
)


def trained(method, modalities=TWO, steps=3):
    optimizer = optimizer_of(method)
    for i in range(steps):
        step(method, batch_of(modalities, seed=i), context(step=i), optimizer)
    return method.net.state_dict()


def weights(method, modality):
    """Names of the encoder's tensors that are no biases."""
    encoder = method.net.encoders[modality].named_parameters()
    return [f"net.encoders.{modality}.{name}" for name, p in encoder if p.dim() == 2]


@pytest.mark.parametrize(
    ("cls", "options"), [(LabelSmoothing, {"eps": 0.0}), (Ogm, {"alpha": 0.0, "ge": False})]
)
def test_neutral_setting_is_joint_training_to_the_bit(cls, options):
    assert same(trained(method_of(cls, **options)), trained(method_of(Method)))


@pytest.mark.parametrize("cls", [LabelSmoothing, Ogm])
def test_default_setting_is_not_joint_training(cls):
    joint = trained(method_of(Method))
    assert any(not torch.equal(w, joint[name]) for name, w in trained(method_of(cls)).items())


ADMITTED = [
    (cls, names)
    for cls in (UnimodalSum, Uniform, LabelSmoothing, Ogm, Mla)
    for names in (("only",), TWO, THREE)
    if len(names) >= cls.modalities[0]
]


@pytest.mark.parametrize(("cls", "modalities"), ADMITTED)
def test_any_admitted_number_of_modalities_learns_and_reads_out(cls, modalities):
    method, batch = method_of(cls, modalities), batch_of(modalities)
    before = method.task.loss(method(batch).fused, batch.target)
    optimizer = optimizer_of(method)
    for i in range(60):
        method.on_epoch_start(context())
        step(method, batch, context(epoch=8, step=i), optimizer)
    output = method(batch)
    assert method.task.loss(output.fused, batch.target) < 0.8 * before
    assert {m: tuple(logits.shape) for m, logits in output.unimodal.items()} == dict.fromkeys(
        modalities, (ROWS, CLASSES)
    )
    assert torch.allclose(method.predict(output).sum(-1), torch.ones(ROWS))


@pytest.mark.parametrize("cls", [UnimodalSum, Uniform, LabelSmoothing, Ogm, Mla])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_double_precision_and_bf16_autocast_train(cls, dtype):
    method, batch = method_of(cls), batch_of()
    if dtype == torch.float64:
        method.double()
        batch = Batch({m: x.double() for m, x in batch.inputs.items()}, batch.target, batch.index)
    method.on_epoch_start(context())
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    step(method, batch, context(), optimizer_of(method), autocast=autocast)
    assert all(value.isfinite().all() for value in method.state_dict().values())


# unimodal_sum


def test_unimodal_sum_predicts_the_heads_mean_and_minimises_their_sum():
    method, batch = method_of(UnimodalSum), batch_of()
    output = method(batch)
    logits = {m: method.heads[m](output.features[m]) for m in TWO}
    assert torch.allclose(output.fused, (logits["red"] + logits["green"]) / 2)
    assert torch.equal(output.unimodal["green"], logits["green"])
    (objective,) = method.objectives(batch, context())
    by_hand = cross_entropy(logits["red"], batch.target) + cross_entropy(logits["green"], batch.target)
    assert torch.allclose(objective.total, by_hand)


def test_unimodal_sum_trains_a_modality_as_if_the_other_were_noise():
    ours, other = method_of(UnimodalSum), method_of(UnimodalSum)
    batch = batch_of()
    noisy = Batch({**batch.inputs, "green": torch.randn(ROWS, 5)}, batch.target, batch.index)
    step(ours, batch, context(), optimizer_of(ours))
    step(other, noisy, context(), optimizer_of(other))
    assert same(ours.net.encoders["red"].state_dict(), other.net.encoders["red"].state_dict())
    assert same(ours.heads["red"].state_dict(), other.heads["red"].state_dict())


# uniform


def test_uniform_gradient_is_the_sum_of_the_fused_and_the_heads_gradients():
    method, batch = method_of(Uniform), batch_of()
    found, _ = gradients(method, batch, context())
    parameters = list(method.net.encoders.parameters())
    output = method(batch)
    logits = [output.fused, *(method.heads[m](z) for m, z in output.features.items())]
    losses = [cross_entropy(x, batch.target) for x in logits]
    parts = [torch.autograd.grad(x, parameters, retain_graph=True, materialize_grads=True) for x in losses]
    for i, (name, _) in enumerate(method.net.encoders.named_parameters()):
        by_hand = sum(part[i] for part in parts)
        assert torch.allclose(found[f"net.encoders.{name}"], by_hand, atol=1e-7), name


def test_uniform_predicts_from_the_fusion_and_reads_out_the_heads():
    method, batch = method_of(Uniform), batch_of()
    output, plain = method(batch), method.net(batch)
    assert torch.equal(output.fused, plain.fused)
    assert torch.equal(output.unimodal["red"], method.heads["red"](plain.features["red"]))
    assert not torch.allclose(output.unimodal["red"], plain.unimodal["red"])


# label_smoothing


def test_label_smoothing_mixes_the_label_with_the_uniform_one():
    method, batch = method_of(LabelSmoothing, eps=0.3), batch_of()
    (objective,) = method.objectives(batch, context())
    log_p = method(batch).fused.log_softmax(-1)
    one_hot = -log_p[torch.arange(ROWS), batch.target].mean()
    uniform = -log_p.mean(-1).mean()
    assert torch.allclose(objective.total, 0.7 * one_hot + 0.3 * uniform)


def test_label_smoothing_of_one_ignores_the_labels():
    method, batch = method_of(LabelSmoothing, eps=1.0), batch_of()
    relabelled = Batch(batch.inputs, (batch.target + 1) % CLASSES, batch.index)
    found, _ = gradients(method, batch, context())
    other = method_of(LabelSmoothing, eps=1.0)
    assert same(found, gradients(other, relabelled, context())[0])


@pytest.mark.parametrize("eps", [-0.1, 1.1])
def test_label_smoothing_refuses_what_is_no_share(eps):
    with pytest.raises(UserError, match=f"eps is {eps}; admissible: a number from 0 to 1"):
        entry("method", "label_smoothing").check({"eps": eps})


# ogm


@pytest.mark.parametrize(
    ("scores", "by_hand"),
    [
        ([12.0, 6.0], [1 - math.tanh(0.8 * 2), 1.0]),
        ([6.0, 12.0], [1.0, 1 - math.tanh(0.8 * 2)]),
        ([6.0, 6.0], [1.0, 1.0]),
        ([9.0, 6.0, 3.0], [1 - math.tanh(0.8 * 2), 1.0, 1.0]),
        ([8.0, 7.0, 1.0], [1 - math.tanh(0.8 * 2), 1 - math.tanh(0.8 * 7 / 4.5), 1.0]),
        ([5.0, 5.0, 5.0], [1.0, 1.0, 1.0]),
    ],
)
def test_ogm_coefficients_by_hand(scores, by_hand):
    found = coefficients(torch.tensor(scores, dtype=torch.float64), 0.8)
    assert found.tolist() == pytest.approx(by_hand, abs=1e-12)


def test_ogm_coefficients_follow_a_permutation_of_the_modalities():
    scores = torch.tensor([5.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(coefficients(scores[order], 0.8), coefficients(scores, 0.8)[order], atol=1e-12)


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_ogm_scales_exactly_the_encoders_weights(modalities):
    method, batch, logged = method_of(Ogm, modalities, ge=False), batch_of(modalities), defaultdict(list)
    unimodal = method(batch).unimodal
    rows = torch.arange(ROWS)
    scores = {m: unimodal[m].softmax(-1)[rows, batch.target].sum().item() for m in modalities}
    found, raw = gradients(method, batch, context(logged=logged))
    ratio = {m: s * (len(scores) - 1) / (sum(scores.values()) - s) for m, s in scores.items()}
    by_hand = {m: 1 - math.tanh(0.8 * r) if r > 1 else 1.0 for m, r in ratio.items()}
    assert min(by_hand.values()) < 1
    for m in modalities:
        assert logged[f"coefficient/{m}"] == pytest.approx([by_hand[m]], rel=1e-5)
    for name, grad in found.items():
        m = name.split(".")[2]
        k = logged[f"coefficient/{m}"][0] if m in modalities and name in weights(method, m) else 1.0
        assert torch.equal(grad, raw[name] * k), name


def test_ogm_ge_noise_has_the_spread_of_the_unscaled_gradient():
    method, batch = method_of(Ogm), batch_of()
    names = weights(method, "red") + weights(method, "green")
    draws, logged = defaultdict(list), defaultdict(list)
    for i in range(300):
        method.zero_grad()
        found, raw = gradients(method, batch, context(step=i, logged=logged))
        for name in names:
            k = logged[f"coefficient/{name.split('.')[2]}"][0]
            draws[name].append((found[name] - k * raw[name]) / raw[name].std())
    for name in names:
        noise = torch.stack(draws[name])
        assert abs(noise.mean()) < 5 / math.sqrt(noise.numel()), name
        assert noise.std() == pytest.approx(1.0, abs=5 / math.sqrt(2 * noise.numel())), name
    red, green = (torch.stack(draws[weights(method, m)[0]]).flatten() for m in TWO)
    assert abs(torch.corrcoef(torch.stack([red, green]))[0, 1]) < 5 / math.sqrt(len(red))
    for name in found.keys() - set(names):
        assert torch.equal(found[name], raw[name]), name


def test_ogm_noise_scales_and_repeats_with_the_stream():
    batch = batch_of()
    once, _ = gradients(method_of(Ogm), batch, context(step=3))
    again, _ = gradients(method_of(Ogm), batch, context(step=3))
    assert same(once, again)
    later, _ = gradients(method_of(Ogm), batch, context(step=4))
    name = weights(method_of(Ogm), "red")[0]
    assert not torch.equal(once[name], later[name])
    plain, _ = gradients(method_of(Ogm, ge=False), batch, context(step=3))
    half, _ = gradients(method_of(Ogm, noise=0.5), batch, context(step=3))
    assert torch.allclose(half[name] - plain[name], 0.5 * (once[name] - plain[name]), atol=1e-6)


def test_ogm_treats_renamed_and_reordered_modalities_alike():
    ours, other = method_of(Ogm), method_of(Ogm, ("green", "red"))
    encoders = {m: copy.deepcopy(ours.net.encoders[m].state_dict()) for m in TWO}
    for m, state in encoders.items():
        other.net.encoders[m].load_state_dict(state)
    left, right = ours.net.fusion.head.weight.detach().split(WIDTH, dim=1)
    bias = ours.net.fusion.head.bias
    other.net.fusion.head.load_state_dict({"weight": torch.cat([right, left], 1), "bias": bias})
    batch, first, second = batch_of(), defaultdict(list), defaultdict(list)
    found, _ = gradients(ours, batch, context(logged=first))
    swapped, _ = gradients(other, batch, context(logged=second))
    for m in encoders:
        assert first[f"coefficient/{m}"] == pytest.approx(second[f"coefficient/{m}"])
        for name in weights(ours, m):
            assert torch.allclose(found[name], swapped[name], atol=1e-6)


def test_ogm_is_active_from_start_to_end_inclusive():
    active = []
    for epoch in range(10):
        logged = defaultdict(list)
        found, raw = gradients(
            method_of(Ogm, start=0.2, end=0.5), batch_of(), context(epoch=epoch, logged=logged)
        )
        if logged:
            active.append(epoch)
        else:
            assert same(found, raw)
    assert active == [2, 3, 4, 5]


def test_ogm_passes_over_frozen_encoders_and_takes_tensors_of_one_number():
    method = method_of(Ogm)
    method.net.encoders["red"].requires_grad_(False)
    found, _ = gradients(method, batch_of(), context())
    assert not any(name.startswith("net.encoders.red") for name in found)
    single = torch.nn.Parameter(torch.ones(1, 1))
    single.grad = torch.full((1, 1), 2.0)
    method.net.encoders["green"].register_parameter("single", single)
    (objective,) = method_of(Ogm).objectives(batch_of(), context())
    method.modulate(objective, context())
    assert single.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"end": 50.0}, "end is 50.0; admissible: a number from 0 to 1"),
        ({"start": 0.6}, "start 0.6 lies after end 0.5"),
        ({"start": -0.1}, "start is -0.1; admissible: a number from 0 to 1"),
    ],
)
def test_ogm_refuses_what_are_no_shares_in_order(options, words):
    spec = load_dataset("synthetic", {}).spec
    with pytest.raises(UserError, match=words):
        build_method(spec, {}, {"name": "concat"}, {"name": "ogm", **options}, 0)


# mla


def test_mla_second_forward_sees_the_first_update_and_nothing_else_moves():
    method, batch = method_of(Mla, variant="released"), batch_of()
    optimizer = optimizer_of(method)
    step(method, batch, context(), optimizer)
    frozen = {m: copy.deepcopy(method.net.encoders[m].state_dict()) for m in TWO}
    steps = stepping(method, batch, context(), optimizer)
    first = next(steps)
    assert list(first.output.features) == ["red"]
    assert all(p.grad is None for p in method.net.encoders["green"].parameters())
    head = method.head.weight.detach().clone()
    second = next(steps)
    assert same(method.net.encoders["green"].state_dict(), frozen["green"])
    moved = method.net.encoders["red"].state_dict()
    assert any(not torch.equal(value, moved[name]) for name, value in frozen["red"].items())
    assert list(second.output.features) == ["green"]
    z = method.net.encode(batch)["green"]
    assert torch.equal(second.output.fused, method.head(z))
    assert not torch.allclose(second.output.fused, z @ head.T + method.head.bias)


def by_hand_projection(features, dampings):
    """(I + sum r r' / damping)^-1 is what the recursion builds."""
    inverse = torch.eye(WIDTH, dtype=torch.float64)
    for r, damping in zip(features, dampings, strict=True):
        inverse += torch.outer(r.double(), r.double()) / damping
    return torch.linalg.inv(inverse)


def test_mla_projection_is_the_regularised_inverse_of_the_mean_features():
    features = [torch.rand(WIDTH) for _ in range(5)]
    projection = torch.eye(WIDTH)
    for r in features:
        projection = absorb(projection, r, 0.1)
    assert torch.equal(projection, projection.T)
    assert torch.allclose(projection.double(), by_hand_projection(features, [0.1] * 5), atol=1e-5)


def test_mla_projection_passes_no_absorbed_feature_as_damping_vanishes():
    features = [torch.rand(WIDTH, dtype=torch.float64) for _ in range(3)]
    projection = torch.eye(WIDTH, dtype=torch.float64)
    for r in features:
        projection = absorb(projection, r, 1e-9)
    for r in features:
        assert (projection @ r).norm() < 1e-6 * r.norm()
    gradient = torch.randn(CLASSES, WIDTH, dtype=torch.float64) @ projection
    assert (gradient @ features[0]).abs().max() < 1e-6
    assert projection.trace() == pytest.approx(WIDTH - 3, abs=1e-6)


def test_mla_projects_with_earlier_features_and_damps_by_the_epochs_progress():
    method, batches = method_of(Mla, rows=2 * ROWS, base=0.1), [batch_of(seed=s) for s in (1, 2)]
    method.on_epoch_start(context())
    optimizer, means, dampings = optimizer_of(method), [], []
    for i, batch in enumerate(batches):
        for objective in method.objectives(batch, context()):
            optimizer.zero_grad(set_to_none=True)
            objective.total.backward()
            raw = method.head.weight.grad.double().clone()
            bias = method.head.bias.grad.clone()
            method.modulate(objective, context())
            by_hand = raw @ by_hand_projection(means, dampings)
            assert torch.allclose(method.head.weight.grad.double(), by_hand, atol=1e-5)
            assert torch.equal(method.head.bias.grad, bias)
            (z,) = objective.output.features.values()
            means.append(z.detach().mean(0))
            dampings.append(0.1 ** (1 + i / 2))
            optimizer.step()
    assert torch.allclose(method.projection.double(), by_hand_projection(means, dampings), atol=1e-4)


def test_mla_counts_the_rows_seen_and_starts_each_epoch_anew():
    method, batches = method_of(Mla), [batch_of(), batch_of(rows=8)]
    method.on_epoch_start(context())
    for batch in batches:
        step(method, batch, context(), optimizer_of(method))
    assert int(method.seen) == ROWS + 8
    method.on_epoch_start(context(epoch=1))
    assert int(method.seen) == 0


def test_mla_released_is_plain_alternation():
    method, batch = method_of(Mla, variant="released"), batch_of()
    plain = copy.deepcopy(method)
    ours, theirs = optimizer_of(method), optimizer_of(plain)
    for _ in range(2):
        step(method, batch, context(), ours)
        for m in TWO:
            theirs.zero_grad(set_to_none=True)
            cross_entropy(plain.head(plain.net.encode(batch, [m])[m]), batch.target).backward()
            theirs.step()
    assert same(method.state_dict() | {"seen": 0 * method.seen}, plain.state_dict())


def test_mla_weighs_each_row_by_entropy():
    sure, unsure = [math.log(8.0), 0.0, 0.0], [0.0, 0.0, 0.0]
    logits = torch.tensor([[sure, unsure, sure], [unsure, sure, sure]])
    low = -(0.8 * math.log(0.8) + 0.2 * math.log(0.1))
    heavy = math.exp(math.log(3) - low) / (math.exp(math.log(3) - low) + 1)
    by_hand = torch.tensor([[heavy, 1 - heavy, 0.5], [1 - heavy, heavy, 0.5]])
    assert torch.allclose(entropy_weights(logits), by_hand, atol=1e-6)


def test_mla_predicts_a_row_alike_in_any_batch():
    method, batch = method_of(Mla), batch_of()
    few = Batch({m: x[:3] for m, x in batch.inputs.items()}, batch.target[:3], batch.index[:3])
    assert torch.allclose(method(few).fused, method(batch).fused[:3], atol=1e-6)


def test_mla_combines_by_entropy_or_equally():
    batch = batch_of()
    surest, equal = method_of(Mla), method_of(Mla, combine="mean")
    logits = torch.stack([surest.head(z) for z in surest.net.encode(batch).values()])
    first, second = entropy_weights(logits).unsqueeze(-1)
    assert torch.allclose(surest(batch).fused, first * logits[0] + second * logits[1])
    assert torch.allclose(equal(batch).fused, logits.mean(0))


def test_mla_projects_encoders_narrower_than_the_widest():
    data = load_dataset("synthetic", {"modalities": 3})
    encoders = {m: {"name": "mlp", "dim": d} for m, d in zip(data.spec.modalities, (4, 6, 6), strict=True)}
    method = build_method(data.spec, encoders, None, {"name": "mla"}, 0)
    assert method.net.dims == {"m0": 6, "m1": 6, "m2": 6}
    assert method.head.in_features == 6
    assert [tuple(p.shape) for p in method.net.encoders["m0"].project.parameters()] == [(6, 4)]
    assert not hasattr(method.net.encoders["m1"], "project")
    equal = build_method(data.spec, {"vector": {"name": "mlp", "dim": 6}}, None, {"name": "mla"}, 0)
    wide = {name: p for name, p in method.named_parameters() if "m0" not in name}
    assert same(wide, {name: p for name, p in equal.named_parameters() if "m0" not in name})


def test_mla_refuses_a_base_without_logarithm():
    with pytest.raises(UserError, match=r"base is 0.0; admissible: a number above 0"):
        entry("method", "mla").check({"base": 0.0})


def test_mla_resumes_from_its_state():
    method, batches = method_of(Mla), [batch_of(seed=s) for s in range(2)]
    method.on_epoch_start(context())
    for batch in batches:
        step(method, batch, context(), optimizer_of(method))
    resumed = method_of(Mla)
    resumed.load_state_dict(method.state_dict())
    for m in (method, resumed):
        m.on_epoch_start(context(epoch=1))
        step(m, batches[0], context(epoch=1), optimizer_of(m))
    assert same(method.state_dict(), resumed.state_dict())
