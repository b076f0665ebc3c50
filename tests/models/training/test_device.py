"""What changes how a net is computed on a GPU changes nothing of what it computes, tried on a CPU by its parts."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sweeper.models.training.device import compile_parts, lay_channels_last, place
from tests.models.cases import CASES, SETTINGS, VARIANTS, Case, build, close, fit, same, synthetic

IMAGES = synthetic(kind="image", dim=12, train=48, validation=16, test=8)
CONVNET = {"name": "convnet", "width": 4, "layers": 2, "dim": 8, "norm": "batch"}


def convolutions(module):
    return [p for p in module.parameters() if p.dim() == 4]


def on_images():
    return build({"name": "uniform"}, IMAGES, dtype=torch.float64, encoder=CONVNET)


def test_on_a_cpu_nothing_changes():
    method, twin = on_images(), on_images()
    place(method, "cpu", channels_last=True, compile=True)
    assert all(p.is_contiguous() for p in convolutions(method))
    fit(method, IMAGES)
    fit(twin, IMAGES)
    assert same(method.state_dict(), twin.state_dict())


def test_channels_last_gives_the_same_weights():
    method, twin = on_images(), on_images()
    lay_channels_last(method)
    fit(method, IMAGES)
    fit(twin, IMAGES)
    assert close(method.state_dict(), twin.state_dict())
    assert len(convolutions(method)) == 4
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions(method))


@pytest.fixture
def compiler():
    """The compiler's counters, from 0; its settings are put back."""
    import torch._dynamo as compiler
    from torch._dynamo.utils import counters
    from torch._functorch import config as gradients

    compiler.reset()
    counters.clear()
    with compiler.config.patch(recompile_limit=8), gradients.patch(donated_buffer=True):
        yield counters


# methods that differentiate twice, and several losses of one pass, are among them
EVERY = [*(c for c in CASES if c.learns), *(c for c in VARIANTS if c.options.get("solver") == "cg")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # which the compiler looks at
@pytest.mark.parametrize("case", EVERY, ids=lambda c: "-".join(map(str, [c.method, *c.options.values()])))
def test_compiled_encoders_and_fusion_give_the_same_weights(case: Case, compiler):
    data = synthetic(3)
    method, twin = (build(case.named, data, fusion=case.fuses_by, dtype=torch.float64) for _ in range(2))
    compile_parts(method.net, "aot_eager")
    assert method.state_dict().keys() == twin.state_dict().keys()
    settings = dataclasses.replace(SETTINGS, epochs=2, batch_size=40)
    fit(method, data, settings)
    fit(twin, data, settings)
    assert compiler["stats"]["unique_graphs"] >= len(method.net.encoders)
    assert close(method.state_dict(), twin.state_dict(), 1e-10)
