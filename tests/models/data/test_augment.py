"""Augmentation: what each does by hand, and that a row's numbers are its own, in training alone."""

import dataclasses

import numpy as np
import pytest
import torch

from sweeper.models.data import feed as feeds
from sweeper.models.data.augment.base import Augmentation, Augmenter
from sweeper.models.data.augment.pictures import Colour, Crop, Flip, ResizedCrop
from sweeper.models.data.augment.spans import FrequencyMask, TimeMask
from sweeper.models.data.feed import Feed
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entries
from sweeper.models.streams import torch_stream
from sweeper.models.training.build import augmenter
from sweeper.models.training.splits import splits_of
from sweeper.models.values import AXES
from tests.models.cases import SETTINGS, build, fit, synthetic

KNOWN = entries("augmentation")
SHAPES = {"vector": (6,), "sequence": (6, 3), "image": (2, 5, 6), "video": (6, 2, 5, 7), "audio": (30,)}
CASES = [(name, kind) for name, entry in KNOWN.items() for kind in entry.facts["takes"]]
every_case = pytest.mark.parametrize(("name", "kind"), CASES)


def make(name, **options):
    return KNOWN[name].build({"name": name, **options})


def sample(kind, rows=4):
    return torch.randn(rows, *SHAPES[kind], generator=torch.Generator().manual_seed(1))


def uniform(augmentation, rows=4):
    return torch.rand(rows, augmentation.numbers, generator=torch.Generator().manual_seed(2))


def steps_of(x):
    return torch.full((len(x),), x.shape[-1] if x.dim() == 4 else x.shape[1])


# what each does


def test_every_augmentation_takes_inputs_with_a_mean():
    assert {name for name, _ in CASES} == set(KNOWN)
    assert {kind for _, kind in CASES} <= set(AXES) - {"tokens"}
    assert all(issubclass(entry.load(), Augmentation) for entry in KNOWN.values())
    assert KNOWN["time_mask"].load() is TimeMask


@every_case
def test_keeps_shape_and_type_changes_something_and_leaves_its_input(name, kind):
    own, x = make(name), sample(kind).double()
    before = x.clone()
    found = own(x, uniform(own).double(), steps_of(x))
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert not torch.equal(found, x)
    assert torch.equal(x, before)
    assert own(x[:0], uniform(own)[:0], steps_of(x)[:0]).shape == (0, *SHAPES[kind])


@every_case
def test_rows_are_changed_each_by_its_own_numbers(name, kind):
    own, x = make(name), sample(kind)
    u, lengths = uniform(own), steps_of(x)
    whole = own(x, u, lengths)
    for i in (2, 0):
        torch.testing.assert_close(own(x[i : i + 1], u[i : i + 1], lengths[i : i + 1])[0], whole[i])


@pytest.mark.parametrize("name", [name for name, kind in CASES if kind == "video" and name != "time_mask"])
def test_frames_of_a_video_are_all_changed_alike(name):
    own, x = make(name), sample("video")
    u, lengths = uniform(own), torch.full((4,), 7)
    frames = [own(x[:, t], u, lengths) for t in range(x.shape[1])]
    torch.testing.assert_close(own(x, u, lengths), torch.stack(frames, 1))


def test_a_crop_shifts_and_fills_up_with_the_mean():
    x = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
    crop = Crop(padding=1)

    def at(down, right):
        return crop(x, torch.tensor([[down, right]]), steps_of(x))[0, 0].tolist()

    assert at(0.5, 0.5) == [[1, 2, 3], [4, 5, 6]]
    assert at(0.0, 0.0) == [[0, 0, 0], [0, 1, 2]]
    assert at(0.999, 0.999) == [[5, 6, 0], [0, 0, 0]]
    assert at(0.4, 0.9) == [[2, 3, 0], [5, 6, 0]]
    assert at(1.0, 0.5) == [[4, 5, 6], [0, 0, 0]]  # as rounding to few digits may give


def test_every_crop_is_as_frequent():
    x = torch.zeros(9000, 1, 3, 3)
    x[:, :, 1, 1] = 1
    crop = Crop(padding=1)
    found = crop(x, torch.rand(9000, 2, generator=torch.Generator().manual_seed(0)), steps_of(x))
    assert found.mean((0, 1)).flatten().tolist() == pytest.approx([1 / 9] * 9, abs=0.012)


def cut(x, *u, least=0.25):
    return ResizedCrop(least=least)(x, torch.tensor([u]), steps_of(x))[0]


def test_a_resized_crop_enlarges_a_part_of_the_area_from_where_it_is_drawn():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    torch.testing.assert_close(cut(ramp, 1.0, 0.5, 0.5, 0.5), ramp[0])  # all of it
    quarter = cut(ramp, 0.0, 0.5, 0.0, 0.0)[0]  # 4 × 4 pixels, the first four columns
    torch.testing.assert_close(quarter[0, 1:-1], torch.arange(8.0)[1:-1] / 2 - 0.25)
    torch.testing.assert_close(quarter, quarter[:1].expand(8, 8))
    assert torch.allclose(cut(ramp, 0.0, 0.5, 0.0, 0.999)[0], quarter + 4, atol=0.3)
    torch.testing.assert_close(cut(ramp.mT, 0.0, 0.5, 0.0, 0.0)[0], quarter.T)


def test_a_resized_crop_is_3_to_4_to_4_to_3_in_shape():
    ramp = torch.arange(90.0).expand(1, 1, 90, 90)

    def span(x):
        return (x.max() - x.min()).item()

    for u, ratio in ((0.0, 3 / 4), (1.0, 4 / 3)):
        across, down = (span(cut(x, 0.0, u, 0.5, 0.5)) for x in (ramp, ramp.mT))
        assert across / down == pytest.approx(ratio, rel=0.03)
        assert across * down == pytest.approx(90 * 90 / 4, rel=0.05)


def test_a_flip_exchanges_left_and_right_in_a_share_of_rows():
    x = torch.arange(12.0).view(2, 1, 2, 3)
    found = Flip(probability=0.3)(x, torch.tensor([[0.29], [0.3]]), steps_of(x))
    assert found[0, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert torch.equal(found[1], x[1])
    u = torch.rand(2, 1)
    assert torch.equal(Flip(probability=0.0)(x, u, steps_of(x)), x)
    assert torch.equal(Flip(probability=1.0)(x, u, steps_of(x)), x.flip(-1))


@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 2)])
def test_colour_scales_and_shifts_a_whole_sample(shape):
    x = torch.ones(3, 1, *shape) if len(shape) == 2 else torch.ones(3, 2, *shape)
    u = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])
    found = Colour(brightness=0.4, contrast=0.2)(x, u, steps_of(x))
    expected = [1.0, 1.2 - 0.4, 0.9 + 0.2]
    for row, value in zip(found, expected, strict=True):
        torch.testing.assert_close(row, torch.full_like(row, value))


def zeros(x):
    """Where every number of a step is 0, (B, T)."""
    return (x.flatten(2) == 0).all(-1) if x.dim() > 2 else x == 0


@pytest.mark.parametrize("kind", ["sequence", "video", "audio"])
def test_a_span_of_steps_is_a_share_of_those_that_are_there(kind):
    x = torch.ones(4, 10, *SHAPES[kind][1:])
    lengths = torch.tensor([10, 10, 5, 10])
    u = torch.tensor([[1.0, 0.0], [1.0, 0.999], [1.0, 0.999], [0.0, 0.5]])
    found = zeros(TimeMask(share=0.4)(x, u, lengths))
    assert found.long().tolist() == [
        [1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 0, 0, 0, 0, 0],
        [0] * 10,
    ]


def test_the_time_of_a_spectrogram_is_its_last_axis_and_frequency_the_one_before():
    x, u = torch.ones(1, 2, 4, 5), torch.tensor([[1.0, 0.0]])
    time = TimeMask(share=0.4)(x, u, steps_of(x))[0]
    assert (time[:, :, :2] == 0).all()
    assert (time[:, :, 2:] == 1).all()
    frequency = FrequencyMask(share=0.5)(x, u, steps_of(x))[0]
    assert (frequency[:, :2] == 0).all()
    assert (frequency[:, 2:] == 1).all()


@pytest.mark.parametrize("augmentation", [TimeMask(share=0.5), FrequencyMask(share=0.5)])
def test_spans_of_every_size_and_place_occur(augmentation):
    x = torch.ones(4000, 1, 8, 8)
    u = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0))
    gone = augmentation(x, u, steps_of(x))[:, 0] == 0
    lines = gone.all(1) if isinstance(augmentation, TimeMask) else gone.all(2)
    assert set(lines.sum(1).tolist()) == {0, 1, 2, 3, 4}
    assert lines.any(0).all()
    assert ((lines[:, 1:] > lines[:, :-1]).sum(1) + lines[:, 0] <= 1).all()  # one span


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"name": "crop", "padding": 0}, "'crop': padding is 0; admissible: a whole number from 1"),
        ({"name": "resized_crop", "least": 1.1}, "least is 1.1; admissible: a number from 0 to 1"),
        ({"name": "flip", "probability": 1.1}, "probability is 1.1; admissible: a number from 0 to 1"),
        ({"name": "colour", "contrast": -0.1}, "contrast is -0.1; admissible: a number from 0 to 1"),
        ({"name": "time_mask", "share": "all"}, "share is 'all'; admissible: a number from 0 to 1"),
        ({"name": "time_mask", "shares": 0.1}, "unknown hyper-parameter 'shares' .*; did you mean 'share'"),
        ({"name": "croped"}, "unknown augmentation 'croped'; did you mean 'crop'"),
    ],
)
def test_what_is_not_admissible_is_refused(named, sentence):
    with pytest.raises(UserError, match=sentence):
        augmenter({"m0": [named]}, synthetic(kind="image").spec, 0)


# whose numbers


CHOSEN = {
    "m0": [{"name": "crop", "padding": 2}, {"name": "colour"}],
    "m1": [{"name": "time_mask", "share": 0.6}],
}
DATA = synthetic(kind=["image", "sequence"], shorter=0.5)


def changed(rows, epoch=0, seed=0, chosen=CHOSEN):
    """Return {m: {row: input}} of rows that go through the net in one batch, without what is not there."""
    batch = augmenter(chosen, DATA.spec, seed)(Feed(DATA, DATA.rows["train"]).at(np.array(rows)), epoch)
    lengths = DATA.lengths["m1"]
    return {
        "m0": dict(zip(rows, batch.inputs["m0"], strict=True)),
        "m1": {r: x[: lengths[r]] for r, x in zip(rows, batch.inputs["m1"], strict=True)},
    }


def same(a, b, rows):
    return {m: all(torch.equal(a[m][r], b[m][r]) for r in rows) for m in a}


def test_neither_the_order_nor_the_batch_decides_a_rows_numbers():
    whole = changed(list(range(40)))
    backwards, alone = changed(list(range(39, -1, -1))), [changed([row]) for row in range(40)]
    assert same(whole, backwards, range(40)) == {"m0": True, "m1": True}
    for row, one in enumerate(alone):
        assert same(whole, one, [row]) == {"m0": True, "m1": True}
    twice = augmenter(CHOSEN, DATA.spec, 0)(Feed(DATA, DATA.rows["train"]).at(np.array([7, 3, 7])), 0)
    assert torch.equal(twice.inputs["m0"][0], twice.inputs["m0"][2])


def test_seed_and_epoch_decide_them():
    rows = list(range(40))
    base = changed(rows)
    assert same(base, changed(rows), rows) == {"m0": True, "m1": True}
    for other in (changed(rows, epoch=1), changed(rows, seed=1)):
        assert same(base, other, rows) == {"m0": False, "m1": False}


def test_rows_modalities_and_places_have_numbers_of_their_own():
    class Seen(Augmentation):
        takes, numbers = ("vector",), 2

        def __init__(self):
            self.u = None

        def __call__(self, x, u, lengths):
            self.u = u
            return x

    data, steps = synthetic(modalities=3), {m: [Seen(), Seen()] for m in ("m0", "m1", "m2")}
    batch = Feed(data, data.rows["train"]).at(np.arange(50))
    Augmenter(steps, data.spec.rows, 0)(batch, 0)
    drawn = torch.stack([step.u for own in steps.values() for step in own])
    assert drawn.unique().numel() == drawn.numel() == 600
    assert (drawn.min() >= 0) & (drawn.max() < 1)
    expected = torch.rand(data.spec.rows, 2, generator=torch_stream(0, "augment", "m1", 1, 0))[:50]
    torch.testing.assert_close(steps["m1"][1].u, expected)


def test_leaving_one_out_changes_no_other():
    rows = list(range(20))
    part = changed(rows, chosen={"m1": CHOSEN["m1"]})
    assert same(part, changed(rows), rows) == {"m0": False, "m1": True}
    clean = Feed(DATA, DATA.rows["train"]).at(np.array(rows))
    assert all(torch.equal(part["m0"][r], clean.inputs["m0"][i]) for i, r in enumerate(rows))


def test_what_is_not_there_stays_0():
    data = synthetic(kind="video", shorter=0.8)
    batch = Feed(data, data.rows["train"]).at(np.arange(30))
    own = augmenter({"m0": [{"name": "colour", "brightness": 3.0}]}, data.spec, 0)(batch, 0)
    assert not own.mask["m0"].all()
    assert not own.inputs["m0"][~own.mask["m0"]].any()
    assert not torch.equal(own.inputs["m0"], batch.inputs["m0"])


def test_no_augmentation_is_the_batch_itself():
    batch = Feed(DATA, DATA.rows["train"]).at(np.arange(3))
    assert augmenter({}, DATA.spec, 0)(batch, 0) is batch


# when


class Spy(Augmentation):
    """Marks the rows that it is asked to change."""

    takes, numbers = ("vector",), 1

    def __init__(self):
        self.seen = []

    def __call__(self, x, u, lengths):
        self.seen.append(u)
        return x + 100.0


@pytest.mark.parametrize("limit", [0, feeds.IN_MEMORY_BYTES])
def test_rows_are_changed_when_they_train_and_never_when_they_are_evaluated(limit, monkeypatch):
    monkeypatch.setattr(feeds, "IN_MEMORY_BYTES", limit)
    data, spy = synthetic(), Spy()
    method = build({"name": "joint"}, data)
    seen = {True: [], False: []}
    forward = method.forward
    monkeypatch.setattr(method, "forward", lambda b: seen[method.training].append(b) or forward(b))
    settings = dataclasses.replace(SETTINGS, epochs=2, lr=1e-6)
    fit(method, data, settings, augmenter=Augmenter({"m0": [spy]}, data.spec.rows, 0))
    assert len(spy.seen) == len(seen[True]) == 6
    first, second = (torch.cat(spy.seen[i : i + 3]).sort(0).values for i in (0, 3))
    assert not (first == second).any()  # every epoch draws anew
    for training, batches in seen.items():
        rows = torch.cat([b.index for b in batches]).unique().tolist()
        assert rows == data.rows["train" if training else "validation"].tolist()
        clean = Feed(data, data.rows["train" if training else "validation"])
        for batch in batches:
            shift = 100.0 if training else 0.0
            own = clean.at(batch.index.numpy())
            torch.testing.assert_close(batch.inputs["m0"], own.inputs["m0"] + shift)
            assert torch.equal(batch.inputs["m1"], own.inputs["m1"])


def test_what_a_method_reads_of_its_training_rows_is_not_changed():
    data = synthetic()
    method = build({"name": "lfm"}, data)  # holds rows out, and reads them
    splits = splits_of(data, method, 0)
    for feed in (splits.train, splits.held_out, splits.validation):
        for batch in feed.batches(50):
            expected = torch.from_numpy(data.inputs["m0"][batch.index.numpy()])
            torch.testing.assert_close(batch.inputs["m0"], expected)


def test_a_run_repeats_its_numbers_and_another_seed_gives_others():
    data = synthetic(kind="image")
    named = {"m0": [{"name": "crop"}]}

    def curve(seed, chosen):
        method = build({"name": "joint"}, data)
        own = augmenter(chosen, data.spec, seed)
        return [epoch["loss/loss"] for epoch in fit(method, data, SETTINGS, augmenter=own).curve]

    assert curve(0, named) == curve(0, named)
    assert curve(0, named) != curve(1, named)
    assert curve(0, named) != curve(0, {})


def test_numbers_that_are_not_standardised_are_while_they_are_augmented():
    data = synthetic(kind="image")
    chosen = {"m0": [{"name": "colour", "brightness": 3.0}, {"name": "crop", "padding": 2}]}
    batch = Feed(data, data.rows["train"]).at(data.rows["train"][:9])
    raw = dataclasses.replace(batch, inputs={**batch.inputs, "m0": batch.inputs["m0"] * 40 + 120})
    expected = augmenter(chosen, data.spec, 0)(batch, 1).inputs["m0"]
    found = augmenter(chosen, data.spec, 0, {"m0": (120.0, 40.0)})(raw, 1).inputs["m0"]
    torch.testing.assert_close(found, expected * 40 + 120)
