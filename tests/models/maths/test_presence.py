"""Which rows have which modality, and features weighed or left out row by row."""

import pytest
import torch

from sweeper.models.maths.heads import Heads
from sweeper.models.maths.presence import kept_only, per_row, present_in, times
from sweeper.models.values import Batch

DIMS = {"left": 4, "right": 3}


def sample(rows=5):
    generator = torch.Generator().manual_seed(0)
    return {m: torch.randn(rows, d, generator=generator).double() for m, d in DIMS.items()}


def test_modalities_that_no_row_lacks_are_present_everywhere():
    own = torch.tensor([True, False, True])
    batch = Batch({}, torch.zeros(3), torch.arange(3), {"right": own})
    assert present_in(batch, DIMS).tolist() == [[True] * 3, own.tolist()]
    assert present_in(batch, ["right", "left"]).tolist() == [own.tolist(), [True] * 3]


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3, 4)])
def test_values_of_rows_are_broadcast_over_all_that_a_row_has(shape):
    like, values = torch.ones(shape, dtype=torch.bfloat16), torch.arange(5)
    found = per_row(values, like) * like
    assert found.dtype == torch.bfloat16
    for row, value in zip(found, values, strict=True):
        assert (row == value).all()


def test_every_row_is_multiplied_by_its_factor_of_each_modality():
    features, factors = sample(), torch.rand(5, 2).double()
    found = times(factors, features)
    torch.testing.assert_close(found["left"], factors[:, :1] * features["left"])
    torch.testing.assert_close(found["right"], factors[:, 1:] * features["right"])
    maps = {m: torch.randn(5, 2, 3, 3).double() for m in DIMS}
    torch.testing.assert_close(times(factors, maps)["left"][2], factors[2, 0] * maps["left"][2])


def test_modalities_that_are_not_kept_are_zeros_and_the_fusion_runs_once():
    features, calls = sample(), []

    def fuse(given):
        calls.append(len(given["left"]))
        return torch.cat(list(given.values()), 1)

    keep = torch.tensor([[1, 1], [1, 0], [0, 1]])
    found = kept_only(fuse, features, keep)
    assert calls == [15]
    assert found.shape == (3, 5, 7)
    for own, (left, right) in zip(found, keep.tolist(), strict=True):
        torch.testing.assert_close(own, torch.cat([left * features["left"], right * features["right"]], 1))


def test_heads_read_the_features_that_are_given_each_by_its_own():
    torch.manual_seed(0)
    heads, features = Heads(DIMS, 2).double(), sample()
    found = heads(features)
    assert list(found) == list(DIMS)
    for m, logits in found.items():
        torch.testing.assert_close(logits, features[m] @ heads[m].weight.T + heads[m].bias)
    (alone,) = heads({"right": features["right"]}).values()
    torch.testing.assert_close(alone, found["right"])
    assert list(heads(dict(reversed(features.items())))) == ["right", "left"]
    assert {name.split(".")[0] for name in heads.state_dict()} == set(DIMS)
