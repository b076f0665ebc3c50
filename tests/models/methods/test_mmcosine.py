"""MMCosine: logits that are cosines, and what does not move them."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from sweeper.models.methods.mmcosine import Mmcosine, cosines
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
)


def test_cosines_by_hand():
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    weight = torch.tensor([[1.0, 0.0], [0.0, -7.0], [0.6, 0.8]])
    by_hand = torch.tensor([[0.6, -0.8, 1.0], [0.0, -1.0, 0.8], [0.0, 0.0, 0.0]])
    assert torch.allclose(cosines(features, weight), by_hand, atol=1e-7)


@pytest.mark.parametrize("modalities", [("only",), TWO, THREE])
def test_the_fused_logits_are_the_sum_of_scaled_cosines_and_their_loss_is_minimised(modalities):
    method, batch = method_of(Mmcosine, modalities, s=7.0), batch_of(modalities)
    output = method(batch)
    by_hand = sum(
        7 * cosine_similarity(z.unsqueeze(1), method.heads[m].weight, dim=-1)
        for m, z in output.features.items()
    )
    assert torch.allclose(output.fused, by_hand, atol=1e-5)
    assert torch.allclose(output.fused, sum(output.unimodal.values()))
    assert all(tuple(x.shape) == (ROWS, CLASSES) for x in output.unimodal.values())
    (objective,) = method.objectives(batch, context())
    assert torch.allclose(objective.total, cross_entropy(by_hand, batch.target))


def test_training_and_evaluation_see_the_same_logits():
    method, batch = method_of(Mmcosine), batch_of()
    assert torch.equal(method.train()(batch).fused, method.eval()(batch).fused)


def test_neither_the_length_of_features_nor_that_of_weights_counts():
    method, batch = method_of(Mmcosine), batch_of()
    before = method(batch)
    with torch.no_grad():
        method.heads["red"].weight.mul_(torch.tensor([[0.1], [1.0], [5.0], [90.0]]))
    assert torch.allclose(method(batch).fused, before.fused, atol=1e-5)
    longer = method.read_out({"red": 40 * before.features["red"]})["red"]
    assert torch.allclose(longer, before.unimodal["red"], atol=1e-5)


def test_a_step_turns_weights_and_does_not_stretch_them():
    method, batch = method_of(Mmcosine, dtype=torch.float64), batch_of(dtype=torch.float64)
    found, _ = gradients(method, batch, context())
    for head in (f"heads.{m}.weight" for m in TWO):
        along = (found[head] * method.get_parameter(head)).sum(-1)
        assert found[head].abs().max() > 1e-3
        assert along.abs().max() < 1e-12


def test_logits_stay_within_the_scale():
    logits = method_of(Mmcosine, s=30.0)(batch_of()).unimodal["red"]
    assert logits.abs().max() <= 30 * (1 + 1e-6)
    assert logits.abs().max() > 10


def test_a_modality_that_a_row_lacks_adds_nothing_there():
    lacking = torch.arange(ROWS) < 5
    method, batch = method_of(Mmcosine), batch_of(present={"red": ~lacking})
    output = method(batch)
    assert torch.equal(output.unimodal["red"][lacking], torch.zeros(5, CLASSES))
    assert torch.equal(output.fused[lacking], output.unimodal["green"][lacking])
    assert (output.unimodal["red"][~lacking].abs().sum(-1) > 0).all()


def test_features_of_length_zero_take_no_gradient_and_give_no_nan():
    features = torch.zeros(2, WIDTH, requires_grad=True)
    cosines(features, torch.randn(CLASSES, WIDTH)).sum().backward()
    assert torch.equal(features.grad, torch.zeros(2, WIDTH))


def test_a_single_row_and_bf16_autocast_train():
    for rows, autocast in ((1, None), (ROWS, torch.autocast("cpu", torch.bfloat16))):
        method = method_of(Mmcosine)
        step(method, batch_of(rows=rows), context(), optimizer_of(method), autocast=autocast)
        assert all(value.isfinite().all() for value in method.state_dict().values())
