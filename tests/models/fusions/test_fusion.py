import pytest
import torch
from torch.nn import functional

from sweeper.models.encoders.sequence import Sequence
from sweeper.models.errors import UserError
from sweeper.models.fusions.base import Fusion, aligned
from sweeper.models.fusions.decoder import Decoder
from sweeper.models.maths.gradients import flat, hvp, twice_differentiable
from sweeper.models.net import Net
from sweeper.models.schema.entries import entries
from sweeper.models.values import Batch, DataSpec, InputSpec, Tokens

CASES = [
    ("concat", {}),
    ("sum", {}),
    ("mean", {}),
    ("weighted", {"on": "predictions"}),
    ("weighted", {"on": "features_scalar"}),
    ("weighted", {"on": "features_elementwise"}),
    ("film", {}),
    ("gated", {}),
    ("lstm", {"sequence": "modalities"}),
    ("lstm", {"sequence": "concat", "layers": 1, "hidden": 5}),
    ("mmtm", {}),
]
READ_OUTS_ADD_UP = {"concat": sum, "sum": sum, "mean": lambda parts: sum(parts) / len(parts)}
READ_OUTS_ADD_UP["mmtm"] = READ_OUTS_ADD_UP["mean"]
READ_OUT_ZEROES_THE_OTHERS = {"film", "gated", "lstm"}
ORDER_MATTERS = {"film", "gated", "lstm modalities"}
DIMS = {1: {"left": 4}, 2: {"left": 4, "right": 3}, 3: {"left": 4, "right": 3, "top": 6}}
CLASSES = 5

every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: str(v))
every_number = pytest.mark.parametrize("dims", DIMS.values(), ids=lambda v: f"M={len(v)}")


def make(name, options, dims, seed=0):
    torch.manual_seed(seed)
    found = entries("fusion")[name]
    given = {"stages": {m: {"features": d} for m, d in dims.items()}} if "stages" in found.given else {}
    return found.load()(dims, CLASSES, **given, **options).double()


def sample(dims, rows=8):
    generator = torch.Generator().manual_seed(1)
    return {m: torch.randn(rows, d, generator=generator).double() for m, d in dims.items()}


def test_every_fusion_has_a_case():
    dense = {name for name, entry in entries("fusion").items() if entry.facts["reads"] == "maps"}
    assert dense == {"decoder"}
    assert set(entries("fusion")) - dense == {name for name, _ in CASES}
    for name, options in CASES:
        entries("fusion")[name].check(options)
    assert {name for name, _ in CASES} == {*READ_OUTS_ADD_UP, *READ_OUT_ZEROES_THE_OTHERS, "weighted"}


@every_number
@every_case
def test_gives_logits_fused_and_for_each_modality(name, options, dims):
    fuse, features = make(name, options, dims), sample(dims)
    assert fuse(features).shape == (8, CLASSES)
    assert fuse(features).dtype == torch.float64
    assert {m: logits.shape for m, logits in fuse.unimodal(features).items()} == dict.fromkeys(
        dims, (8, CLASSES)
    )
    assert fuse({m: z[:0] for m, z in features.items()}).shape == (0, CLASSES)


@every_number
@every_case
def test_read_out_of_a_modality_depends_on_no_other(name, options, dims):
    fuse, features = make(name, options, dims), sample(dims)
    before = fuse.unimodal(features)
    for m in dims:
        others = {k: z if k == m else z + 1 for k, z in features.items()}
        torch.testing.assert_close(fuse.unimodal(others)[m], before[m])


@every_case
def test_read_out_of_the_only_modality_is_the_fused_prediction(name, options):
    fuse, features = make(name, options, DIMS[1]), sample(DIMS[1])
    torch.testing.assert_close(fuse.unimodal(features)["left"], fuse(features))


@every_number
@pytest.mark.parametrize("name", READ_OUTS_ADD_UP)
def test_read_outs_add_up_to_the_fused_logits(name, dims):
    fuse, features = make(name, {}, dims), sample(dims)
    torch.testing.assert_close(READ_OUTS_ADD_UP[name](list(fuse.unimodal(features).values())), fuse(features))


@every_number
@pytest.mark.parametrize(("name", "options"), [c for c in CASES if c[0] in READ_OUT_ZEROES_THE_OTHERS])
def test_other_read_outs_are_the_fused_head_with_the_other_features_zeroed(name, options, dims):
    fuse, features = make(name, options, dims), sample(dims)
    read_out = fuse.unimodal(features)
    for m in dims:
        alone = {k: z if k == m else torch.zeros_like(z) for k, z in features.items()}
        torch.testing.assert_close(read_out[m], fuse(alone))


@every_number
@pytest.mark.parametrize("on", ["predictions", "features_scalar"])
def test_attention_averages_the_read_outs_into_the_fused_logits(on, dims):
    fuse, features = make("weighted", {"on": on}, dims), sample(dims)
    attention = torch.stack([fuse.scorers[m](features[m]) for m in dims]).softmax(0)
    read_outs = torch.stack(list(fuse.unimodal(features).values()))
    torch.testing.assert_close((attention * read_outs).sum(0), fuse(features))


def test_elementwise_weights_are_shares_of_the_softmax_over_features():
    dims = {"left": 4, "right": 4, "top": 4}
    fuse, features = make("weighted", {"on": "features_elementwise"}, dims), sample(dims)
    parts = {m: z.softmax(-1) for m, z in features.items()}
    mixed = sum(parts[m] / sum(parts.values()) * features[m] for m in dims)
    torch.testing.assert_close(fuse(features), fuse.head(mixed))
    torch.testing.assert_close(fuse.unimodal(features)["top"], fuse.head(features["top"]))
    assert {n.split(".")[0] for n, _ in fuse.named_parameters()} == {"head"}


def test_concat_read_out_shares_the_bias_equally():
    fuse = make("concat", {}, DIMS[3])
    silent = {m: torch.zeros(1, d).double() for m, d in DIMS[3].items()}
    for logits in fuse.unimodal(silent).values():
        torch.testing.assert_close(logits[0], fuse.head.bias / 3)


def test_film_modulates_from_left_to_right():
    fuse, z = make("film", {}, DIMS[3]), sample(DIMS[3])
    gamma, beta = fuse.films["right"](z["left"]).split(3, dim=-1)
    gamma, beta = fuse.films["top"](gamma * z["right"] + beta).split(6, dim=-1)
    torch.testing.assert_close(fuse(z), fuse.head(gamma * z["top"] + beta))


def test_gated_gates_from_left_to_right():
    fuse, z = make("gated", {}, DIMS[3]), sample(DIMS[3])
    h = torch.sigmoid(fuse.gates["right"](z["left"])) * fuse.values["right"](z["right"])
    h = torch.sigmoid(fuse.gates["top"](h)) * fuse.values["top"](z["top"])
    torch.testing.assert_close(fuse(z), fuse.head(h))


def test_lstm_reads_one_step_per_modality_or_one_in_all():
    z = sample(DIMS[2])
    fuse = make("lstm", {"sequence": "modalities"}, DIMS[2])
    steps = torch.stack([z["left"], fuse.align["right"](z["right"])], dim=1)
    torch.testing.assert_close(fuse(z), fuse.head(fuse.lstm(steps)[1][0][-1]))
    fuse = make("lstm", {"sequence": "concat"}, DIMS[2])
    steps = torch.cat([z["left"], z["right"]], dim=1).unsqueeze(1)
    torch.testing.assert_close(fuse(z), fuse.head(fuse.lstm(steps)[1][0][-1]))


def test_lstm_is_as_wide_as_the_widest_features_unless_told():
    assert make("lstm", {}, DIMS[3]).lstm.hidden_size == 6
    assert make("lstm", {"hidden": 9}, DIMS[3]).lstm.hidden_size == 9


@pytest.mark.parametrize("layers", [1, 2])
def test_lstm_drops_out_in_training_only(layers):
    fuse, z = make("lstm", {"dropout": 0.5, "layers": layers}, DIMS[2]), sample(DIMS[2])
    assert not torch.equal(fuse(z), fuse(z))
    fuse.eval()
    assert torch.equal(fuse(z), fuse(z))


@pytest.mark.parametrize(
    ("options", "admissible"),
    [
        ({"layers": 0}, "a whole number from 1"),
        ({"hidden": 0}, r"a whole number from 1 \| null"),
        ({"dropout": 1.0}, "a number from 0 to below 1"),
        ({"dropout": -0.1}, "a number from 0 to below 1"),
    ],
    ids=str,
)
def test_lstm_refuses_what_cannot_be_built(options, admissible):
    (name,) = options
    with pytest.raises(UserError, match=f"fusion 'lstm': {name} is .*; admissible: {admissible}$"):
        entries("fusion")["lstm"].build(options, DIMS[2], CLASSES)


@pytest.mark.parametrize(("name", "options"), [("weighted", {"on": "features_scalar"}), ("lstm", {})])
def test_only_features_of_another_width_are_projected(name, options):
    def projected(dims):
        return [
            n for n, _ in make(name, options, dims).named_parameters() if n.startswith(("align", "values"))
        ]

    assert projected({"left": 4, "right": 4}) == []
    assert len(projected(DIMS[3])) == 2


@every_case
def test_order_of_modalities_matters_only_where_said(name, options):
    dims = {"left": 4, "right": 4, "top": 4}
    fuse, z = make(name, options, dims), sample(dims)
    with torch.no_grad():
        for parameter in fuse.parameters():
            parameter.fill_(
                0.1
            )  # equal weights: an exchange of modalities shows only where their places differ
    exchanged = {"left": z["right"], "right": z["left"], "top": z["top"]}
    same = torch.allclose(fuse(z), fuse(exchanged))
    assert same != bool(ORDER_MATTERS & {name, f"{name} {options.get('sequence')}"})


@every_case
def test_order_of_the_features_given_never_matters(name, options):
    fuse, z = make(name, options, DIMS[3]), sample(DIMS[3])
    assert torch.equal(fuse(dict(reversed(z.items()))), fuse(z))


@every_number
@every_case
def test_gradient_reaches_every_parameter_and_every_feature(name, options, dims):
    fuse = make(name, options, dims)
    features = {m: z.requires_grad_() for m, z in sample(dims).items()}
    fuse(fuse.exchange(0, features, {})).square().sum().backward()
    for tensor in (*fuse.parameters(), *features.values()):
        assert tensor.grad is not None
    assert all(z.grad.abs().sum() > 0 for z in features.values())


@every_case
def test_second_derivatives_exist(name, options):
    fuse = make(name, options, DIMS[3])
    parameters = list(fuse.parameters())
    with twice_differentiable():
        product = hvp(fuse(sample(DIMS[3])).square().sum(), parameters)
    assert product(torch.ones_like(flat(parameters))).isfinite().all()


@every_number
@every_case
def test_learns_labels_that_the_last_modality_decides(name, options, dims):
    fuse, features = make(name, options, dims), sample(dims, rows=64)
    target = list(features.values())[-1][:, :3].argmax(1)
    optimiser = torch.optim.Adam(fuse.parameters(), lr=0.03)
    for _ in range(80):
        optimiser.zero_grad()
        functional.cross_entropy(fuse(features), target).backward()
        optimiser.step()
    assert (fuse(features).argmax(1) == target).double().mean() > 0.75


def test_registered_classes_derive_from_fusion():
    for name, found in entries("fusion").items():
        assert issubclass(found.load(), Fusion)
        assert found.load().__name__.lower() == name


class LastStep(Fusion):
    """The toy that reads tokens: a head on the sum of every modality's last step that is there."""

    reads = "tokens"

    def __init__(self, dims, n_outputs):
        super().__init__(dims, n_outputs)
        self.head = torch.nn.Linear(next(iter(dims.values())), n_outputs)

    def forward(self, features):
        last = {m: z.mask.sum(1).sub(1).clamp_min(0) for m, z in features.items()}
        return self.head(sum(z.values[torch.arange(len(z.values)), last[m]] for m, z in features.items()))


def test_read_outs_of_tokens_leave_the_other_modalities_without_a_step():
    fuse, mask = LastStep({"left": 4, "right": 4}, CLASSES), torch.tensor([[True, True, False], [True] * 3])
    features = {m: Tokens(torch.randn(2, 3, 4) * mask.unsqueeze(-1), mask) for m in fuse.dims}
    seen = []
    fuse.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    read_out = fuse.unimodal(features)
    for m, given in zip(fuse.dims, seen, strict=True):
        (other,) = fuse.dims.keys() - {m}
        assert given[m] is features[m]
        assert not given[other].values.any()
        assert not given[other].mask.any()
        alone = features[m].values[torch.arange(2), torch.tensor([1, 2])]
        torch.testing.assert_close(read_out[m], fuse.head(alone))


def test_a_net_reads_tokens_and_a_row_that_lacks_a_modality_has_none():
    torch.manual_seed(0)
    specs = {m: InputSpec("sequence", (3, 2)) for m in ("left", "right")}
    encoders = {m: Sequence(spec, dim=4) for m, spec in specs.items()}
    net = Net(DataSpec("toy", specs, CLASSES, {}, ""), encoders, LastStep({"left": 4, "right": 4}, CLASSES))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    inputs = {m: torch.randn(2, 3, 2) * mask.unsqueeze(-1) for m in specs}
    present = {"right": torch.tensor([False, True])}
    batch = Batch(inputs, torch.zeros(2), torch.arange(2), present, mask={"left": mask})
    output = net(batch)
    left, right = output.features["left"], output.features["right"]
    assert torch.equal(left.mask, mask)
    assert right.mask.tolist() == [[False] * 3, [True] * 3]
    assert not right.values[0].any()
    torch.testing.assert_close(left.values, encoders["left"](inputs["left"], mask, "tokens").values)
    torch.testing.assert_close(output.fused[0], net.fusion.head(left.values[0, 1]))
    torch.testing.assert_close(output.unimodal["right"][1], net.fusion.head(right.values[1, 2]))
    torch.testing.assert_close(output.pooled["left"][0], left.values[0, :2].mean(0))
    assert list(net.encode(batch, ["right"])) == ["right"]


@pytest.mark.parametrize("name", ["concat", "lstm"])
def test_nothing_is_exchanged_unless_a_fusion_says_so(name):
    maps = {"left": torch.randn(2, 3, 4, 4), "right": torch.randn(2, 3, 4, 4)}
    assert make(name, {}, DIMS[2]).exchange(0, maps, {}) is maps


def test_features_of_another_width_are_aligned_such_that_absent_ones_stay_0():
    maps = aligned({"left": 4, "right": 3}, 4)
    z = torch.randn(2, 4)
    assert maps["left"](z) is z
    assert maps["right"](torch.zeros(2, 3)).shape == (2, 4)
    assert not maps["right"](torch.zeros(2, 3)).any()


MAPS = {"left": (4, 3, 2), "right": (3, 6, 4), "top": (6, 1, 1)}  # (D_m, h_m, w_m)


def decoder(maps=MAPS, **options):
    torch.manual_seed(0)
    dims = {m: shape[0] for m, shape in maps.items()}
    return Decoder(dims, CLASSES, size=(12, 9), **options).double()


def sample_maps(maps=MAPS, rows=8):
    generator = torch.Generator().manual_seed(1)
    return {m: torch.randn(rows, *shape, generator=generator).double() for m, shape in maps.items()}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_decoder_gives_logits_of_every_pixel_from_maps_of_any_size(number):
    maps = dict(list(MAPS.items())[:number])
    decode, features = decoder(maps), sample_maps(maps)
    logits = decode(features)
    assert logits.shape == (8, CLASSES, 12, 9)
    assert decode({m: z[:0] for m, z in features.items()}).shape == (0, CLASSES, 12, 9)
    assert torch.equal(decode(dict(reversed(features.items()))), logits)
    for m, alone in decode.unimodal(features).items():
        silent = {k: z if k == m else torch.zeros_like(z) for k, z in features.items()}
        torch.testing.assert_close(alone, decode(silent))


def test_decoder_keeps_places_and_is_constant_on_constant_maps():
    decode, features = decoder(), sample_maps(rows=1)
    other = {m: z.clone() for m, z in features.items()}
    other["right"][:, :, -1, -1] += 3
    changed = (decode(features) != decode(other))[0].any(0)
    assert changed[-1, -1]
    assert not changed[0, 0]
    flat_maps = {m: torch.ones_like(z) for m, z in features.items()}
    inner = decode(flat_maps)[0, :, 4:-4, 4:-4]  # away from the zeros beyond the border
    torch.testing.assert_close(inner, inner[:, :1, :1].expand_as(inner))


def test_decoder_reaches_every_parameter_has_second_derivatives_and_learns():
    decode, features = decoder(), sample_maps(rows=16)
    with twice_differentiable():
        product = hvp(decode(features).square().sum(), list(decode.parameters()))
    assert product(torch.ones_like(flat(decode.parameters()))).isfinite().all()
    target = functional.interpolate(features["right"], (12, 9), mode="nearest").argmax(1)
    optimiser = torch.optim.Adam(decode.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        functional.cross_entropy(decode(features), target).backward()
        assert all(p.grad is not None for p in decode.parameters())
        optimiser.step()
    assert (decode(features).argmax(1) == target).double().mean() > 0.75


def test_decoder_refuses_no_channel():
    entry = entries("fusion")["decoder"]
    assert entry.given == {"size"}
    with pytest.raises(UserError, match="fusion 'decoder': hidden is 0; admissible: a whole number from 1"):
        entry.build({"hidden": 0}, {"left": 4}, CLASSES, size=(12, 9))
