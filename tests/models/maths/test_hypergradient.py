"""The hyper-gradient on quadratics, where everything has a closed form."""

import pytest
import torch
from torch import nn

from sweeper.models.maths import gradients
from sweeper.models.maths.hypergradient import cg, hypergradient, neumann

SIZE, ALPHA, LR = 6, 0.3, 0.1


class Quadratics:
    """L_cls and L_match are ½(θ - c)ᵀ A (θ - c); θ, in two tensors, is `theta` or the mixture's optimum."""

    def __init__(self, seed=0, theta=None):
        g = torch.Generator().manual_seed(seed)
        roots = torch.randn(2, SIZE, SIZE, generator=g, dtype=torch.float64)
        self.curvature = roots @ roots.mT / SIZE + 0.5 * torch.eye(SIZE)
        self.centre = torch.randn(2, SIZE, generator=g, dtype=torch.float64)
        start = self.optimum(ALPHA) if theta is None else theta
        self.parameters = [start[:4].reshape(2, 2).clone(), start[4:].clone()]
        for p in self.parameters:
            p.requires_grad_()

    def loss(self, which, theta=None):
        away = (gradients.flat(self.parameters) if theta is None else theta) - self.centre[which]
        return away @ self.curvature[which] @ away / 2

    def inner(self):
        return self.loss(0), self.loss(1)

    def outer(self):
        yield self.loss(0), 3
        yield self.loss(0), 1

    def hessian(self, alpha=ALPHA):
        return (1 - alpha) * self.curvature[0] + alpha * self.curvature[1]

    def optimum(self, alpha):
        pull = (1 - alpha) * self.curvature[0] @ self.centre[0] + alpha * self.curvature[1] @ self.centre[1]
        return torch.linalg.solve(self.hessian(alpha), pull)

    def grads(self):
        theta = gradients.flat(self.parameters).detach()
        return [self.curvature[k] @ (theta - self.centre[k]) for k in (0, 1)]

    def solve(self, solver, **options):
        return hypergradient(self.inner, self.outer, self.parameters, ALPHA, solver=solver, **options).item()

    def exact(self, damping=0.0):
        classification, match = self.grads()
        inverse = torch.linalg.solve(self.hessian() + damping * torch.eye(SIZE), classification)
        return -((match - classification) @ inverse).item()


@pytest.fixture(params=[0, 1])
def problem(request):
    return Quadratics(request.param)


@pytest.fixture
def elsewhere():
    return Quadratics(theta=torch.linspace(-1, 1, SIZE, dtype=torch.float64))


def test_solvers_reach_the_derivative_of_the_optimum(problem):
    h = 1e-5
    ahead, behind = (problem.loss(0, problem.optimum(ALPHA + s)).item() for s in (h, -h))
    true = (ahead - behind) / (2 * h)
    assert problem.exact() == pytest.approx(true, rel=1e-7)
    assert problem.solve("cg", steps=50, damping=0.0) == pytest.approx(true, rel=1e-5)
    assert problem.solve("neumann", steps=2000, lr=LR) == pytest.approx(true, rel=1e-5)


def test_identity_is_the_printed_closed_form(elsewhere):
    classification, match = elsewhere.grads()
    expected = LR * (classification @ classification - match @ classification)
    assert elsewhere.solve("identity", lr=LR) == pytest.approx(expected.item(), rel=1e-12)


def test_neumann_sums_the_terms_0_to_k(elsewhere):
    classification, match = elsewhere.grads()
    step = torch.eye(SIZE) - LR * elsewhere.hessian()
    v = LR * sum(torch.linalg.matrix_power(step, k) @ classification for k in range(6))
    expected = -((match - classification) @ v).item()
    assert elsewhere.solve("neumann", steps=5, lr=LR) == pytest.approx(expected, rel=1e-12)
    assert elsewhere.solve("neumann", steps=0, lr=LR) == elsewhere.solve("identity", lr=LR)


@pytest.mark.parametrize("damping", [0.01, 1.0])
def test_cg_is_the_damped_dense_solve(elsewhere, damping):
    found = elsewhere.solve("cg", steps=50, damping=damping)
    assert found == pytest.approx(elsewhere.exact(damping), rel=1e-5)


def test_cg_stops_at_non_positive_curvature():
    target = torch.tensor([1.0, 2.0], dtype=torch.float64)
    concave = -torch.eye(2, dtype=torch.float64)
    assert torch.equal(cg(concave.mv, target, 0.0, 10), target)
    saddle = torch.diag(torch.tensor([1.0, -0.2], dtype=torch.float64))
    first = target @ target / (target @ saddle @ target) * target
    assert torch.allclose(cg(saddle.mv, target, 0.0, 10), first)
    damped = torch.linalg.solve(saddle + 2 * torch.eye(2), target)
    assert torch.allclose(cg(saddle.mv, target, 2.0, 10), damped)


def test_cg_stops_at_its_tolerance():
    calls = []
    x = cg(lambda v: calls.append(1) or 2 * v, torch.ones(3), 0.0, 50)
    assert torch.equal(x, torch.full((3,), 0.5))
    assert len(calls) == 1
    assert cg(lambda v: v, torch.zeros(3), 0.0, 50).eq(0).all()


def test_neumann_diverges_beyond_its_step_size():
    assert neumann(lambda v: 3 * v, torch.ones(1), 1.0, 50).abs() > 1e6


def test_finite_difference_follows_one_virtual_step(elsewhere):
    classification, match = elsewhere.grads()
    delta = match - classification
    before = [p.detach().clone() for p in elsewhere.parameters]
    moved = gradients.flat(before) - LR * (classification + ALPHA * delta)
    expected = -LR * delta @ elsewhere.curvature[0] @ (moved - elsewhere.centre[0])
    assert elsewhere.solve("finite_difference", lr=LR) == pytest.approx(expected.item(), rel=1e-8)
    assert all(torch.equal(p, old) for p, old in zip(elsewhere.parameters, before, strict=True))


def test_finite_difference_restores_the_parameters_when_the_loss_fails(elsewhere):
    before = gradients.flat(elsewhere.parameters).detach().clone()
    loss, calls = elsewhere.outer, []

    def failing():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("no more")
        return loss()

    elsewhere.outer = failing
    with pytest.raises(RuntimeError, match="no more"):
        elsewhere.solve("finite_difference")
    assert torch.equal(gradients.flat(elsewhere.parameters), before)


def test_released_is_the_mean_of_the_first_tensors_hessian_vector_product(elsewhere):
    product = elsewhere.hessian() @ elsewhere.grads()[0]
    assert elsewhere.solve("released") == pytest.approx(product[:4].mean().item(), rel=1e-12)


@pytest.mark.parametrize("solver", ["identity", "neumann", "cg"])
def test_normalised_is_minus_a_cosine_whatever_the_scale(elsewhere, solver):
    options = {"solver": solver, "steps": 3, "normalize": True}
    value = elsewhere.solve(**options)
    assert -1 <= value <= 1
    if solver == "identity":
        classification, match = elsewhere.grads()
        cosine = torch.cosine_similarity(match - classification, classification, dim=0)
        assert value == pytest.approx(-cosine.item(), rel=1e-9)
        assert elsewhere.solve(**options, lr=7.0) == pytest.approx(value, rel=1e-9)


def test_outer_batches_count_by_their_rows(problem):
    problem.outer = lambda: iter([(problem.loss(0), 3), (problem.loss(1), 1)])
    mixed = problem.solve("identity")
    problem.outer = lambda: iter([(0.75 * problem.loss(0) + 0.25 * problem.loss(1), 4)])
    assert mixed == pytest.approx(problem.solve("identity"), rel=1e-12)


def test_a_loss_without_a_parameter_has_zero_gradient():
    a, b = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    assert [g.tolist() for g in gradients.of(a.sum(), [a, b])] == [[1, 1], [0, 0, 0]]
    assert [g.tolist() for g in gradients.of(torch.tensor(1.0), [a])] == [[0, 0]]
    assert gradients.hvp((a.sum() * 2), [a, b])(torch.ones(5)).tolist() == [0] * 5


def test_attention_has_second_derivatives_where_asked_for():
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x, parameters = torch.randn(2, 3, 4), list(layer.parameters())
    with gradients.twice_differentiable():
        loss = layer(x, x, x, need_weights=False)[0].square().sum()
        product = gradients.hvp(loss, parameters)(torch.ones(sum(p.numel() for p in parameters)))
    assert product.isfinite().all()
    assert product.ne(0).any()
