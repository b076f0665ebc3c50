"""Optimisers without torch's compiler do what torch's do."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from sweeper.models.training.optimizers import eager, fused_sgd

KINDS = {
    torch.optim.SGD: {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "foreach": True},
    torch.optim.Adam: {"lr": 0.01, "weight_decay": 1e-3, "fused": True},
    torch.optim.AdamW: {"lr": 0.01},
    torch.optim.LBFGS: {"lr": 0.5, "max_iter": 4, "line_search_fn": "strong_wolfe"},
}


def fitted(make: type[torch.optim.Optimizer], options: dict[str, object]) -> Tensor:
    """Return the weights after three steps, a stop, and three more."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 5, generator=generator), torch.randn(20, generator=generator)
    w = torch.zeros(5, requires_grad=True)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x @ w - y).square().mean()
        loss.backward()
        return loss

    optimizer = make([w], **options)
    for _ in range(3):
        optimizer.step(closure)
    state = optimizer.state_dict()
    optimizer = make([w], **options)
    optimizer.load_state_dict(state)
    for _ in range(3):
        optimizer.step(closure)
    return w.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_an_eager_optimizer_steps_as_torchs_own(kind):
    weights = fitted(eager(kind), KINDS[kind])
    assert weights.abs().sum() > 0
    assert torch.equal(weights, fitted(kind, KINDS[kind]))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_in_one_kernel_is_sgd_though_some_parameters_have_their_first_gradient_late(momentum):
    """As it runs on GPUs; on CPUs the same kernel exists."""
    found = []
    for make in (fused_sgd, lambda groups, **options: torch.optim.SGD(groups, **options)):
        generator = torch.Generator().manual_seed(0)
        early, late, never = (torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in range(3))
        groups = [{"params": [early, never]}, {"params": [late], "weight_decay": 0.0}]
        optimizer = make(groups, momentum=momentum, lr=0.1, weight_decay=0.1)
        for step in range(4):
            optimizer.zero_grad()
            for p in (early, late)[: 1 + step // 2]:
                p.grad = torch.randn(3, generator=generator, dtype=torch.float64)
            optimizer.step()
        found.append([early, late, never])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
    assert torch.equal(found[0][2], torch.ones(3, dtype=torch.float64))


def test_training_never_imports_the_compiler():
    script = """
import sys
from sweeper.models.training.build import build_method
from sweeper.models.data import load_dataset
from sweeper.models.training.settings import Settings
from sweeper.models.training.splits import splits_of
from sweeper.models.training.trainer import train
data = load_dataset("synthetic", {"train": 32, "validation": 16, "test": 16})
for method in ("joint", "rw", "lfm"):
    built = build_method(data.spec, {}, {"name": "concat"}, {"name": method}, 0)
    assert train(built, splits_of(data, built, 0), Settings(epochs=2), 0).curve
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
