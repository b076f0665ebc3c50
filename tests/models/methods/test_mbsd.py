"""MBSD: who teaches whom in a row, how much the row weighs, and that only students move."""

import math
from collections import defaultdict
from itertools import combinations

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.methods.mbsd import Mbsd, distillation
from sweeper.models.values import Batch
from tests.models.toys import (
    ROWS,
    THREE,
    TWO,
    batch_of,
    context,
    method_of,
    optimizer_of,
    step,
)

LOG8 = math.log(8.0)  # with two zeros: probabilities 0.8, 0.1, 0.1


def everywhere(logits):
    return torch.ones(logits.shape[:2], dtype=torch.bool)


def test_a_row_by_hand():
    logits = torch.tensor([[[LOG8, 0.0, 0.0]], [[0.0, 0.0, 0.0]]])
    found, teaches = distillation(logits, torch.tensor([0]), everywhere(logits))
    square, divergence = LOG8**2 / 3, 0.8 * math.log(2.4) + 0.2 * math.log(0.3)
    assert found.tolist() == pytest.approx([(0.8 - 1 / 3) * (square + divergence)], rel=1e-5)
    assert teaches.tolist() == [[True], [False]]


def test_who_teaches_whom_in_a_row():
    red = torch.tensor([[LOG8, 0.0, 0.0], [0.0, LOG8, 0.0], [0.0, 0.0, LOG8], [LOG8, 0.0, 0.0]])
    green = torch.tensor([[0.0, LOG8, 0.0], [LOG8, 0.0, 0.0], [0.0, LOG8, 0.0], [LOG8, 0.0, 0.0]])
    logits = torch.stack([red, green])
    found, teaches = distillation(logits, torch.zeros(4, dtype=torch.long), everywhere(logits))
    # only red is right; only green is; neither; both alike
    assert teaches.tolist() == [[True, False, False, False], [False, True, False, False]]
    assert (found > 0).tolist() == [True, True, False, False]


def test_two_that_are_right_are_told_apart_by_how_sure_they_are():
    logits = torch.tensor([[[1.0, 0.0, 0.0]], [[LOG8, 0.0, 0.0]]])
    found, teaches = distillation(logits, torch.tensor([0]), everywhere(logits))
    assert teaches.tolist() == [[False], [True]]
    assert found > 0


def test_only_the_student_takes_gradient_and_moves_towards_the_teacher():
    logits = torch.tensor([[[LOG8, 0.0, 0.0]], [[0.0, 0.0, 0.0]]], requires_grad=True)
    distillation(logits, torch.tensor([0]), everywhere(logits))[0].sum().backward()
    assert torch.equal(logits.grad[0], torch.zeros(1, 3))
    # the square's gradient, and that of the divergence: the student's probabilities less the teacher's
    square, divergence = -2 * LOG8 / 3, 1 / 3 - 0.8
    assert float(logits.grad[1, 0, 0]) == pytest.approx((0.8 - 1 / 3) * (square + divergence), rel=1e-5)


def test_more_modalities_average_over_all_pairs():
    logits = torch.randn(4, ROWS, 3, generator=torch.Generator().manual_seed(0))
    target = torch.arange(ROWS) % 3
    pairs = [
        distillation(logits[[a, b]], target, everywhere(logits[:2]))[0] for a, b in combinations(range(4), 2)
    ]
    found, _ = distillation(logits, target, everywhere(logits))
    assert torch.allclose(found, torch.stack(pairs).mean(0), atol=1e-6)


def test_an_absent_modality_neither_teaches_nor_is_taught():
    logits = torch.tensor([[[LOG8, 0.0, 0.0]] * 3, [[0.0, 0.0, 0.0]] * 3], requires_grad=True)
    present = torch.tensor([[True, False, True], [True, True, False]])
    found, teaches = distillation(logits, torch.zeros(3, dtype=torch.long), present)
    assert (found > 0).tolist() == [True, False, False]
    assert teaches.tolist() == [[True, False, False], [False, False, False]]
    found.sum().backward()
    assert torch.equal(logits.grad[:, 1:], torch.zeros(2, 2, 3))


@pytest.mark.parametrize("modalities", [TWO, THREE])
def test_the_losses_are_the_fused_the_unimodal_and_the_weighted_distillation(modalities):
    method, batch, logged = method_of(Mbsd, modalities, distil=0.5), batch_of(modalities), defaultdict(list)
    output = method(batch)
    losses = method.loss(output, batch, context(logged=logged))
    assert torch.equal(losses["fused"], cross_entropy(output.fused, batch.target))
    for m, x in output.unimodal.items():
        assert torch.allclose(losses[f"unimodal/{m}"], cross_entropy(x, batch.target))
    stacked = torch.stack(list(output.unimodal.values()))
    found, teaches = distillation(stacked, batch.target, everywhere(stacked))
    assert torch.allclose(losses["distillation"], 0.5 * found.mean())
    shares = [logged[f"teaches/{m}"][0] for m in modalities]
    assert shares == pytest.approx(teaches.float().mean(1).tolist())
    assert sum(shares) > 0


def test_without_distillation_the_fused_and_the_unimodal_losses_are_left():
    method, batch = method_of(Mbsd, distil=0.0), batch_of()
    losses = method.loss(method(batch), batch, context())
    assert list(losses) == ["fused", "unimodal/red", "unimodal/green"]


def test_rows_without_a_modality_do_not_train_its_logits():
    there = torch.arange(ROWS) >= 8
    method, batch = method_of(Mbsd, distil=0.0), batch_of(present={"red": there})
    output = method(batch)
    losses = method.loss(output, batch, context())
    own = cross_entropy(output.unimodal["red"][there], batch.target[there]) * there.float().mean()
    assert torch.allclose(losses["unimodal/red"], own)


def test_rows_count_by_their_weight():
    method, batch = method_of(Mbsd), batch_of()
    weighed = Batch(batch.inputs, batch.target, batch.index, weight=torch.arange(ROWS) % 2.0)
    odd = Batch({m: x[1::2] for m, x in batch.inputs.items()}, batch.target[1::2], batch.index[1::2])
    half = method.loss(method(odd), odd, context())
    for name, value in method.loss(method(weighed), weighed, context()).items():
        assert torch.allclose(value, half[name] / 2), name


def test_a_single_row_and_bf16_autocast_train():
    for rows, autocast in ((1, None), (ROWS, torch.autocast("cpu", torch.bfloat16))):
        method = method_of(Mbsd)
        step(method, batch_of(rows=rows), context(), optimizer_of(method), autocast=autocast)
        assert all(value.isfinite().all() for value in method.state_dict().values())
