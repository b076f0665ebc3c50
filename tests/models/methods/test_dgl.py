"""DGL: which loss moves what, and through what the unimodal losses pass."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.fusions.gated import Gated
from sweeper.models.method import Method
from sweeper.models.methods.dgl import Dgl
from sweeper.models.tasks.classification import Classification
from tests.models.cases import SETTINGS, build, close, fit, synthetic
from tests.models.toys import (
    ONE,
    ROWS,
    THREE,
    TWO,
    batch_of,
    context,
    method_of,
    net_of,
    optimizer_of,
    spec_of,
    step,
)


def stepped(method, batch):
    """The gradients by name that the trainer steps by."""
    step(method, batch, context(), optimizer_of(method))
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def zeroed(features, m):
    return {j: z if j == m else torch.zeros_like(z) for j, z in features.items()}


def check_gradients(method, batch, alpha):
    """Encoders by the unimodal losses, through the fusion at its present weights; the fusion by the fused loss."""
    features = method.net.encode(batch)
    alone = [method.net.fuse(zeroed(features, m)) for m in features]
    unimodal = alpha * sum(cross_entropy(x, batch.target) for x in alone)
    encoders, fusion = (
        dict(method.net.encoders.named_parameters()),
        dict(method.net.fusion.named_parameters()),
    )
    by_hand = torch.autograd.grad(unimodal, list(encoders.values()), retain_graph=True)
    fused = cross_entropy(method.net.fuse(features), batch.target)
    by_hand += torch.autograd.grad(fused, list(fusion.values()))
    names = [f"net.encoders.{n}" for n in encoders] + [f"net.fusion.{n}" for n in fusion]
    found = stepped(method, batch)
    assert set(found) == set(names)
    for name, gradient in zip(names, by_hand, strict=True):
        assert torch.allclose(found[name], gradient, atol=1e-6), name


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_encoders_learn_from_the_unimodal_losses_and_the_head_from_the_fused_one(modalities):
    check_gradients(method_of(Dgl, modalities, alpha=3.0), batch_of(modalities), 3.0)


def test_a_fusion_that_does_not_split_is_trained_alike():
    spec = spec_of()
    check_gradients(Dgl(net_of(spec, fusion=Gated), Classification(spec)), batch_of(), 4.0)


def test_a_unimodal_loss_has_all_of_the_heads_bias():
    method, batch = method_of(Dgl, alpha=2.0), batch_of()
    method.net.fusion.head.bias.data.copy_(torch.tensor([3.0, 1.0, -1.0, 0.0]))
    (objective,) = method.objectives(batch, context())
    red, green = method.net.fusion.head.weight.split(8, 1)
    z, b = method.net.encode(batch), method.net.fusion.head.bias
    logits = [z["red"] @ red.T + b, z["green"] @ green.T + b]
    by_hand = 2 * sum(cross_entropy(x, batch.target) for x in logits)
    assert torch.allclose(objective.losses["unimodal"], by_hand)
    assert torch.allclose(objective.losses["fused"], cross_entropy(method.net.fuse(z), batch.target))


def test_a_row_that_lacks_a_modality_moves_that_encoder_by_nothing():
    there = torch.arange(ROWS) >= 10
    ours, other = method_of(Dgl), method_of(Dgl)
    batch, changed = batch_of(present={"red": there}), batch_of(present={"red": there})
    changed.inputs["red"][~there] = 9.0
    found, same = stepped(ours, batch), stepped(other, changed)
    for name, gradient in found.items():
        assert torch.equal(gradient, same[name]), name
    nowhere = stepped(method_of(Dgl), batch_of(present={"red": torch.zeros_like(there)}))
    assert not nowhere["net.encoders.red.body.1.weight"].any()


def test_one_modality_at_alpha_1_is_joint_training():
    data = synthetic(1)
    ours, joint = (
        build(named, data, dtype=torch.float64)
        for named in ({"name": "dgl", "alpha": 1.0}, {"name": "joint"})
    )
    fit(ours, data, SETTINGS)
    fit(joint, data, SETTINGS)
    assert close(dict(ours.named_parameters()), dict(joint.named_parameters()))


def test_alpha_is_of_the_encoders_alone():
    batch = batch_of()
    once, twice = (stepped(method_of(Dgl, ONE, alpha=a), batch_of(ONE)) for a in (1.0, 2.0))
    for name, gradient in once.items():
        factor = 2 if name.startswith("net.encoders.") else 1
        assert torch.allclose(twice[name], factor * gradient), name
    joint = stepped(method_of(Method), batch)
    assert not torch.allclose(
        stepped(method_of(Dgl, alpha=1.0), batch)["net.encoders.red.body.1.weight"],
        joint["net.encoders.red.body.1.weight"],
    )
