"""Diagonal Gaussians: closed forms, gradients, and draws that do not depend on the number of ranks."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sweeper.models.maths import gaussian


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kl_golden():
    mean, std = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 1.0]])
    assert gaussian.kl(mean, 2 * std.log(), 4.0).item() == pytest.approx(0.4431472, abs=1e-6)


def test_kl_is_that_of_the_library_row_by_row():
    mean, log_variance, prior = rows(5, 3), rows(5, 3, seed=1), rows(5, seed=2).exp()
    wide = Normal(torch.zeros(5, 3, dtype=torch.float64), prior.sqrt().unsqueeze(-1).expand(5, 3))
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), wide).sum(-1)
    assert torch.allclose(gaussian.kl(mean, log_variance, prior), expected)


def test_kl_vanishes_at_the_prior_only():
    zero = torch.zeros(2, 3)
    assert torch.equal(gaussian.kl(zero, zero), torch.zeros(2))
    assert (gaussian.kl(zero + 0.1, zero) > 0).all()
    assert (gaussian.kl(zero, zero - 0.1) > 0).all()


def test_the_standard_deviation_is_the_softplus():
    raw = torch.linspace(-9, 9, 7)
    std = (gaussian.log_variance(raw) / 2).exp()
    assert torch.allclose(std, torch.nn.functional.softplus(raw))


def test_the_log_variance_is_finite_far_from_where_it_was_trained():
    raw = torch.tensor([-1e4, 1e4], requires_grad=True)
    found = gaussian.log_variance(raw)
    found.sum().backward()
    assert found.isfinite().all()
    assert raw.grad.isfinite().all()
    assert found[1].exp().item() == pytest.approx(1e8, rel=1e-3)


def test_a_sample_has_the_mean_and_the_variance_and_passes_gradients_to_both():
    mean = torch.tensor([[1.0, -2.0]], requires_grad=True)
    log_variance = torch.tensor([[0.0, 1.0]], requires_grad=True)
    drawn = gaussian.sample(mean, log_variance, torch.randn(20_000, 2, generator=torch.manual_seed(0)))
    assert torch.allclose(drawn.mean(0), mean[0], atol=0.05)
    assert torch.allclose(drawn.var(0), log_variance[0].exp(), atol=0.1)
    drawn.square().mean(0).sum().backward()
    assert torch.allclose(mean.grad, 2 * mean, atol=0.1)
    assert torch.allclose(log_variance.grad, log_variance.exp(), atol=0.1)


def test_log_mean_variance_is_what_it_says():
    log_variance = rows(4, 6)
    assert torch.allclose(gaussian.log_mean_variance(log_variance), log_variance.exp().mean(-1).log())


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_parts_of_a_global_batch_draw_what_the_whole_draws(shape):
    like = torch.zeros(7, *shape)

    def draw(part, start):
        return gaussian.normal(part, torch.Generator().manual_seed(1), 7, start)

    whole = draw(like, 0)
    assert torch.equal(torch.cat([draw(like[:4], 0), draw(like[4:], 4)]), whole)
    assert len(whole.unique()) == whole.numel()


def test_draws_take_the_type_of_what_they_are_for():
    like = torch.zeros(2, 3, dtype=torch.float64)
    assert gaussian.normal(like, torch.Generator(), 2, 0).dtype == torch.float64
