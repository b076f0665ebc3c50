"""Learning rates by modality: the ratios by hand, what they reach, and what they are measured against."""

from collections import defaultdict

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.fusions.sum import Sum
from sweeper.models.maths.eager import eager
from sweeper.models.method import Method
from sweeper.models.methods.mslr import UNKNOWN, Mslr, ratios
from sweeper.models.schema.entries import entry
from sweeper.models.tasks.classification import Classification
from tests.models.cases import build, fit, same, synthetic
from tests.models.toys import (
    ONE,
    SETTINGS,
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


@pytest.mark.parametrize(
    ("scores", "by_hand"),
    [
        ([0.2, 0.3, 0.4, 0.5, 0.6], 0.6 / 0.4),
        ([0.6, 0.6, 0.6, 0.6, 0.3], 0.3 / 0.54),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 1.0),
        ([UNKNOWN, 0.3, 0.4, 0.5, 0.6], 1.0),  # not full yet
        ([0.0, 0.0, 0.0, 0.0, 0.0], 1.0),
    ],
)
def test_a_ratio_is_the_last_score_over_the_mean_of_the_window(scores, by_hand):
    columns = torch.tensor([scores, [0.1] * 5], dtype=torch.float64).T
    assert ratios(columns).tolist() == pytest.approx([by_hand, 1.0], abs=1e-12)


def rates(method, logged=None):
    found = method.rates(context(logged=logged))
    assert all(found[f"net.encoders.{m}"] == found[f"heads.{m}"] for m in method.net.encoders)
    return [found[f"net.encoders.{m}"] for m in method.net.encoders]


def test_rates_follow_the_window_and_do_not_accumulate():
    method, found, logged = method_of(Mslr, window=3), [], defaultdict(list)
    for epoch, (red, green) in enumerate([(0.2, 0.5), (0.3, 0.5), (0.4, 0.5), (0.5, 0.4), (0.5, 0.3)]):
        found.append(rates(method, logged))
        method.on_epoch_end(context(epoch=epoch), {"accuracy/red": red, "accuracy/green": green})
    found.append(rates(method, logged))
    by_hand = [
        (1, 1),
        (1, 1),
        (1, 1),
        (0.4 / 0.3, 1),
        (0.5 / 0.4, 0.4 / (1.4 / 3)),
        (0.5 / (1.4 / 3), 0.3 / 0.4),
    ]
    for own, (red, green) in zip(found, by_hand, strict=True):
        assert own == pytest.approx([0.9 * red, 1.1 * green], rel=1e-6)
    assert logged["rate/green"] == [own[1] for own in found]


def test_keep_leaves_the_base_alone():
    method = method_of(Mslr, strategy="keep", base=[0.5, 3.0], window=1)
    method.on_epoch_end(context(), {"accuracy/red": 0.2, "accuracy/green": 0.9})
    assert rates(method) == [0.5, 3.0]


@pytest.mark.parametrize(("modalities", "base"), [(ONE, [1]), (TWO, [0.9, 1.1]), (THREE, [1, 1, 1])])
def test_the_base_of_two_modalities_is_the_published_one_and_else_one(modalities, base):
    assert rates(method_of(Mslr, modalities)) == base


def test_encoder_and_head_of_a_modality_move_at_its_rate():
    data = synthetic(train=32, validation=16, test=8)
    encoder = {"name": "mlp", "hidden": 16, "dim": 8}
    ours = build({"name": "mslr", "base": [0.5, 2.0], "strategy": "keep"}, data, fusion=None, encoder=encoder)
    twin = build({"name": "mslr"}, data, fusion=None, encoder=encoder)
    settings = SETTINGS.__class__(epochs=1, batch_size=32, lr=0.1, weight_decay=1e-2)
    fit(ours, data, settings)
    groups = [
        {"params": [*twin.net.encoders[m].parameters(), *twin.heads[m].parameters()], "lr": 0.1 * b}
        for m, b in (("m0", 0.5), ("m1", 2.0))
    ]
    optimizer = eager(torch.optim.SGD)(groups, lr=0.1, momentum=0.9, weight_decay=1e-2)
    x = {m: torch.as_tensor(values[data.rows["train"]]) for m, values in data.inputs.items()}
    logits = sum(twin.heads[m](twin.net.encoders[m](x[m], None, "pooled")) for m in x)
    cross_entropy(logits, torch.as_tensor(data.target[data.rows["train"]])).backward()
    optimizer.step()
    for name, value in twin.named_parameters():
        assert torch.allclose(ours.get_parameter(name), value, atol=1e-6), name


def test_ratios_of_one_are_joint_training_with_the_sum_to_the_bit():
    ours = method_of(Mslr, base=[1.0, 1.0], strategy="keep")
    spec = spec_of()
    joint = Method(net_of(spec, fusion=Sum), Classification(spec))
    joint.net.encoders.load_state_dict(ours.net.encoders.state_dict())
    joint.net.fusion.heads.load_state_dict(ours.heads.state_dict())
    for method in (ours, joint):
        optimizer = optimizer_of(method)
        for seed in range(4):
            step(method, batch_of(seed=seed), context(), optimizer)
    assert set(rates(ours)) == {1.0}
    assert same(ours.net.encoders.state_dict(), joint.net.encoders.state_dict())
    assert same(ours.heads.state_dict(), joint.net.fusion.heads.state_dict())


def test_the_window_is_remembered():
    method, resumed = method_of(Mslr, window=2), method_of(Mslr, window=2)
    for score in (0.2, 0.6):
        method.on_epoch_end(context(), {"accuracy/red": score, "accuracy/green": 0.5})
    resumed.load_state_dict(method.state_dict())
    assert rates(resumed) == rates(method) == pytest.approx([0.9 * 1.5, 1.1])


def test_a_modality_that_no_validation_row_has_keeps_its_base():
    method = method_of(Mslr, window=1)
    method.on_epoch_end(context(), {"accuracy/green": 0.5})
    assert rates(method) == [0.9, 1.1]


def test_what_is_no_ratio_for_each_modality_is_refused():
    with pytest.raises(UserError, match="base has 3 numbers; admissible: 2, one per modality"):
        build({"name": "mslr", "base": [1.0, 1.0, 1.0]}, synthetic(), fusion=None)
    with pytest.raises(UserError, match=r"base is .*; admissible: a list of a number above 0"):
        entry("method", "mslr").check({"base": [1.0, 0.0]})
