"""Every encoder on every kind of input that it takes: shapes, rows, weights, layers, and each one's own promises."""

import librosa
import pytest
import torch
from torch import nn

from sweeper.models.encoders.base import DIM, ImageEncoder, Projected
from sweeper.models.encoders.convnet import Convnet
from sweeper.models.encoders.hf import Hf
from sweeper.models.encoders.logmel import Logmel
from sweeper.models.encoders.maps import Maps
from sweeper.models.encoders.sequence import Sequence
from sweeper.models.encoders.wave import Wave
from sweeper.models.errors import UserError
from sweeper.models.maths.gradients import flat, hvp, twice_differentiable
from sweeper.models.schema.entries import entries
from sweeper.models.values import AXES, TIMED, InputSpec, Tokens
from tests.models.encoders.tiny import config_of

VECTOR, STEPS, IMAGE = InputSpec("vector", (7,)), InputSpec("sequence", (5, 3)), InputSpec("image", (1, 8, 8))
VIDEO, TEXT = InputSpec("video", (4, 2, 9, 8)), InputSpec("tokens", (6,), "int64", 11)
SOUND, WIDE, LARGE = (
    InputSpec("audio", (70,)),
    InputSpec("image", (2, 17, 9)),
    InputSpec("image", (2, 32, 32)),
)
STANDARD = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}
CASES = [
    ("mlp", VECTOR, {}),
    ("mlp", STEPS, {"layers": 0}),
    ("mlp", IMAGE, {"layers": 2, "hidden": 9, "dim": 4}),
    ("convnet", IMAGE, {}),
    ("convnet", WIDE, {"norm": "batch", "width": 6, "layers": 4, "dim": 3}),
    ("convnet", IMAGE, {"norm": "group", "width": 6}),
    ("convnet", VIDEO, {"width": 4, "dim": 5}),
    ("resnet18", LARGE, {"width": 4}),
    ("resnet18", VIDEO, {"width": 4}),
    ("resnet34", IMAGE, {"width": 4}),
    ("resnet34", VIDEO, {"width": 4}),
    ("resnet50", IMAGE, {"width": 4}),
    ("resnet50", VIDEO, {"width": 4}),
    ("sequence", STEPS, {"kind": "gru", "layers": 2, "dim": 6}),
    ("sequence", STEPS, {"kind": "transformer", "layers": 2, "dim": 6, "heads": 2}),
    ("sequence", STEPS, {"kind": "transformer", "dim": 5, "heads": 1}),
    ("sequence", TEXT, {"kind": "gru", "dim": 6}),
    ("sequence", TEXT, {"kind": "transformer", "dim": 6, "heads": 3}),
    ("sequence", STEPS, {"kind": "lstm", "bidirectional": True, "layers": 2, "dim": 6}),
    ("sequence", TEXT, {"kind": "lstm", "dim": 6}),
    ("sequence", TEXT, {"kind": "gru", "bidirectional": True, "dim": 6}),
    ("textcnn", TEXT, {"width": 3, "embedding": 4}),
    ("temporal", STEPS, {"dim": 6}),
    ("temporal", STEPS, {"dim": 5, "kernel": 4}),
    ("maps", IMAGE, {}),
    ("maps", WIDE, {"width": 6, "layers": 2, "dim": 3}),
    ("wave", SOUND, {"layers": 2, "width": 6, "dim": 5}),
    ("wave", InputSpec("audio", (16,)), {"layers": 1, "dim": 3}),
    ("logmel", SOUND, {"sample_rate": 1000, "n_fft": 32, "hop": 7, "n_mels": 4, "layers": 2, "dim": 5}),
    ("features", VECTOR, {"dim": 3}),
    ("features", STEPS, {"dim": 4}),
    ("hf", TEXT, {"model": "bert"}),
    ("hf", TEXT, {"model": "bert", "dim": 5, "trainable": "all"}),
    ("hf", TEXT, {"model": "roberta"}),
    ("hf", IMAGE, {"model": "vit", "dim": 3}),
    ("hf", InputSpec("video", (4, 1, 9, 8)), {"model": "vit", "pooling": "mean"}),
    ("hf", SOUND, {"model": "wav2vec2"}),
    ("hf", STEPS, {"model": "whisper"}),
    (
        "hf",
        InputSpec("sequence", (9, 8)),
        {"model": "audio-spectrogram-transformer", "pooling": "mean", "dim": 6},
    ),
]
every_case = pytest.mark.parametrize(
    ("name", "spec", "options"), CASES, ids=lambda v: str(getattr(v, "shape", v))
)
every_timed_case = pytest.mark.parametrize(
    ("name", "spec", "options"),
    [case for case in CASES if case[1].kind in TIMED],
    ids=lambda v: str(getattr(v, "shape", v)),
)


def make(name, spec, options, seed=0):
    if name == "hf":
        options = {**options, "model": config_of(options["model"]), "from_scratch": True}
    torch.manual_seed(seed)
    return entries("encoder")[name].load()(spec, **options).double()


def sample(spec, rows=4):
    generator = torch.Generator().manual_seed(1)
    if spec.kind == "tokens":
        return torch.randint(1, spec.vocabulary, (rows, *spec.shape), generator=generator)
    return torch.randn(rows, *spec.shape, generator=generator).double()


def read_of(encoder):
    """The way of reading that an encoder's features are taken from here: pooled, or maps if it has no other."""
    return "pooled" if "pooled" in encoder.reads else "maps"


def encoded(encoder, x, mask=None):
    return encoder(x, mask, read_of(encoder))


def shorter(x, spec):
    """The rows cut to all, some or one of their steps, as a feed gives them: (inputs, mask)."""
    steps = spec.shape[0]
    lengths = torch.tensor([steps, 1, (steps + 1) // 2, steps - 1])
    mask = torch.arange(steps) < lengths.unsqueeze(1)
    return x * mask.view(*mask.shape, *[1] * (x.dim() - 2)), mask


# what they take and say


def test_every_encoder_has_a_case_for_each_kind_that_it_takes():
    known = entries("encoder")
    takes = {(name, kind) for name, entry in known.items() for kind in entry.facts["takes"]}
    assert {(name, spec.kind) for name, spec, _ in CASES} == takes
    for name, _, options in CASES:
        known[name].check(options)


def test_every_kind_of_input_has_one_default_for_pooled_reading_and_it_takes_that_kind():
    known = entries("encoder").values()
    for kind in AXES:
        defaults = [e for e in known if kind in e.facts["default_for"] and "pooled" in e.facts["reads"]]
        assert len(defaults) == 1
        assert kind in defaults[0].facts["takes"]


def test_all_defaults_have_one_width():
    specs = {spec.kind: spec for _, spec, _ in CASES} | {"audio": InputSpec("audio", (256,))}
    built = [
        make(name, specs[kind], {})
        for name, entry in entries("encoder").items()
        for kind in entry.facts["default_for"]
    ]
    assert len(built) >= len(AXES)
    assert {encoder.dim for encoder in built} == {DIM} == {64}


def test_registered_classes_are_called_as_they_are_named():
    for name, found in entries("encoder").items():
        assert found.load().__name__.lower() == name
        assert found.load().reads == found.facts["reads"]


# the contract


@every_case
def test_maps_a_batch_to_features_of_width_dim(name, spec, options):
    encoder = make(name, spec, options)
    features = encoded(encoder, sample(spec))
    assert features.shape[:2] == (4, encoder.dim)
    assert len(features.shape) == (4 if read_of(encoder) == "maps" else 2)
    assert features.dtype == torch.float64
    if "dim" in options:
        assert encoder.dim == options["dim"]


@every_case
def test_evaluates_rows_independently_and_accepts_none(name, spec, options):
    encoder, x = make(name, spec, options).eval(), sample(spec)
    with torch.no_grad():
        whole = encoded(encoder, x)
        torch.testing.assert_close(encoded(encoder, x[1:2]), whole[1:2])
        assert encoded(encoder, x[:0]).shape == (0, *whole.shape[1:])


@every_case
def test_seed_alone_decides_the_weights_and_nothing_is_random_afterwards(name, spec, options):
    first, same, other = (make(name, spec, options, seed) for seed in (3, 3, 4))
    state = torch.get_rng_state()
    x = sample(spec)
    torch.testing.assert_close(encoded(first, x), encoded(same, x), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(flat(first.parameters()), flat(other.parameters()))


@every_case
def test_gradient_reaches_every_parameter(name, spec, options):
    encoder = make(name, spec, options)
    encoded(encoder, sample(spec)).square().sum().backward()
    for parameter in encoder.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad


@every_case
def test_second_derivatives_exist(name, spec, options):
    encoder = make(name, spec, options)
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    with twice_differentiable():
        product = hvp(encoded(encoder, sample(spec)).square().sum(), parameters)
    assert product(torch.ones_like(flat(parameters))).isfinite().all()


@every_case
def test_state_restores_the_encoder(name, spec, options):
    encoder, copy = make(name, spec, options), make(name, spec, options, seed=9)
    encoded(encoder, sample(spec))
    copy.load_state_dict(encoder.state_dict())
    assert torch.equal(encoded(encoder.eval(), sample(spec)), encoded(copy.eval(), sample(spec)))


@every_case
def test_layers_hold_every_parameter_once(name, spec, options):
    for encoder in (own := make(name, spec, options), Projected(own, 3)):
        held = [id(p) for layer in encoder.layers() for p in layer.parameters()]
        assert sorted(held) == sorted(map(id, encoder.parameters()))


# ways of reading


@every_case
def test_every_way_of_reading_gives_its_shape_or_is_refused(name, spec, options):
    encoder, x = make(name, spec, options), sample(spec)
    found = {
        "pooled": lambda: encoder(x).shape,
        "tokens": lambda: encoder(x, None, "tokens").values.shape,
        "maps": lambda: encoder(x, None, "maps").shape,
        "stages": lambda: next(encoder.staged(x)).shape,
    }
    for read, shape in found.items():
        if read not in encoder.reads:
            ways = ", ".join(encoder.reads)
            with pytest.raises(UserError, match=f"'{name}' cannot be read as {read}; admissible: {ways}$"):
                shape()
        elif read == "stages":
            images = (spec.shape[0],) if spec.kind == "video" and name != "hf" else ()
            assert shape()[:2] == (4, next(iter(encoder.stages.values())))
            assert shape()[2:-2] == images
        elif read == "maps":
            assert shape()[:2] == (4, encoder.dim)
            assert len(shape()) == 4
        else:
            width = (encoder.dim,) if read == "pooled" else (len_of_tokens(encoder, spec), encoder.dim)
            assert shape() == (4, *width)


def len_of_tokens(encoder, spec):
    if isinstance(encoder, Hf) and spec.kind != "video":
        return encoder.given(
            sample(spec).to(encoder.body.dtype if spec.kind != "tokens" else torch.int64), None, "tokens"
        ).mask.shape[1]
    if isinstance(encoder, Wave):
        return spec.shape[0] // 4 ** len(encoder.blocks)
    return spec.shape[0] if spec.kind in TIMED and not isinstance(encoder, Logmel) else 1


@every_case
def test_pooled_features_are_the_mean_of_the_tokens(name, spec, options):
    encoder, x = make(name, spec, options).eval(), sample(spec)
    if "tokens" in encoder.reads:
        tokens = encoder(x, None, "tokens")
        assert tokens.mask.all()
        torch.testing.assert_close(encoder(x), tokens.values.mean(1))


def test_a_mean_of_tokens_is_over_those_that_are_there_and_0_where_none_is():
    values = torch.tensor([[[2.0], [4.0], [0.0]], [[5.0], [0.0], [0.0]], [[0.0], [0.0], [0.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert Tokens(values, mask).pooled.tolist() == [[3.0], [5.0], [0.0]]


# rows of different lengths


@every_timed_case
def test_what_follows_a_rows_end_in_its_batch_changes_nothing(name, spec, options):
    encoder = make(name, spec, options).eval()
    x, mask = shorter(sample(spec), spec)
    with torch.no_grad():
        whole = encoder(x, mask)
        for i, length in enumerate(mask.sum(1).tolist()):
            torch.testing.assert_close(encoder(x[i : i + 1, :length]), whole[i : i + 1])
            torch.testing.assert_close(encoder(x[i : i + 1], mask[i : i + 1]), whole[i : i + 1])


@every_timed_case
def test_tokens_of_a_row_are_the_same_whatever_follows_it_and_0_behind_its_end(name, spec, options):
    encoder = make(name, spec, options).eval()
    if "tokens" not in encoder.reads:
        return
    x, mask = shorter(sample(spec), spec)
    with torch.no_grad():
        whole = encoder(x, mask, "tokens")
        assert not whole.values[~whole.mask].any()
        for i, length in enumerate(mask.sum(1).tolist()):
            alone = encoder(x[i : i + 1, :length], None, "tokens")
            torch.testing.assert_close(whole.values[i][whole.mask[i]], alone.values[0][alone.mask[0]])
    if name != "hf" and spec.kind != "audio":  # whose tokens are of many samples
        assert torch.equal(whole.mask, mask)


@every_timed_case
def test_a_mask_of_whole_rows_is_as_none(name, spec, options):
    encoder, x = make(name, spec, options).eval(), sample(spec)
    torch.testing.assert_close(encoder(x, torch.ones(x.shape[:2], dtype=torch.bool)), encoder(x))


@every_timed_case
def test_gradients_of_shorter_rows_are_finite_and_none_reaches_what_is_not_there(name, spec, options):
    encoder = make(name, spec, options)
    x, mask = shorter(sample(spec), spec)
    if spec.kind != "tokens":
        x.requires_grad_()
    encoder(x, mask).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.requires_grad)
    if (
        name in ("sequence", "convnet", *STANDARD) and spec.kind != "tokens"
    ):  # others read the zeros that follow
        assert not x.grad[~mask].any()


@pytest.mark.parametrize(
    ("name", "options"), [("convnet", {"norm": "batch"}), ("resnet18", {"width": 4})], ids=str
)
def test_frames_that_are_not_there_enter_no_statistics(name, options):
    x, mask = shorter(sample(VIDEO), VIDEO)
    first, second = (make(name, VIDEO, options).train() for _ in range(2))
    padded = torch.cat([x, torch.zeros_like(x)], 1)
    more = torch.cat([mask, torch.zeros_like(mask)], 1)
    torch.testing.assert_close(first(x, mask), second(padded, more))
    for name_, value in first.named_buffers():
        torch.testing.assert_close(value, second.get_buffer(name_))


def test_a_video_is_the_mean_of_its_frames():
    encoder, x = make("convnet", VIDEO, {}), sample(VIDEO)
    frames = torch.stack([encoder(x[:, t]) for t in range(VIDEO.shape[0])], 1)
    torch.testing.assert_close(encoder(x), frames.mean(1))
    torch.testing.assert_close(encoder(x, None, "tokens").values, frames)
    torch.testing.assert_close(encoder(x[:, 0], None, "tokens").values[:, 0], frames[:, 0])


# each by itself


@pytest.mark.parametrize(("name", "expected"), STANDARD.items())
def test_resnet_has_the_standard_number_of_parameters(name, expected):
    with torch.device("meta"):
        encoder = entries("encoder")[name].load()(InputSpec("image", (3, 32, 32)))
    assert sum(p.numel() for p in encoder.parameters()) == expected
    assert encoder.dim == (2048 if name == "resnet50" else 512)
    assert list(encoder.stages.values()) == [encoder.dim // 2**k for k in (3, 2, 1, 0)]


def layers_of(encoder, kind):
    return [m for m in encoder.modules() if isinstance(m, kind)]


def test_mlp_has_the_widths_asked_for():
    encoder = make("mlp", IMAGE, {"layers": 2, "hidden": 9, "dim": 4})
    assert [(m.in_features, m.out_features) for m in layers_of(encoder, nn.Linear)] == [
        (64, 9),
        (9, 9),
        (9, 4),
    ]


def test_convnet_doubles_channels_and_halves_the_image_after_the_first_layer():
    encoder = make("convnet", IMAGE, {"width": 6, "layers": 3})
    convolutions = layers_of(encoder, nn.Conv2d)
    assert [(m.out_channels, m.stride[0]) for m in convolutions] == [(6, 1), (12, 2), (24, 2)]
    assert encoder.stages == {"conv1": 6, "conv2": 12, "conv3": 24}


def test_convnet_shares_its_channels_among_up_to_eight_groups():
    encoder = make("convnet", IMAGE, {"norm": "group", "width": 6})
    assert [m.num_groups for m in layers_of(encoder, nn.GroupNorm)] == [2, 4, 8]


def test_maps_halve_the_image_in_every_layer_but_the_first():
    for layers, places in ((1, (17, 9)), (2, (9, 5)), (3, (5, 3))):
        encoder = make("maps", WIDE, {"layers": layers, "width": 3, "dim": 4})
        assert encoder(sample(WIDE), None, "maps").shape == (4, 4, *places)
        *widths, last = (m.out_channels for m in layers_of(encoder, nn.Conv2d))
        assert (widths, last) == ([3, 6, 12][: layers - 1], 4)


@pytest.mark.parametrize(("name", "options"), [("maps", {}), ("resnet18", {"width": 4})])
def test_maps_keep_places_apart(name, options):
    spec = InputSpec("image", (1, 64, 64)) if name == "resnet18" else IMAGE
    encoder, x = make(name, spec, options).eval(), torch.zeros(2, *spec.shape).double()
    x[1, 0, -1, -1] = 5
    changed = torch.ne(*encoder(x, None, "maps")).any(0)
    assert changed[-1, -1]
    if name == "maps":  # a ResNet's last map has seen the whole image
        assert not changed[0, 0]


def test_resnets_from_scratch_begin_as_in_the_audio_visual_papers():
    """Convolutions normal with variance 2 / (outputs · kernel), norms 1 and 0."""
    encoder = make("resnet18", LARGE, {"width": 16})
    for own in layers_of(encoder, nn.Conv2d):
        assert own.bias is None
        expected = (2 / (own.out_channels * own.kernel_size[0] ** 2)) ** 0.5
        assert own.weight.std().item() == pytest.approx(expected, rel=0.15)
    for own in layers_of(encoder, nn.BatchNorm2d):
        assert (own.weight == 1).all()
        assert (own.bias == 0).all()


def test_a_resnet_of_frames_pools_over_time_and_space_at_once():
    """As `adaptive_avg_pool3d` of the last maps does in the audio-visual papers."""
    encoder, x = (
        make("resnet18", InputSpec("video", (3, 3, 40, 33)), {"width": 4}).eval(),
        torch.rand(2, 3, 3, 40, 33),
    )
    maps = torch.stack([encoder.body(x.double()[:, t]) for t in range(3)], 2)
    torch.testing.assert_close(encoder(x.double()), nn.functional.adaptive_avg_pool3d(maps, 1).flatten(1))


def test_a_resnets_pooled_features_are_the_mean_of_its_maps():
    encoder, x = make("resnet18", LARGE, {"width": 4}).eval(), sample(LARGE)
    torch.testing.assert_close(encoder(x), encoder(x, None, "maps").mean((2, 3)))


def test_gru_averages_its_states_over_time():
    encoder, x = make("sequence", STEPS, {"layers": 2}), sample(STEPS)
    states, _ = encoder.body.body(x)
    torch.testing.assert_close(encoder(x), states.mean(1))
    assert encoder.body.body.num_layers == 2


def test_convnet_keeps_no_batch_statistics_by_default():
    assert not list(make("convnet", IMAGE, {}).buffers())
    assert list(make("convnet", IMAGE, {"norm": "batch"}).buffers())


def test_attention_sees_the_order_of_time_steps():
    encoder, x = make("sequence", STEPS, {"kind": "transformer"}), sample(STEPS)
    assert not torch.allclose(encoder(x), encoder(x.flip(1)))
    encoder.body.positions.zero_()
    torch.testing.assert_close(encoder(x), encoder(x.flip(1)))


def test_attention_blocks_start_from_different_weights():
    first, second = make("sequence", STEPS, {"kind": "transformer", "layers": 2}).body.blocks
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_one_direction_sees_what_came_before_and_two_see_what_follows_too(kind):
    x = sample(STEPS)
    other = torch.cat([x[:, :-1], x[:, -1:] + 1], 1)
    for both in (False, True):
        encoder = make("sequence", STEPS, {"kind": kind, "dim": 6, "bidirectional": both})
        changed = (encoder(x, None, "tokens").values != encoder(other, None, "tokens").values).any(0)
        assert changed[-1].any()
        assert not changed[:-1, :3].any()  # the first half reads forwards
        assert changed[:-1, 3:].any() == both


def test_two_directions_need_an_even_width():
    with pytest.raises(UserError, match="'sequence': dim 5 of two directions; dim must be even"):
        Sequence(STEPS, kind="lstm", dim=5, bidirectional=True)
    assert Sequence(STEPS, kind="transformer", dim=5, heads=1, bidirectional=True).dim == 5


def test_a_text_cnn_has_the_papers_filters():
    encoder = make("textcnn", TEXT, {})
    assert [(m.out_channels, m.kernel_size[0]) for m in layers_of(encoder, nn.Conv1d)] == [
        (100, 3),
        (100, 4),
        (100, 5),
    ]
    assert encoder.dim == 300
    assert encoder.layers() == [encoder.embed, encoder.filters]


def test_a_filter_of_words_fires_on_its_words_wherever_they_stand():
    encoder = make("textcnn", TEXT, {"width": 1, "embedding": 11})
    encoder.embed.weight.data.copy_(torch.eye(11))
    for convolution in encoder.filters:
        convolution.weight.data.zero_()
        convolution.bias.data.fill_(-2.5)
        for place, word in enumerate((3, 4, 5)):
            convolution.weight.data[0, word, place] = 1.0
    texts = torch.tensor([[3, 4, 5, 0, 0, 0], [0, 0, 3, 4, 5, 0], [5, 4, 3, 0, 0, 0], [9, 3, 4, 0, 3, 5]])
    assert encoder(texts).tolist() == [[0.5] * 3, [0.5] * 3, [0.0] * 3, [0.0] * 3]


def test_a_temporal_convolution_keeps_the_steps_and_reads_those_around_each():
    for kernel, reached in ((1, [2]), (2, [1, 2]), (3, [1, 2, 3]), (5, [0, 1, 2, 3, 4])):
        encoder, x = make("temporal", STEPS, {"dim": 4, "kernel": kernel}), torch.zeros(2, 5, 3).double()
        x[1, 2] = 1
        quiet, loud = encoder(x, None, "tokens").values
        torch.testing.assert_close(quiet, encoder.positions)
        assert torch.nonzero((loud != quiet).any(1)).flatten().tolist() == reached


def test_equal_tokens_are_embedded_equally():
    encoder = make("sequence", TEXT, {"dim": 6})
    assert encoder.embed.weight.shape == (11, 6)
    same, other = encoder(torch.tensor([[3, 4], [3, 4], [3, 5]]))[[0, 2]] - encoder(torch.tensor([[3, 4]]))
    torch.testing.assert_close(same, torch.zeros_like(same))
    assert other.abs().max() > 1e-3


def test_wave_steps_over_four_samples_in_every_layer():
    encoder = make("wave", InputSpec("audio", (300,)), {"layers": 3, "width": 5, "dim": 7})
    convolutions = layers_of(encoder, nn.Conv1d)
    assert [(m.out_channels, m.stride[0], m.kernel_size[0]) for m in convolutions] == [
        (5, 4, 8),
        (10, 4, 8),
        (7, 4, 8),
    ]
    for place, reached in ((20, [True, False, False, False]), (130, [False, True, True, False])):
        x = torch.zeros(2, 300).double()  # a token reads 42 samples on either side of its own 64
        x[1, place] = 1
        tokens = encoder(x, None, "tokens").values
        assert tokens.shape == (2, 300 // 64, 7)
        assert torch.ne(*tokens).any(1).tolist() == reached


def test_a_convolution_and_its_norm_are_one_layer_of_wave():
    encoder = make("wave", SOUND, {"layers": 2})
    kinds = [[type(m) for m in layer] for layer in encoder.layers()]
    assert kinds == [[nn.Conv1d, nn.LayerNorm]] * 2


def test_a_waveform_shorter_than_a_token_is_one_token():
    encoder, x = make("wave", SOUND, {"layers": 2}), sample(SOUND)[:, :3]
    tokens = encoder(x, None, "tokens")
    assert tokens.values.shape[1] == 1
    assert tokens.mask.all()


def test_wave_refuses_data_that_are_shorter_than_a_token():
    with pytest.raises(UserError, match=r"'wave': 4 layers need 256 samples, .* has 70; fewer layers are"):
        Wave(SOUND)
    assert Wave(SOUND, layers=3).dim == DIM


RATE, TONE = 8000, InputSpec("audio", (4000,))


def tones(*frequencies):
    time = torch.arange(TONE.shape[0]).double() / RATE
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies])


def test_a_spectrogram_is_that_of_the_libraries():
    encoder = make("logmel", TONE, {"sample_rate": RATE, "n_fft": 256, "hop": 80, "n_mels": 20})
    x = sample(TONE)
    bank = torch.from_numpy(librosa.filters.mel(sr=RATE, n_fft=256, n_mels=20, htk=True, norm=None))
    torch.testing.assert_close(encoder.bank, bank.double(), rtol=0, atol=2e-4)
    waves = torch.stft(x, 256, 80, window=encoder.window, pad_mode="constant", return_complex=True)
    expected = (encoder.bank @ (waves.abs() ** 2 / 256) + 1e-6).log()
    mean, std = expected.mean((1, 2), keepdim=True), expected.std((1, 2), correction=0, keepdim=True)
    found = encoder.spectrogram(x, None)
    assert found.shape == (4, 1, 20, 51)
    torch.testing.assert_close(found[:, 0], (expected - mean) / std, rtol=1e-4, atol=1e-4)


def test_a_tone_stands_in_its_band_however_loud_it_is():
    encoder = make("logmel", TONE, {"sample_rate": RATE, "n_fft": 256, "hop": 80, "n_mels": 20})
    found = encoder.spectrogram(tones(300, 1000, 3000), None)[:, 0]
    bands = found.mean(2).argmax(1)
    frequency = torch.linspace(0, RATE / 2, 129)[encoder.bank.argmax(1)]
    assert frequency[bands].tolist() == pytest.approx([300, 1000, 3000], rel=0.15)
    louder = encoder.spectrogram(4 * tones(300, 1000, 3000), None)[:, 0]
    assert torch.equal(louder.mean(2).argmax(1), bands)
    assert (found.mean((1, 2)).abs() < 1e-9).all()


def test_more_bands_than_frequencies_are_refused():
    with pytest.raises(UserError, match=r"n_mels=80 leaves bands without a frequency at n_fft=64; fewer are"):
        Logmel(SOUND, n_fft=64, n_mels=80)


def test_layers_come_from_the_input_up():
    gru, text = make("sequence", STEPS, {"dim": 6}), make("sequence", TEXT, {"kind": "transformer", "dim": 8})
    assert gru.layers() == [gru.body]
    assert text.layers() == [text.embed, text.body.project, *text.body.blocks, text.body.norm]
    convnet, mlp = make("convnet", IMAGE, {}), make("mlp", VECTOR, {"layers": 2})
    assert convnet.layers() == [*convnet.blocks.values(), convnet.end[2]]
    assert mlp.layers() == layers_of(mlp, nn.Linear)
    resnet = make("resnet18", IMAGE, {"width": 4})
    assert resnet.layers() == [resnet.begin, *resnet.blocks.values()]


# projections


@every_case
def test_a_projection_maps_what_is_read_to_another_width_and_keeps_zeros(name, spec, options):
    encoder, x = make(name, spec, options).eval(), sample(spec)
    projected = Projected(encoder, 3).double()
    assert projected.dim == 3
    assert projected.project.bias is None
    if "pooled" in encoder.reads:
        torch.testing.assert_close(projected(x), projected.project(encoder(x)))
    if "tokens" in encoder.reads:
        found, own = projected(x, None, "tokens"), encoder(x, None, "tokens")
        torch.testing.assert_close(found.values, projected.project(own.values))
        assert torch.equal(found.mask, own.mask)
    if "maps" in encoder.reads:
        found, own = projected(x, None, "maps"), encoder(x, None, "maps")
        torch.testing.assert_close(found[:, :, 0, 0], projected.project(own[:, :, 0, 0]))
    if "stages" in encoder.reads:
        assert projected.stages == encoder.stages
        torch.testing.assert_close(unexchanged(projected, x), projected.project(unexchanged(encoder, x)))


def unexchanged(encoder, x):
    """Pooled features of an encoder whose maps come back as they are."""
    running = encoder.staged(x)
    z = next(running)
    while True:
        try:
            z = running.send(z)
        except StopIteration as end:
            return end.value


@every_timed_case
def test_a_projected_row_does_not_depend_on_what_follows_it(name, spec, options):
    projected = Projected(make(name, spec, options), 3).double().eval()
    x, mask = shorter(sample(spec), spec)
    for i, length in enumerate(mask.sum(1).tolist()):
        torch.testing.assert_close(projected(x[i : i + 1, :length]), projected(x, mask)[i : i + 1])


# what is refused


@pytest.mark.parametrize("name", list(entries("encoder")))
def test_sizes_below_one_are_refused(name):
    entry = entries("encoder")[name]
    sizes = {"dim", "width", "hidden", "heads", "pool"} & set(entry.parameters)
    assert sizes
    for size in sizes:
        with pytest.raises(
            UserError, match=f"'{name}': {size} is 0; admissible: a whole number from 1( \\| null)?$"
        ):
            entry.check({size: 0} | ({"model": "m"} if name == "hf" else {}))


def test_heads_that_do_not_divide_dim_are_refused():
    with pytest.raises(UserError, match="dim 6 with 4 heads; dim must be a multiple of heads"):
        Sequence(STEPS, kind="transformer", dim=6, heads=4)
    assert Sequence(STEPS, kind="gru", dim=6, heads=4).dim == 6


@every_case
def test_an_encoder_without_maps_exchanges_its_features_as_its_only_stage(name, spec, options):
    encoder = make(name, spec, options).eval()
    if isinstance(encoder, ImageEncoder | Maps):
        return
    assert encoder.stages == {"features": encoder.dim}
    running = encoder.staged(sample(spec))
    features = next(running)
    torch.testing.assert_close(features, encoder(sample(spec)))
    with pytest.raises(StopIteration) as end:
        running.send(features + 1)
    torch.testing.assert_close(end.value.value, features + 1)
    assert isinstance(make("convnet", IMAGE, {}), Convnet)
