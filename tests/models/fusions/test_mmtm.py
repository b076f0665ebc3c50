"""Gates across modalities: golden numbers, frames, stages, and encoders without maps."""

import dataclasses

import pytest
import torch

from sweeper.models.fusions.mmtm import Mmtm
from tests.models.cases import SETTINGS, build, fit, synthetic


def golden(*shape, s):
    """The specification's inputs: sin(0.7 i + s) in row-major order."""
    count = torch.tensor(shape).prod().item()
    return torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + s).view(shape)


def mmtm(*stages, **options):
    """Return the fusion over stages {m: channels}, its parameters filled as the specification's."""
    by_modality = {m: {f"stage{k}": own[m] for k, own in enumerate(stages)} for m in stages[0]}
    fuse = Mmtm(dict(stages[-1]), 3, stages=by_modality, **options).double()
    with torch.no_grad():
        for k, p in enumerate(fuse.parameters()):
            p.copy_(0.5 * golden(*p.shape, s=k))
    return fuse


def test_the_published_programs_numbers():
    fuse = mmtm({"visual": 4, "skeleton": 6})
    maps = {"visual": golden(2, 4, 3, 3, s=0.2), "skeleton": golden(2, 6, 5, s=0.9)}
    found = fuse.exchange(0, maps, {})
    visual, skeleton = found["visual"], found["skeleton"]
    expected = torch.tensor([0.118981, 0.087735, 0.081831, 0.116792], dtype=torch.float64)
    torch.testing.assert_close(visual[0, :, 0, 0], expected, atol=2e-6, rtol=0)
    expected = torch.tensor(
        [0.024231, 0.144856, -0.251009, 0.526562, -0.609128, 0.544477], dtype=torch.float64
    )
    torch.testing.assert_close(skeleton[1, :, 0], expected, atol=2e-6, rtol=0)
    assert visual.sum().item() == pytest.approx(-0.007550, abs=2e-6)
    assert skeleton.sum().item() == pytest.approx(1.066144, abs=2e-6)


def test_the_squeezed_width_is_the_ratios_and_never_nothing():
    assert mmtm({"a": 4, "b": 6}).squeeze[0].out_features == 5
    assert mmtm({"a": 4, "b": 6}, ratio=10).squeeze[0].out_features == 2
    assert mmtm({"a": 1}, ratio=10).squeeze[0].out_features == 1


def test_only_the_last_stages_exchange():
    fuse = mmtm({"a": 2, "b": 3}, {"a": 4, "b": 4}, {"a": 5, "b": 6}, last=2)
    maps = {"a": golden(2, 2, 3, s=0.1), "b": golden(2, 3, 3, s=0.4)}
    assert fuse.exchange(0, maps, {}) is maps
    assert [layer.in_features for layer in fuse.squeeze] == [8, 11]
    later = {"a": golden(2, 5, 3, s=0.1), "b": golden(2, 6, 3, s=0.4)}
    assert not torch.equal(fuse.exchange(2, later, {})["a"], later["a"])


def test_a_gate_is_the_same_in_all_frames_and_frames_that_are_not_there_do_not_count():
    fuse = mmtm({"video": 2, "sound": 3})
    video, sound = golden(2, 2, 4, 3, 3, s=0.3), golden(2, 3, s=0.7)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    video = video * mask.view(2, 1, 4, 1, 1)
    found = fuse.exchange(0, {"video": video, "sound": sound}, {"video": mask})
    gate = found["video"] / video
    there = gate[1, :, :2]
    torch.testing.assert_close(there, there[:, :1, :1, :1].expand_as(there))
    short = fuse.exchange(0, {"video": video[1:, :, :2], "sound": sound[1:]}, {})
    torch.testing.assert_close(short["video"], found["video"][1:, :, :2])
    torch.testing.assert_close(short["sound"], found["sound"][1:])


def test_a_modality_that_is_not_asked_for_counts_as_zeros():
    fuse = mmtm({"a": 2, "b": 3})
    a = golden(4, 2, s=0.2)
    alone = fuse.exchange(0, {"a": a}, {})
    beside = fuse.exchange(0, {"a": a, "b": torch.zeros(4, 3).double()}, {})
    assert list(alone) == ["a"]
    torch.testing.assert_close(alone["a"], beside["a"])


def test_what_steers_the_gates_has_the_last_word():
    fuse = mmtm({"a": 2, "b": 3})
    maps = {"a": golden(4, 2, s=0.2), "b": golden(4, 3, s=0.5)}
    fuse.steer = lambda stage, gates: {**gates, "a": torch.full_like(gates["a"], 0.25)}
    torch.testing.assert_close(fuse.exchange(0, maps, {})["a"], maps["a"] * 0.25)


@pytest.mark.parametrize("kind", ["vector", "image", "sequence", "video"])
def test_every_kind_of_encoder_learns_with_it(kind):
    data = synthetic(kind=kind, dim=4, signal=4.0)
    method = build({"name": "joint"}, data, fusion="mmtm")
    losses = [e["loss/loss"] for e in fit(method, data, dataclasses.replace(SETTINGS, epochs=4)).curve]
    assert losses[-1] < losses[0]
