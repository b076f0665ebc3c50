"""Encoders that run side by side and exchange maps: what a fusion is given, and that it is what it makes of them."""

import dataclasses

import pytest
import torch
from torch import nn

from sweeper.models.encoders.convnet import Convnet
from sweeper.models.encoders.resnet import Resnet18
from sweeper.models.errors import UserError
from sweeper.models.fusions.base import Fusion
from sweeper.models.maths.gradients import flat, hvp, twice_differentiable
from sweeper.models.maths.heads import Heads
from sweeper.models.net import Net
from sweeper.models.schema import entries as registry
from sweeper.models.schema.sources import source_of
from sweeper.models.training.build import build_method
from sweeper.models.values import Batch, DataSpec, InputSpec
from tests.models.cases import SETTINGS, build, fit, synthetic

IMAGE, VIDEO = InputSpec("image", (1, 9, 8)), InputSpec("video", (4, 2, 6, 5))
CLASSES, ROWS = 3, 6
MODALITIES = {
    "images": {"a": IMAGE, "b": IMAGE},
    "videos": {"a": VIDEO, "b": VIDEO},
    "both": {"a": IMAGE, "b": VIDEO},
}
ENCODERS = {"convnet": lambda s: Convnet(s, width=4, dim=6), "resnet18": lambda s: Resnet18(s, width=4)}

every_pair = pytest.mark.parametrize("kinds", MODALITIES)
every_encoder = pytest.mark.parametrize("name", ENCODERS)


def mean_of(z, mask):
    """The mean (B, C) of a map (B, C, ...) over its places, of a video's over those of the frames that are there."""
    share = 1.0 if mask is None else mask.to(z.dtype).mean(1, keepdim=True)
    return z.flatten(2).mean(-1) / share


class Exchange(Fusion):
    """The toy: every channel is scaled by a gate on all modalities' channel means (MMTM, Joze et al., CVPR 2020)."""

    reads = "stages"

    def __init__(self, dims, n_outputs, *, stages):
        super().__init__(dims, n_outputs)
        self.heads = Heads(dims, n_outputs)
        numbers = zip(*(own.values() for own in stages.values()), strict=True)
        channels = [dict(zip(stages, own, strict=True)) for own in numbers]
        self.gates = nn.ModuleList(
            nn.ModuleDict({m: nn.Linear(sum(own.values()), n) for m, n in own.items()}) for own in channels
        )

    def forward(self, features):
        return sum(self.unimodal(features).values())

    def unimodal(self, features):
        return self.heads(features)

    def exchange(self, stage, maps, mask):
        squeezed = torch.cat([mean_of(z, mask.get(m)) for m, z in maps.items()], 1)
        gates = {m: 2 * self.gates[stage][m](squeezed).sigmoid() for m in maps}
        return {m: z * gates[m].view(*z.shape[:2], *[1] * (z.dim() - 2)) for m, z in maps.items()}


class Same(Exchange):
    """The toy without an exchange."""

    def exchange(self, stage, maps, mask):
        return maps


class Pooled(Same):
    """The toy as a fusion that reads pooled features."""

    reads = "pooled"


def net(kinds, name="convnet", fusion=Exchange):
    torch.manual_seed(0)
    specs = MODALITIES[kinds]
    encoders = {m: ENCODERS[name](spec) for m, spec in specs.items()}
    dims, stages = ({m: getattr(e, part) for m, e in encoders.items()} for part in ("dim", "stages"))
    spec = DataSpec("toy", specs, CLASSES, {}, "none")
    return Net(spec, encoders, fusion(dims, CLASSES, stages=stages)).double().eval()


def batch(kinds, masked=True, present=None):
    generator, specs = torch.Generator().manual_seed(1), MODALITIES[kinds]
    inputs = {m: torch.randn(ROWS, *s.shape, generator=generator).double() for m, s in specs.items()}
    mask = {}
    for number, (m, spec) in enumerate(specs.items()):
        if spec.kind == "video" and masked:
            lengths = 1 + (torch.arange(ROWS) + number) % spec.shape[0]
            mask[m] = torch.arange(spec.shape[0]) < lengths.unsqueeze(1)
            inputs[m] = inputs[m] * mask[m].view(*mask[m].shape, 1, 1, 1)
    return Batch(inputs, torch.arange(ROWS) % CLASSES, torch.arange(ROWS), present or {}, mask=mask)


def by_hand(net, batch):
    """Return pooled features where the maps of all encoders are exchanged stage by stage, in plain loops."""
    frames, there = {}, {}
    for m, x in batch.inputs.items():
        video = x.dim() == 5
        there[m] = batch.mask.get(m, torch.ones(x.shape[:2], dtype=torch.bool)) if video else None
        frames[m] = net.encoders[m].begin(x[there[m]] if video else x)
    for stage in range(len(net.encoders["a"].stages)):
        maps = {}
        for m, encoder in net.encoders.items():
            frames[m] = list(encoder.blocks.values())[stage](frames[m])
            maps[m] = frames[m]
            if there[m] is not None:
                whole = frames[m].new_zeros(*there[m].shape, *frames[m].shape[1:])
                whole[there[m]] = frames[m]
                maps[m] = whole.transpose(1, 2)  # (B, C, T, h, w)
        for m, z in net.fusion.exchange(stage, maps, batch.mask).items():
            frames[m] = z if there[m] is None else z.transpose(1, 2)[there[m]]
    features = {}
    for m, encoder in net.encoders.items():
        z = encoder.end(frames[m])
        if there[m] is not None:
            rows = there[m].nonzero()[:, 0]
            z = torch.stack([z[rows == row].mean(0) for row in range(ROWS)])
        features[m] = z
    return features


@every_pair
@every_encoder
def test_features_are_those_of_the_maps_that_were_exchanged(kinds, name):
    own, rows = net(kinds, name), batch(kinds)
    output, expected = own(rows), by_hand(own, rows)
    for m, z in output.features.items():
        torch.testing.assert_close(z, expected[m])
    torch.testing.assert_close(output.fused, own.fusion(expected))
    without = net(kinds, name, Same)(rows)
    assert all(not torch.allclose(z, without.features[m]) for m, z in output.features.items())


@every_pair
@every_encoder
@pytest.mark.parametrize("masked", [False, True])
def test_an_exchange_that_changes_nothing_is_pooled_reading_to_the_bit(kinds, name, masked):
    rows = batch(kinds, masked, present={"a": torch.arange(ROWS) > 1})
    staged, pooled = (net(kinds, name, fusion) for fusion in (Same, Pooled))
    pooled.load_state_dict(staged.state_dict())
    for m, z in staged(rows).features.items():
        assert torch.equal(z, pooled(rows).features[m])
    assert torch.equal(staged(rows).fused, pooled(rows).fused)


@every_pair
def test_stages_tell_the_channels_of_the_maps(kinds):
    own, seen = net(kinds), []
    exchange = own.fusion.exchange
    own.fusion.exchange = lambda stage, maps, mask: seen.append((stage, maps)) or exchange(stage, maps, mask)
    own(batch(kinds))
    assert [stage for stage, _ in seen] == list(range(len(own.encoders["a"].stages)))
    for m, encoder in own.encoders.items():
        assert [maps[m].shape[1] for _, maps in seen] == list(encoder.stages.values())


@every_pair
def test_a_modality_that_a_row_lacks_gives_nothing_to_the_exchange(kinds):
    own, present = net(kinds), {"a": torch.arange(ROWS) > 1}
    rows = batch(kinds, present=present)
    silent = dataclasses.replace(rows, inputs={**rows.inputs, "a": rows.inputs["a"] + 5.0})
    with_noise, without = (own(b).features for b in (silent, rows))
    assert not without["a"][:2].any()
    torch.testing.assert_close(with_noise["b"][:2], without["b"][:2])
    assert not torch.allclose(with_noise["b"][2:], without["b"][2:])


def test_frames_that_are_not_there_are_0_in_the_exchange():
    own, rows = net("videos"), batch("videos")
    seen = []
    own.fusion.exchange = lambda stage, maps, mask: seen.append(maps) or maps
    own(rows)
    for maps in seen:
        for m, z in maps.items():
            gone = ~rows.mask[m]
            assert gone.any()
            assert not z.transpose(1, 2)[gone].any()
            assert z.transpose(1, 2)[rows.mask[m]].any()


def test_what_is_exchanged_does_not_depend_on_how_long_the_other_rows_of_a_batch_are():
    own, rows = net("both"), batch("both")
    whole = own(rows).features
    for row in range(ROWS):
        length = int(rows.mask["b"][row].sum())
        alone = {"a": rows.inputs["a"][row : row + 1], "b": rows.inputs["b"][row : row + 1, :length]}
        for m, z in own(Batch(alone, rows.target[row : row + 1], rows.index[row : row + 1])).features.items():
            torch.testing.assert_close(z, whole[m][row : row + 1])


def test_modalities_that_are_not_asked_for_take_no_part():
    own, rows = net("images", fusion=Same), batch("images")
    silent = dataclasses.replace(rows, inputs={**rows.inputs, "b": rows.inputs["b"] * torch.nan})
    assert set(own.encode(silent, ["a"])) == {"a"}
    torch.testing.assert_close(own.encode(silent, ["a"])["a"], own.encode(rows)["a"])


@every_pair
@every_encoder
def test_every_parameter_is_reached_through_the_exchange(kinds, name):
    own = net(kinds, name).train()
    own(batch(kinds)).fused.square().sum().backward()
    assert all(p.grad is not None for p in own.parameters())
    with twice_differentiable():
        product = hvp(own(batch(kinds)).fused.square().sum(), list(own.parameters()))
    assert product(torch.ones_like(flat(own.parameters()))).isfinite().all()


# from names


@pytest.fixture
def named(monkeypatch):
    """The toys, as if they stood in models/fusions."""
    own, (_, *base) = registry._own, registry.BASES["fusion"]
    toys = {e.name: e for e in registry._classes("fusion", source_of(__name__, "tests"), *base)}
    monkeypatch.setattr(registry, "_own", lambda kind: {**own(kind), **(toys if kind == "fusion" else {})})
    return toys


def test_a_fusion_that_names_stages_is_given_them(named):
    assert named["exchange"].given == {"stages"}
    assert not named["exchange"].parameters
    data = synthetic(kind=["image", "video"], dim=4, shorter=0.5)
    built = build(
        {"name": "joint"}, data, fusion="exchange", encoder={"name": "convnet", "width": 4, "dim": 6}
    )
    assert [list(gate) for gate in built.net.fusion.gates] == [["m0", "m1"]] * 3
    assert built.net.fusion.gates[2]["m1"].weight.shape == (16, 32)
    curve = fit(built, data, dataclasses.replace(SETTINGS, epochs=2)).curve
    assert curve[1]["loss/loss"] < curve[0]["loss/loss"]


@pytest.mark.parametrize(
    ("encoders", "kind", "sentence"),
    [
        (
            {"m1": {"name": "convnet", "layers": 2}},
            "image",
            "fusion 'exchange' needs encoders of equally many stages; found: m0 3, m1 2",
        ),
        (
            {"m1": {"name": "mlp"}},
            "image",
            "fusion 'exchange' needs encoders of equally many stages; found: m0 3, m1 1",
        ),
        (
            {"m1": {"name": "maps"}},
            "image",
            "encoder 'maps' of modality 'm1' can be read as maps, but the fusion reads stages; .*: convnet, hf, mlp, r",
        ),
    ],
)
def test_encoders_that_cannot_exchange_are_refused(named, encoders, kind, sentence):
    spec = synthetic(kind=kind).spec
    with pytest.raises(UserError, match=sentence):
        build_method(spec, encoders, {"name": "exchange"}, {"name": "joint"}, 0)


def test_a_method_that_cannot_work_on_exchanged_features_is_refused(named):
    sentence = r"'lfm' needs a fusion that reads pooled, but 'exchange' reads stages; .*: concat"
    with pytest.raises(UserError, match=sentence):
        build_method(synthetic(kind="image").spec, {}, {"name": "exchange"}, {"name": "lfm"}, 0)
