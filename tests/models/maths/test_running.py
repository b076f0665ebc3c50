"""Running means and batch norm over rows that may be absent."""

import pytest
import torch
from torch import nn

from sweeper.models.maths.running import BatchNorm, RunningMean


def rows(n=12, width=3, seed=0):
    return 2 + 3 * torch.randn(n, width, generator=torch.Generator().manual_seed(seed)).double()


def there(n=12):
    return torch.arange(n) % 3 > 0


def test_a_running_mean_is_that_of_all_counted_rows_where_nothing_fades():
    mean, (one, other) = RunningMean(3, momentum=1.0).double(), (rows(5), rows(9, seed=1))
    assert mean.mean.tolist() == [0, 0, 0]
    mean.update(one, torch.ones(5, 1))
    mean.update(other, there(9).unsqueeze(-1))
    torch.testing.assert_close(mean.mean, torch.cat([one, other[there(9)]]).mean(0))


def test_earlier_batches_fade_by_their_rows():
    mean = RunningMean(momentum=0.5).double()
    mean.update(torch.tensor([4.0, 8.0]), torch.ones(2))
    mean.update(torch.tensor([1.0]), torch.ones(1))
    assert mean.mean.item() == pytest.approx((0.5 * 12 + 1) / (0.5 * 2 + 1))


def test_each_entry_counts_its_own_rows():
    mean = RunningMean(2, momentum=1.0)
    mean.update(torch.tensor([[1.0, 10.0], [3.0, 20.0]]), torch.tensor([[True, False], [True, True]]))
    assert mean.mean.tolist() == [2, 20]
    mean.update(torch.full((4, 2), 9.0), torch.zeros(4, 2, dtype=torch.bool))
    assert mean.mean.tolist() == [2, 20]


def test_a_running_mean_is_part_of_the_state_and_takes_no_gradient():
    mean, fresh = RunningMean(3, momentum=0.9).double(), RunningMean(3, momentum=0.9).double()
    mean.update(rows().requires_grad_(), there().unsqueeze(-1))
    fresh.load_state_dict(mean.state_dict())
    assert torch.equal(fresh.mean, mean.mean)
    assert not mean.mean.requires_grad


def pair(width=3):
    """Ours and torch's, with the same weights."""
    torch.manual_seed(0)
    ours, theirs = BatchNorm(width).double(), nn.BatchNorm1d(width).double()
    for own, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        own.data = torch.randn(width).double()
        other.data = own.data.clone()
    return ours, theirs


@pytest.mark.parametrize("present", [torch.ones(12, dtype=torch.bool), there()], ids=["all", "some"])
def test_batch_norm_is_torchs_on_the_rows_that_are_present(present):
    ours, theirs = pair()
    for seed in (0, 1):
        x = rows(seed=seed)
        x[~present] = 1e6
        own, other = x.clone().requires_grad_(), x[present].clone().requires_grad_()
        found, expected = ours(own, present), theirs(other)
        torch.testing.assert_close(found[present], expected)
        found[present].square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(own.grad[present], other.grad)
        assert not own.grad[~present].any()
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(rows(seed=2), there()), theirs(rows(seed=2)))


@pytest.mark.parametrize("number", [0, 1])
def test_with_fewer_than_two_rows_the_running_statistics_are_used_and_left(number):
    ours, _ = pair()
    ours(rows(), there())
    before = ours.mean.clone(), ours.variance.clone()
    x = rows(4, seed=3)
    found = ours(x, torch.arange(4) < number)
    assert torch.equal(found, ours.eval()(x, torch.arange(4) < number))
    assert torch.equal(ours.mean, before[0])
    assert torch.equal(ours.variance, before[1])


def test_evaluation_changes_no_statistics():
    ours, _ = pair()
    ours.eval()(rows(), there())
    assert not ours.mean.any()
    assert (ours.variance == 1).all()
