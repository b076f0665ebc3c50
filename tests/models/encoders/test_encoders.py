import inspect

import pytest
import torch
from torch import nn

from sweeper.models.encoders import all as encoders
from sweeper.models.errors import UserError
from sweeper.models.maths.gradients import flat, hvp, twice_differentiable
from sweeper.models.schema.entries import entries
from sweeper.models.values import InputSpec

VECTOR, SEQUENCE, IMAGE = InputSpec((7,)), InputSpec((5, 3)), InputSpec((1, 8, 8))
STANDARD = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}
CASES = [
    ("mlp", VECTOR, {}),
    ("mlp", SEQUENCE, {"layers": 0}),
    ("mlp", IMAGE, {"layers": 2, "hidden": 9, "dim": 4}),
    ("convnet", IMAGE, {}),
    ("convnet", InputSpec((2, 17, 9)), {"norm": "batch", "width": 6, "layers": 4, "dim": 3}),
    ("convnet", IMAGE, {"norm": "group", "width": 6}),
    ("resnet18", InputSpec((2, 32, 32)), {"width": 4}),
    ("resnet34", IMAGE, {"width": 4}),
    ("resnet50", IMAGE, {"width": 4}),
    ("sequence", SEQUENCE, {"kind": "gru", "layers": 2, "dim": 6}),
    ("sequence", SEQUENCE, {"kind": "transformer", "layers": 2, "dim": 6, "heads": 2}),
    ("sequence", SEQUENCE, {"kind": "transformer", "dim": 5, "heads": 1}),
    ("maps", IMAGE, {}),
    ("maps", InputSpec((2, 17, 9)), {"width": 6, "layers": 2, "dim": 3}),
]
every_case = pytest.mark.parametrize(
    ("name", "spec", "options"), CASES, ids=lambda v: str(getattr(v, "shape", v))
)


def make(name, spec, options, seed=0):
    torch.manual_seed(seed)
    return getattr(encoders, name)(spec, **options).double()


def sample(spec, rows=4):
    return torch.randn(rows, *spec.shape, generator=torch.Generator().manual_seed(1)).double()


def test_every_encoder_has_a_case_and_says_what_it_takes():
    names = set(entries("encoder"))
    assert names == {name for name, _, _ in CASES} == set(encoders.TAKES)
    for name, _, options in CASES:
        entries("encoder")[name].check(options)


def test_the_default_of_each_kind_takes_that_kind():
    assert set(encoders.DEFAULTS) == set(encoders.AXES)
    for kind, name in encoders.DEFAULTS.items():
        assert kind in encoders.TAKES[name]


@every_case
def test_maps_a_batch_to_features_of_width_dim(name, spec, options):
    encoder = make(name, spec, options)
    shape = encoder(sample(spec)).shape
    assert shape[:2] == (4, encoder.dim)
    assert len(shape) == (4 if name in encoders.DENSE else 2)
    assert encoder(sample(spec)).dtype == torch.float64
    if "dim" in options:
        assert encoder.dim == options["dim"]


@every_case
def test_evaluates_rows_independently_and_accepts_none(name, spec, options):
    encoder, x = make(name, spec, options).eval(), sample(spec)
    with torch.no_grad():
        whole = encoder(x)
        torch.testing.assert_close(encoder(x[1:2]), whole[1:2])
        assert encoder(x[:0]).shape == (0, *whole.shape[1:])


@every_case
def test_seed_alone_decides_the_weights_and_nothing_is_random_afterwards(name, spec, options):
    first, same, other = (make(name, spec, options, seed) for seed in (3, 3, 4))
    state = torch.get_rng_state()
    torch.testing.assert_close(first(sample(spec)), same(sample(spec)), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(flat(first.parameters()), flat(other.parameters()))


@every_case
def test_gradient_reaches_every_parameter(name, spec, options):
    encoder = make(name, spec, options)
    encoder(sample(spec)).square().sum().backward()
    for parameter in encoder.parameters():
        assert parameter.grad is not None


@every_case
def test_second_derivatives_exist(name, spec, options):
    encoder = make(name, spec, options)
    parameters = list(encoder.parameters())
    with twice_differentiable():
        product = hvp(encoder(sample(spec)).square().sum(), parameters)
    assert product(torch.ones_like(flat(parameters))).isfinite().all()


@every_case
def test_state_restores_the_encoder(name, spec, options):
    encoder, copy = make(name, spec, options), make(name, spec, options, seed=9)
    encoder(sample(spec))
    copy.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder.eval()(sample(spec)), copy.eval()(sample(spec)))


@pytest.mark.parametrize(("name", "expected"), STANDARD.items())
def test_resnet_has_the_standard_number_of_parameters(name, expected):
    with torch.device("meta"):
        encoder = getattr(encoders, name)(InputSpec((3, 32, 32)))
    assert sum(p.numel() for p in encoder.parameters()) == expected
    assert encoder.dim == (2048 if name == "resnet50" else 512)


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


def test_convnet_shares_its_channels_among_up_to_eight_groups():
    encoder = make("convnet", IMAGE, {"norm": "group", "width": 6})
    assert [m.num_groups for m in layers_of(encoder, nn.GroupNorm)] == [2, 4, 8]


def test_maps_halve_the_image_in_every_layer_but_the_first():
    for layers, places in ((1, (17, 9)), (2, (9, 5)), (3, (5, 3))):
        encoder = make("maps", InputSpec((2, 17, 9)), {"layers": layers, "width": 3, "dim": 4})
        assert encoder(sample(InputSpec((2, 17, 9)))).shape == (4, 4, *places)
        *widths, last = (m.out_channels for m in layers_of(encoder, nn.Conv2d))
        assert (widths, last) == ([3, 6, 12][: layers - 1], 4)


def test_maps_keep_places_apart():
    encoder, x = make("maps", IMAGE, {}), torch.zeros(2, 1, 8, 8).double()
    x[1, 0, 7, 7] = 5
    changed = (encoder(x)[0] != encoder(x)[1]).any(0)
    assert changed[-1, -1]
    assert not changed[0, 0]


def test_gru_averages_its_states_over_time():
    encoder, x = make("sequence", SEQUENCE, {"layers": 2}), sample(SEQUENCE)
    states, _ = encoder.body(x)
    torch.testing.assert_close(encoder(x), states.mean(1))
    assert encoder.body.num_layers == 2


def test_convnet_keeps_no_batch_statistics_by_default():
    assert not list(make("convnet", IMAGE, {}).buffers())
    assert list(make("convnet", IMAGE, {"norm": "batch"}).buffers())


def test_attention_sees_the_order_of_time_steps():
    encoder, x = make("sequence", SEQUENCE, {"kind": "transformer"}), sample(SEQUENCE)
    assert not torch.allclose(encoder(x), encoder(x.flip(1)))
    encoder.body[1].code.zero_()
    torch.testing.assert_close(encoder(x), encoder(x.flip(1)))


def test_attention_blocks_start_from_different_weights():
    first, second = make("sequence", SEQUENCE, {"kind": "transformer", "layers": 2}).body[2:4]
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize(
    ("name", "spec"),
    [(n, s) for s in (VECTOR, SEQUENCE, IMAGE) for n, kinds in encoders.TAKES.items() if s.kind not in kinds],
    ids=lambda v: getattr(v, "kind", v),
)
def test_input_of_another_kind_is_refused_with_the_encoders_that_fit(name, spec):
    with pytest.raises(
        UserError, match=rf"encoder '{name}' takes .*, not a {spec.kind} of shape .*that fit: .*mlp"
    ):
        getattr(encoders, name)(spec)


def test_refusal_reads_as_one_sentence():
    with pytest.raises(UserError) as caught:
        encoders.convnet(SEQUENCE)
    assert str(caught.value) == (
        "encoder 'convnet' takes a sample of kind image (C, H, W), not a sequence of shape (5, 3);"
        " encoders that fit: mlp, sequence"
    )


@pytest.mark.parametrize(
    ("name", "spec"), [("mlp", VECTOR), ("convnet", IMAGE), ("sequence", SEQUENCE), ("maps", IMAGE)]
)
def test_sizes_below_one_are_refused(name, spec):
    sizes = inspect.signature(getattr(encoders, name)).parameters
    for size in {"dim", "width", "hidden", "heads"} & set(sizes):
        with pytest.raises(UserError, match=f"'{name}': {size} is 0; admissible: whole numbers from 1"):
            getattr(encoders, name)(spec, **{size: 0})


def test_heads_that_do_not_divide_dim_are_refused():
    with pytest.raises(UserError, match="dim 6 with 4 heads; dim must be a multiple of heads"):
        encoders.sequence(SEQUENCE, kind="transformer", dim=6, heads=4)
    assert encoders.sequence(SEQUENCE, kind="gru", dim=6, heads=4).dim == 6
