"""Synchronised batch norm against torch's own on the rows of all ranks, layer by layer; runs are in test_ranks.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from sweeper.models import parallel
from sweeper.models.errors import UserError
from sweeper.models.training.batch_norm import synchronise
from tests.models.cases import same
from tests.models.ranks import on_two_ranks


@dataclass(frozen=True)
class Layer:
    """A batch norm of `shape` values a row, made twice from the same seed: on all rows, and on `first` and the rest."""

    kind: type[nn.Module]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    first: int = 6
    dtype: torch.dtype = torch.float64

    def trained(self, rows: slice = slice(None), *, synchronised: bool = False) -> dict[str, torch.Tensor]:
        """Return what two steps on some of 9 rows give: outputs, gradients by inputs and parameters, the state."""
        torch.manual_seed(0)
        precise = torch.promote_types(self.dtype, torch.float32)  # as autocast leaves the parameters
        net = nn.Sequential(self.kind(self.shape[0], dtype=precise, **self.options))
        for p in net.parameters():
            nn.init.normal_(p)
        if synchronised:
            synchronise(net)
        found = {}
        for step in range(2):
            x = 3 + 2 * torch.randn(9, *self.shape, dtype=torch.float64)
            x, wanted = x.to(self.dtype).requires_grad_(), torch.randn_like(x).to(self.dtype)
            out = net(x[rows])
            (out * wanted[rows]).sum().backward()
            found |= {f"out {step}": out.detach(), f"x {step}": x.grad[rows]}
        found |= {f"grad {name}": p.grad for name, p in net.named_parameters()}
        return found | {f"state {name}": value.clone() for name, value in net.state_dict().items()}


LAYERS = {
    "1d": Layer(nn.BatchNorm1d, (4,)),
    "1d in time": Layer(nn.BatchNorm1d, (4, 5)),
    "2d": Layer(nn.BatchNorm2d, (4, 3, 2)),
    "3d": Layer(nn.BatchNorm3d, (4, 2, 3, 2)),
    "a row on one rank": Layer(nn.BatchNorm1d, (4,), first=8),
    "no row on one rank": Layer(nn.BatchNorm2d, (4, 3, 2), first=9),
    "a plain mean of all batches": Layer(nn.BatchNorm2d, (4, 3, 2), {"momentum": None}),
    "no weights": Layer(nn.BatchNorm2d, (4, 3, 2), {"affine": False}),
    "no bias": Layer(nn.BatchNorm2d, (4, 3, 2), {"bias": False}),
    "no running statistics": Layer(nn.BatchNorm1d, (4,), {"track_running_stats": False}),
    "half precision": Layer(nn.BatchNorm2d, (4, 3, 2), dtype=torch.bfloat16),
}


def parts() -> dict[str, dict[str, torch.Tensor]]:
    found = {}
    for name, layer in LAYERS.items():
        rows = [slice(layer.first), slice(layer.first, None)][parallel.rank()]
        found[name] = layer.trained(rows, synchronised=True)
    return found


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return on_two_ranks(parts, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", LAYERS)
def test_two_ranks_normalise_as_one(two_ranks, name):
    layer, (one, other) = LAYERS[name], (found[name] for found in two_ranks)
    within = 1e-12 if layer.dtype == torch.float64 else 0.05
    for what, value in layer.trained().items():
        if what.startswith(("out", "x")):
            ours = torch.cat([one[what], other[what]])
        elif what.startswith("grad"):
            ours = one[what] + other[what]  # as the ranks' gradients are
        else:
            ours = one[what]
            assert torch.equal(ours, other[what]), what
        assert ours.dtype == value.dtype
        assert torch.allclose(ours, value, rtol=within, atol=within), what


@pytest.mark.parametrize("name", LAYERS)
def test_one_rank_normalises_as_torch_does_to_the_bit(name):
    assert same(LAYERS[name].trained(synchronised=True), LAYERS[name].trained())


def test_in_evaluation_mode_and_in_what_it_is_called_nothing_changes():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    net(torch.randn(5, 3))
    net.eval()
    x, before = torch.randn(1, 3), {k: v.clone() for k, v in net.state_dict().items()}
    expected, parameters = net(x), list(net.parameters())
    synchronise(net)
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert torch.equal(net(x), expected)
    assert same(net.state_dict(), before)
    assert isinstance(net[1], nn.BatchNorm1d)
    synchronise(net)  # again
    net[1] = nn.BatchNorm1d(4)
    net.load_state_dict(before)


def test_another_batch_norm_than_torchs_own_is_refused():
    with pytest.raises(UserError) as told:
        synchronise(nn.Sequential(nn.SyncBatchNorm(4)))
    assert str(told.value) == (
        "train.batch_norm is 'synchronised', but the net has a SyncBatchNorm;"
        " admissible: BatchNorm1d, BatchNorm2d, BatchNorm3d"
    )
