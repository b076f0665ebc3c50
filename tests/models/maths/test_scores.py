import math

import torch
from torch import tensor

from sweeper.models.maths.scores import mean_where, true_class


def test_the_probability_of_the_true_class_by_hand():
    logits = tensor([[[math.log(3.0), 0.0], [0.0, 0.0]], [[0.0, math.log(3.0)], [0.0, math.log(7.0)]]])
    found = true_class(logits, tensor([0, 1]))
    assert torch.allclose(found, tensor([[0.75, 0.5], [0.25, 0.875]]))
    assert true_class(logits.bfloat16(), tensor([0, 1])).dtype == torch.float32


def test_a_mean_is_over_the_rows_that_count():
    values = tensor([[1.0, 2.0, 6.0], [5.0, math.nan, 7.0], [math.nan, math.nan, math.nan]])
    counted = tensor([[True, True, True], [True, False, True], [False, False, False]])
    assert mean_where(values, counted).tolist() == [3.0, 6.0, 4.5]  # the last is neither ahead nor behind
    assert mean_where(values, torch.zeros_like(counted)).tolist() == [0.0, 0.0, 0.0]
