"""Batches: cut and masked by length, the same from memory and from disk, read ahead in a thread that ends."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from sweeper.models.data import feed as feeds
from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import assemble, standardized
from sweeper.models.data.feed import Feed, ahead
from sweeper.models.data.noise.conditions import parse

N, STEPS = 40, 6


def timed(behind=0.0, lengths=None):
    """Return a sequence, a video, tokens and sound of their own lengths, and an image; garbage behind the ends."""
    rng = np.random.default_rng(0)
    inputs = {
        "sequence": rng.normal(3, 2, (N, STEPS, 2)).astype(np.float32),
        "video": rng.integers(1, 256, (N, STEPS, 1, 2, 3), dtype=np.uint8),
        "tokens": rng.integers(1, 9, (N, STEPS)),
        "audio": rng.normal(1, 3, (N, STEPS)).astype(np.float32),
        "image": rng.normal(size=(N, 1, 2, 2)).astype(np.float32),
    }
    if lengths is None:
        lengths = {m: rng.integers(1, STEPS + 1, N) for m in inputs if m != "image"}
    for m, own in lengths.items():
        inputs[m][np.arange(STEPS) >= own[:, None]] = behind
    rows = {"train": np.arange(20), "validation": np.arange(20, 30), "test": np.arange(30, N)}
    present = {"image": np.arange(N) % 4 > 0}
    kinds = {m: m for m in inputs}
    beside = {"present": present, "lengths": lengths}
    return standardized(assemble("timed", inputs, np.arange(N) % 2, rows, kinds, cite="", **beside))


def equal(a, b):
    for part in ("inputs", "present", "mask"):
        assert getattr(a, part).keys() == getattr(b, part).keys()
        for m, value in getattr(a, part).items():
            assert value.dtype == getattr(b, part)[m].dtype
            assert torch.equal(value, getattr(b, part)[m])
    assert torch.equal(a.target, b.target)
    assert torch.equal(a.index, b.index)
    assert a.condition == b.condition


@pytest.fixture
def on_disk(monkeypatch):
    """As if nothing fitted in memory."""
    monkeypatch.setattr(feeds, "IN_MEMORY_BYTES", 0)


def threads():
    return [t for t in threading.enumerate() if t.name == "feed"]


def ended():
    """Whether no thread of a feed is left, after a moment."""
    for _ in range(200):
        if not threads():
            return True
        time.sleep(0.01)
    return False


# lengths


@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_batch_is_cut_to_its_longest_row_and_masked(size):
    data = timed()
    for batch in Feed(data, data.rows["train"]).batches(size):
        assert set(batch.mask) == set(data.lengths)
        for m, mask in batch.mask.items():
            lengths = torch.from_numpy(data.lengths[m][batch.index.numpy()])
            assert torch.equal(mask.sum(1), lengths)
            assert batch.inputs[m].shape[:2] == mask.shape == (len(batch), lengths.max())
            assert torch.equal(mask, mask.sort(descending=True).values)  # steps first
    assert batch.inputs["image"].shape[1:] == (1, 2, 2)


@pytest.mark.parametrize("behind", [0, 7, 200])
def test_what_stands_behind_the_end_is_0_whatever_it_was(behind):
    feed = Feed(timed(behind), np.arange(20))
    clean = next(Feed(timed(), np.arange(20)).batches(20))
    batch = next(feed.batches(20))
    for m, mask in batch.mask.items():
        assert not mask.all()
        assert not batch.inputs[m][~mask].any()
        assert batch.inputs[m][mask].any()
    equal(batch, clean)


def test_batches_hold_the_numbers_in_standard_units_and_tokens_as_they_are():
    data = timed()
    batch = next(Feed(data, data.rows["test"], dtype=torch.float64).batches(N))
    for m, x in batch.inputs.items():
        raw = data.inputs[m][batch.index]
        mean, std = data.scale.get(m, (0, 1))
        expected = (raw - mean) / std
        mask = batch.mask.get(m, torch.ones(len(batch), raw.shape[1], dtype=torch.bool))
        np.testing.assert_allclose(x[mask], expected[:, : mask.shape[1]][mask], rtol=1e-6, atol=1e-6)
        assert x.dtype == (torch.int64 if m == "tokens" else torch.float64)


def test_a_row_without_a_step_has_one_that_is_0():
    lengths = {m: np.full(N, 3) for m in ("sequence", "video", "tokens", "audio")}
    for own in lengths.values():
        own[::2] = 0
    data = timed(5, lengths)
    for rows in (np.arange(20), np.arange(0, 20, 2)):
        batch = next(Feed(data, rows).batches(20))
        for m, mask in batch.mask.items():
            assert mask.sum(1).tolist() == np.maximum(data.lengths[m][rows], 1).tolist()
            assert not batch.inputs[m][rows % 2 == 0].any()


def test_no_rows_are_a_batch_of_none():
    batch = Feed(timed(), np.arange(20)).batch(torch.arange(0))
    assert len(batch) == 0
    assert all(x.shape[0] == 0 for x in batch.inputs.values())
    assert list(Feed(timed(), np.arange(0)).batches(5)) == []


def test_datasets_of_equal_lengths_have_no_mask():
    data = replace(timed(), lengths={})
    batch = next(Feed(data, data.rows["train"]).batches(5))
    assert batch.mask == {}
    assert batch.inputs["sequence"].shape == (5, STEPS, 2)


@pytest.mark.parametrize("sizes", [[7], [4, 3], [1, 0, 6], [1] * 7])
def test_a_batch_falls_into_parts_with_all_that_its_rows_have(sizes):
    data = timed()
    batch = replace(next(Feed(data, data.rows["train"]).batches(7)), weight=torch.arange(7.0))
    found = batch.split(sizes)
    assert [len(part) for part in found] == sizes
    for name in ("inputs", "present", "mask"):
        for m, value in getattr(batch, name).items():
            assert torch.equal(torch.cat([getattr(part, name)[m] for part in found]), value)
    for name in ("target", "index", "weight"):
        assert torch.equal(torch.cat([getattr(part, name) for part in found]), getattr(batch, name))


# which rows


@pytest.mark.parametrize("limit", [0, feeds.IN_MEMORY_BYTES])
def test_at_reads_rows_of_other_splits_as_their_own_feed_does(limit, monkeypatch):
    monkeypatch.setattr(feeds, "IN_MEMORY_BYTES", limit)
    data = timed(9)
    train, rows = Feed(data, data.rows["train"]), np.array([35, 22, 3, 22])
    found = train.at(rows)
    whole = Feed(data, np.arange(N))
    equal(found, whole.batch(torch.from_numpy(rows)))
    assert found.index.tolist() == rows.tolist()


def test_at_leaves_rows_of_other_splits_clean_under_a_condition():
    data = timed()
    noisy = Feed(data, data.rows["train"], condition=parse("feature-5 (share 1)"))
    clean = Feed(data, data.rows["train"])
    others, own = np.arange(20, N), np.arange(20)
    for m, x in noisy.at(others).inputs.items():
        assert torch.equal(x, clean.at(others).inputs[m])
    assert not torch.equal(noisy.at(own).inputs["audio"], clean.at(own).inputs["audio"])


# from disk


@pytest.mark.parametrize("condition", ["clean", "feature-5", "time-4 (share 1)", "dropout-5"])
def test_streaming_from_disk_gives_the_same_batches_in_the_same_order(condition, tmp_path, monkeypatch):
    data, mapped = timed(3), {}
    for m, array in data.inputs.items():
        np.save(tmp_path / f"{m}.npy", array)
        mapped[m] = np.load(tmp_path / f"{m}.npy", mmap_mode="r")
    memory = list(Feed(data, data.rows["train"], condition=parse(condition)).batches(6))
    monkeypatch.setattr(feeds, "IN_MEMORY_BYTES", 0)
    disk = list(Feed(replace(data, inputs=mapped), data.rows["train"], condition=parse(condition)).batches(6))
    assert [len(batch) for batch in disk] == [6, 6, 6, 2]
    for a, b in zip(memory, disk, strict=True):
        equal(a, b)
    assert ended()


def test_a_stream_gives_what_is_made_of_each_part(on_disk):
    feed = Feed(timed(), np.arange(20))
    parts = [torch.tensor([3, 1]), torch.tensor([0, 0, 9])]
    batches = list(feed.stream(parts, lambda part: replace(feed.batch(part), weight=part.float())))
    assert [batch.index.tolist() for batch in batches] == [[3, 1], [0, 0, 9]]
    assert [batch.weight.tolist() for batch in batches] == [[3, 1], [0, 0, 9]]


def test_a_split_that_comes_in_pieces_is_the_same_as_whole():
    feed = Feed(timed(), np.arange(20))
    pieces = [feed._read(rows) for rows in np.array_split(feed.rows, 3)]
    equal(feeds._joined(pieces), feed._read(feed.rows))


def test_of_a_gpu_a_split_may_take_a_quarter_of_what_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**34, 2**36))
    assert feeds._room(torch.device("cuda", 1)) == 2**32
    assert feeds._room(torch.device("cpu")) == feeds.IN_MEMORY_BYTES


def test_from_memory_nothing_is_read_in_a_thread():
    feed = Feed(timed(), np.arange(20))
    batches = feed.batches(2)
    next(batches)
    assert not threads()
    assert len(list(batches)) == 9


class Watched:
    """An array that tells which rows it is asked for, and is never read whole."""

    def __init__(self, array):
        self.array, self.asked = array, []
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        self.asked.append(np.asarray(rows).tolist())
        return self.array[rows]

    def __array__(self, *_, **__):
        raise AssertionError("the array is read whole")


def test_a_large_array_is_read_a_batch_at_a_time_and_only_a_little_ahead(on_disk):
    data = timed()
    watched = {m: Watched(x) for m, x in data.inputs.items()}
    data = replace(data, inputs=watched)
    feed = Feed(data, data.rows["train"])
    batches = feed.batches(2)
    assert all(x.asked == [] for x in watched.values())
    first = next(batches)
    assert first.index.tolist() == [0, 1]
    time.sleep(0.2)
    for x in watched.values():
        assert x.asked[0] == [0, 1]
        assert len(x.asked) <= 2 + feeds.AHEAD
        assert max(map(len, x.asked)) == 2
    assert len(list(batches)) == 9
    assert watched["audio"].asked == [[n, n + 1] for n in range(0, 20, 2)]
    assert ended()


def test_a_reader_who_waits_finds_the_next_batches_read():
    made = []

    def batches():
        for n in range(10):
            made.append(n)
            yield n

    found = ahead(batches(), depth=3)
    assert next(found) == 0
    deadline = time.monotonic() + 2
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3, 4]  # three wait, one more is in the making
    assert list(found) == list(range(1, 10))
    assert ended()


def test_batches_are_made_in_a_thread_of_their_own(on_disk):
    feed, seen = Feed(timed(), np.arange(20)), []
    list(
        feed.stream(
            [torch.arange(3)] * 4, lambda part: seen.append(threading.current_thread()) or feed.batch(part)
        )
    )
    assert {thread.name for thread in seen} == {"feed"}
    assert len(set(seen)) == 1


@pytest.mark.parametrize("error", [ValueError("a damaged file"), MemoryError("no room"), KeyboardInterrupt()])
def test_what_the_thread_raises_is_raised_to_the_reader(error):
    def batches():
        yield 1
        yield 2
        raise error

    found = ahead(batches())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(type(error)) as told:
        next(found)
    assert told.value is error
    assert ended()


def test_a_file_that_breaks_while_it_is_read_is_told(on_disk):
    data = timed()
    broken = Watched(data.inputs["audio"])
    broken.array = {}
    feed = Feed(replace(data, inputs={**data.inputs, "audio": broken}), data.rows["train"])
    with pytest.raises(TypeError):
        list(feed.batches(4))
    assert ended()


@pytest.mark.parametrize("read", [0, 1, 3, 10])
def test_a_reader_who_stops_early_leaves_no_thread_behind(read, on_disk):
    feed = Feed(timed(), np.arange(20))
    batches = feed.batches(2)
    for _ in range(read):
        next(batches)
    batches.close()
    assert ended()


def test_a_reader_who_fails_leaves_no_thread_behind(on_disk):
    feed = Feed(timed(), np.arange(20))

    def read():
        for batch in feed.batches(2):
            raise RuntimeError(len(batch))

    with pytest.raises(RuntimeError):
        read()
    assert ended()


def test_a_reader_who_stops_at_any_moment_leaves_no_thread_behind():
    for wait in (0, 0.001, 0.003, 0.01):

        def slow(wait=wait):
            for n in range(1000):
                time.sleep(wait)
                yield n

        found = ahead(slow(), depth=1)
        assert next(found) == 0
        time.sleep(2 * wait)
        found.close()
    assert ended()


def test_a_modality_whose_encoder_standardises_it_keeps_its_own_numbers_corrupted_or_not():
    data = load_dataset("digits", {})
    own = replace(data, unscaled=frozenset({"left"}))
    rows = data.rows["test"][:20]
    for condition in ("clean", "gaussian-5 (share 1)", "dropout-5 (share 1)"):
        raw, scaled = (Feed(d, rows, condition=parse(condition)).at(rows).inputs for d in (own, data))
        mean, std = (torch.as_tensor(n).float() for n in data.scale["left"])
        gone = (scaled["left"] == 0).flatten(1).all(1)
        torch.testing.assert_close(raw["left"][~gone], scaled["left"][~gone] * std + mean)
        assert not raw["left"][gone].any()
        assert torch.equal(raw["right"], scaled["right"])
