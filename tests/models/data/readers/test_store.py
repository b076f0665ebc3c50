"""What is read is read once, by one process, whole or not at all, and kept under a key of all that decides it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sweeper.models.data.readers import store
from sweeper.models.data.readers.base import Reader, Unreadable
from sweeper.models.data.readers.video import Video
from sweeper.models.errors import UserError
from sweeper.models.values import InputSpec

READ: list[str] = []


class Words(Reader):
    """A text as the numbers of its letters; `shift` is added, `vocabulary` a file beside the cells."""

    libraries = ("pillow",)

    def __init__(self, *, longest: int = 6, shift: int = 0, vocabulary: Path | None = None) -> None:
        self.longest, self.shift, self.vocabulary = longest, shift, vocabulary

    def spec(self):
        return InputSpec("tokens", (self.longest,), "int64", 256)

    def read(self, cell):
        text = cell if isinstance(cell, str) else cell[0].read_text()
        READ.append(text)
        if text == "broken":
            raise ValueError("a library's\nown words")
        if text == "odd":
            raise Unreadable("its length is odd")
        return np.array(
            [ord(letter) + self.shift for letter in text], np.uint8 if text.islower() else np.int32
        )

    def weights(self):
        return [self.vocabulary] if self.vocabulary else []


class Twos(Words):
    """Pairs of numbers, whose shape does not vary."""

    def spec(self):
        return InputSpec("vector", (2,))

    def read(self, cell):
        READ.append(str(cell))
        return np.array(cell, np.float64)


@pytest.fixture(autouse=True)
def nothing_read():
    READ.clear()


@pytest.fixture
def read(tmp_path):
    return partial(store.stored, cache=tmp_path / "cache")


def left(tmp_path):
    return sorted(path.suffix for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock")


def test_samples_of_different_lengths_are_filled_up_with_zeros(read):
    samples, lengths, failures = read(["abc", "z", ""], Words())
    assert samples.tolist() == [[97, 98, 99], [122, 0, 0], [0, 0, 0]]
    assert lengths.tolist() == [3, 1, 0]
    assert failures == {}


def test_the_array_is_one_read_only_file(read, tmp_path):
    samples, lengths, _ = read([(1.0, 2.0), (3.0, 4.0)], Twos())
    assert isinstance(samples, np.memmap)
    assert (samples.tolist(), lengths) == ([[1, 2], [3, 4]], None)
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 0
    assert left(tmp_path) == [".json", ".npy"]


def test_a_second_call_reads_nothing_and_gives_the_same(read):
    first = read(["abc", "odd", "z"], Words())
    READ.clear()
    second = read(["abc", "odd", "z"], Words())
    assert READ == []
    assert second[0].tolist() == first[0].tolist()
    assert (second[1].tolist(), second[2]) == (first[1].tolist(), first[2])


def test_a_row_that_fails_is_zero_and_says_why(read):
    samples, lengths, failures = read(["odd", "abc", "broken", "abcdefgh"], Words())
    assert samples.tolist() == [[0, 0, 0], [97, 98, 99], [0, 0, 0], [0, 0, 0]]
    assert lengths is None  # of those that are there all are of one length
    assert failures == {
        0: "its length is odd",
        2: "a library's own words",
        3: "it gives numbers of shape (8,) and type uint8; (6,) is admissible",
    }


def test_rows_may_fail_one_and_all(read):
    samples, _, failures = read(["odd", "odd"], Words())
    assert not samples.any()
    assert len(failures) == len(samples) == 2


def test_a_mistake_in_the_settings_is_no_rows(read, monkeypatch):
    def refuse(self, cell):
        raise UserError("shift is too large")

    monkeypatch.setattr(Words, "read", refuse)
    with pytest.raises(UserError, match="shift is too large"):
        read(["abc"], Words())


def test_numbers_of_several_types_are_kept_exactly(read):
    samples, _, _ = read(["abc", "AB\u2013"], Words())  # of a byte each, and of four
    assert samples.tolist() == [[97, 98, 99], [65, 66, 8211]]
    assert samples.dtype == np.int32


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_size_of_parts_and_the_order_of_rows_change_no_row(read, monkeypatch, rows, tmp_path):
    texts = ["abc", "z", "odd", "AB", "hello"]
    whole, lengths, _ = read(texts, Words())
    monkeypatch.setattr(store, "MOST_ROWS", rows)
    parts, other, failures = store.stored(texts[::-1], Words(), tmp_path / "other")
    assert parts[::-1].tolist() == whole.tolist()
    assert other[::-1].tolist() == lengths.tolist()
    assert failures == {2: "its length is odd"}


def test_an_interrupted_build_goes_on_where_it_stopped(read, monkeypatch, tmp_path):
    monkeypatch.setattr(store, "MOST_ROWS", 2)
    texts, keep = ["a", "bc", "d", "ef", "g"], store._keep
    kept = []

    def stop(name, *rest):
        if kept:
            raise KeyboardInterrupt
        kept.append(keep(name, *rest))

    monkeypatch.setattr(store, "_keep", stop)
    with pytest.raises(KeyboardInterrupt):
        read(texts, Words())
    assert ".npy" not in left(tmp_path)
    monkeypatch.setattr(store, "_keep", keep)
    READ.clear()
    samples, _, _ = read(texts, Words())
    assert sorted(READ) == ["d", "ef", "g"]
    assert samples.tolist() == [[97, 0], [98, 99], [100, 0], [101, 102], [103, 0]]
    assert left(tmp_path) == [".json", ".npy"]


def test_rows_are_read_at_the_same_time(read, monkeypatch):
    """Each of two rows waits until the other is being read."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    both = threading.Barrier(2, timeout=20)
    monkeypatch.setattr(Words, "read", lambda self, cell: np.full(1, both.wait() < 2))
    assert read(["a", "b"], Words())[2] == {}


def test_no_more_is_read_ahead_than_is_asked_for():
    seen = []
    with ThreadPoolExecutor(1) as threads:
        samples = store._samples(range(100), lambda cell: seen.append(cell) or "", threads, 5)
        for _ in range(3):
            next(samples)
        threads.submit(int).result()  # whatever was asked for before is done
        assert seen == list(range(3 + 5))


def test_the_key_is_of_contents_options_and_what_stands_beside(tmp_path, monkeypatch):
    file = tmp_path / "one.txt"
    file.write_text("abc")
    beside = tmp_path / "vocabulary.txt"
    beside.write_text("a b c")
    keys = {
        "text": store.key(["abc"], Words(), tmp_path),
        "order": store.key(["abc", "z"], Words(), tmp_path),
        "other order": store.key(["z", "abc"], Words(), tmp_path),
        "file": store.key([(file,)], Words(), tmp_path),
        "missing": store.key([(tmp_path / "two.txt",)], Words(), tmp_path),
        "option": store.key(["abc"], Words(shift=1), tmp_path),
        "weights": store.key(["abc"], Words(vocabulary=beside), tmp_path),
        "reader": store.key(["abc"], Twos(), tmp_path),
    }
    file.write_text("changed")
    beside.write_text("changed")
    keys["changed file"] = store.key([(file,)], Words(), tmp_path)
    keys["changed weights"] = store.key(["abc"], Words(vocabulary=beside), tmp_path)
    monkeypatch.setattr(store, "version", lambda name: "another")
    keys["version"] = store.key(["abc"], Words(), tmp_path)
    monkeypatch.setattr(store, "digest_of", lambda reached: "another")
    keys["code"] = store.key(["abc"], Words(), tmp_path)
    assert len(set(keys.values())) == len(keys)


def test_the_code_is_the_readers_and_the_stores_own(monkeypatch):
    seen = []
    monkeypatch.setattr(store, "digest_of", lambda reached: seen.append(set(reached)))
    store._code(Video)
    home = "sweeper.models.data.readers"
    assert seen.pop() == {
        home,
        *(f"{home}.{name}" for name in ("base", "container", "image", "store", "video")),
    }
    store._code(Words)
    assert {__name__, f"{home}.base", f"{home}.store"} <= seen.pop()


def test_a_reader_that_lies_elsewhere_is_known_by_its_code_too(monkeypatch):
    seen = []
    monkeypatch.setattr(store, "digest_of", lambda reached: seen.append(set(reached)))
    monkeypatch.setattr(Twos, "__module__", "sweeper.models.data.splits")
    store._code(Twos)
    assert {"sweeper.models.data.splits", __name__} <= seen.pop()


def test_a_folder_is_known_by_the_files_in_it(tmp_path):
    folder = tmp_path / "clip.mp4"
    folder.mkdir()
    keys = set()
    for name in ("2", "1", ".hidden", "3"):
        (folder / name).write_text(name)
        keys.add(store.key([(folder,)], Words(), tmp_path))
    assert store.files((folder,)) == [folder / "1", folder / "2", folder / "3"]
    assert len(keys) == 3


def test_a_file_that_appears_is_read(read, tmp_path):
    file = tmp_path / "late.txt"
    assert read([(file,)], Words())[2] == {0: "it is missing"}
    file.write_text("abc")
    assert read([(file,)], Words())[2] == {}


def test_what_no_reader_can_read_is_told_by_its_nature(read, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    cells = [(tmp_path / name,) for name in ("empty", "pointer", "folder", "pipe", "none")]
    assert read(cells, Words())[2] == {
        0: "it is empty",
        1: "it is a Git-LFS pointer, which `git lfs pull` replaces",
        2: "it is an empty folder",
        3: "it is no file of data",
        4: "it is missing",
    }


def test_samples_that_are_read_again_count_as_used_now(read, tmp_path):
    read(["abc"], Words())
    (array,) = (tmp_path / "cache").glob("*.npy")
    os.utime(array, (0, 0))
    read(["abc"], Words())
    assert array.stat().st_mtime > 0


def test_no_cells_are_no_samples(read):
    samples, lengths, failures = read([], Twos())
    assert (samples.shape, lengths, failures) == ((0, 2), None, {})


def test_a_disk_that_is_full_is_told_in_a_sentence(read, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_keep", full)
    with pytest.raises(UserError, match=r"cannot hold what is read .*No space left on device"):
        read(["abc"], Words())


def test_the_size_is_that_of_the_file(read, tmp_path):
    read([(1.0, 2.0)] * 1000, Twos())
    (array,) = (tmp_path / "cache").glob("*.npy")
    assert (
        0 < array.stat().st_size - 2 * 1000 * Twos().sample_bytes < 1000
    )  # float64, where float32 was reckoned with


def test_a_terminal_shows_how_far_it_is_and_nothing_else_does(read, monkeypatch, capsys):
    read(["abc"], Words())
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    read(["abcd"], Words())
    assert "1/1" in capsys.readouterr().err


TOGETHER = """
import sys, time
from pathlib import Path
from sweeper.models.data.readers import store
from tests.models.data.readers.test_store import Words

folder, keep = Path(sys.argv[1]), store._keep

def slow(*given):
    with (folder / "built").open("a") as log:
        log.write("once ")
    time.sleep(0.3)
    keep(*given)

store._keep = slow
(folder / f"ready{sys.argv[2]}").touch()
while len(list(folder.glob("ready*"))) < 2:
    time.sleep(0.01)
print(store.stored(["abc", "odd"], Words(), folder / "cache"))
assert not {"torch", "transformers"} & set(sys.modules)
"""


def test_of_two_processes_at_once_one_reads_and_the_other_waits(tmp_path):
    start = partial(subprocess.Popen, stdout=subprocess.PIPE, text=True)
    both = [start([sys.executable, "-c", TOGETHER, str(tmp_path), str(i)]) for i in range(2)]
    told = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(told) == 1
    assert (tmp_path / "built").read_text() == "once "
    assert left(tmp_path) == [".json", ".npy"]


@pytest.mark.parametrize("damage", [b"", b"no array", json.dumps([1]).encode()])
@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_store_is_named(read, tmp_path, damage, suffix):
    read(["abc"], Words())
    (path,) = (tmp_path / "cache").glob(f"words-*{suffix}")
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"words samples.* cannot be read"):
        read(["abc"], Words())
