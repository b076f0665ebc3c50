"""CML: what is left out, which confidence counts, and that every row is held to the rule by itself."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.methods.cml import Cml, confidence
from sweeper.models.values import Batch, Output
from tests.models.cases import same
from tests.models.toys import (
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
)


@torch.no_grad()
def by_hand(method, batch, usable=None):
    """The mean hinge, row by row and modality by modality."""
    output, modalities, found = method(batch), list(method.net.encoders), 0.0
    for i in range(len(batch)):
        own = output.fused[i].softmax(-1).max()
        for m in modalities:
            if usable is not None and not usable[m][i]:
                continue
            zeroed = {k: z[i : i + 1] * (k != m) for k, z in output.features.items()}
            found += max(0.0, float(method.net.fuse(zeroed)[0].softmax(-1).max() - own))
    return found / (len(batch) * len(modalities))


def test_confidence_by_hand():
    logits = torch.tensor([[math.log(8.0), 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert confidence(logits).tolist() == pytest.approx([0.8, 1 / 3])


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_loss_is_the_fused_one_and_the_mean_rise_of_confidence(modalities):
    method, batch = method_of(Cml, modalities, lambda_cml=3.0), batch_of(modalities)
    (objective,) = method.objectives(batch, context())
    assert torch.equal(objective.loss["fused"], cross_entropy(method(batch).fused, batch.target))
    assert by_hand(method, batch) > 0
    assert float(objective.loss["calibration"].detach()) == pytest.approx(
        3 * by_hand(method, batch), rel=1e-4
    )


def test_a_linear_head_without_a_modality_is_its_split_taken_away():
    method, batch = method_of(Cml), batch_of()
    output = method(batch)
    left = {m: output.fused - x + method.net.fusion.head.bias / 2 for m, x in output.unimodal.items()}
    own = confidence(output.fused)
    expected = sum((confidence(x) - own).clamp_min(0) for x in left.values()) / 2
    assert torch.allclose(method.rise(output, batch), expected, atol=1e-6)


def test_a_row_whose_confidence_falls_does_not_make_up_for_another():
    """red and green agree in the first row and disagree in the second."""
    method = method_of(Cml)
    head = method.net.fusion.head
    with torch.no_grad():
        head.weight.zero_()[0, 0] = head.weight[1, WIDTH] = 1.0  # red votes for class 0, green for 1
        head.bias.zero_()
    features = {m: torch.zeros(2, WIDTH) for m in TWO}
    features["red"][:, 0] = 4.0
    features["green"][1, 0] = 4.0
    batch = Batch(features, torch.tensor([0, 0]), torch.arange(2))
    rise = method.rise(Output(features, method.net.fuse(features), method.net.fusion.unimodal), batch)
    e = math.exp(4.0)
    assert rise.detach().tolist() == pytest.approx([0.0, e / (e + 3) - e / (2 * e + 2)], abs=1e-6)


def test_the_hinge_makes_the_whole_surer_and_the_part_less_sure():
    method, batch = method_of(Cml, dtype=torch.float64, lambda_cml=1.0), batch_of(dtype=torch.float64)
    optimizer = optimizer_of(method)
    before = by_hand(method, batch)
    for _ in range(20):
        optimizer.zero_grad()
        method.rise(method(batch), batch).mean().backward()
        optimizer.step()
    assert by_hand(method, batch) < before / 2


def test_neutral_setting_is_joint_training_to_the_bit():
    found, joint = (
        gradients(cls, batch_of(), context())[0] for cls in (method_of(Cml, lambda_cml=0.0), method_of())
    )
    assert same(found, joint)


def test_what_a_row_lacks_or_has_alone_adds_nothing():
    present = {"red": torch.arange(ROWS) >= 6, "green": torch.arange(ROWS) % 4 > 0}
    batch = batch_of(THREE, present={**present, "blue": torch.arange(ROWS) >= 12})
    method = method_of(Cml, THREE)
    there = torch.stack(list(batch.present.values()))
    usable = dict(zip(THREE, there & (there.sum(0) >= 2), strict=True))
    assert (there.sum(0) == 1).any()
    assert (there.sum(0) == 0).any()
    found = method.rise(method(batch), batch)
    assert torch.equal(found[there.sum(0) < 2], torch.zeros(int((there.sum(0) < 2).sum())))
    assert float(found.detach().mean()) == pytest.approx(by_hand(method, batch, usable), rel=1e-4)


def test_rows_count_by_their_weight():
    method, batch = method_of(Cml, lambda_cml=2.0), batch_of()
    weighed = Batch(batch.inputs, batch.target, batch.index, weight=torch.arange(ROWS) / 10)
    found = method.loss(method(batch), weighed, context())
    expected = 2 * (method.rise(method(batch), batch) * weighed.weight).mean()
    assert torch.allclose(found["calibration"], expected)


def test_a_single_row_and_bf16_autocast_train():
    for rows, autocast in ((1, None), (ROWS, torch.autocast("cpu", torch.bfloat16))):
        method = method_of(Cml)
        step(method, batch_of(rows=rows), context(), optimizer_of(method), autocast=autocast)
        assert all(value.isfinite().all() for value in method.state_dict().values())
