"""Files written whole or not at all."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import pytest
import torch

from sweeper.models.atomic import raise_if_full, written
from tests.sweeper.running.place import small_disk


def half(path: Path) -> None:
    with written(path) as new:
        new.write_text("ne")
        raise RuntimeError("half way")


def test_what_fails_half_way_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "made" / "file"
    with written(path) as new:
        new.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        half(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_that_tells_of_a_full_disk_is_taken_for_one(tmp_path, number):
    with pytest.raises(OSError, match="No space left on device") as raised:
        raise_if_full(tmp_path / "none", OSError(number, "of another library"))
    assert raised.value.errno == errno.ENOSPC


def test_an_error_on_a_disk_with_room_is_left_alone(tmp_path):
    raise_if_full(tmp_path, RuntimeError("something else"))


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system needs root")
def test_whatever_torch_says_on_a_full_disk_it_is_told_as_that(tmp_path):
    """What torch had written is deleted at once, so nobody would see later that the disk was full."""
    disk = tmp_path / "disk"
    with small_disk(disk, "4m"):
        with (
            pytest.raises(OSError, match="No space left on device") as raised,
            written(disk / "best.pt") as new,
        ):
            torch.save(torch.zeros(2**21), new)
        assert not isinstance(raised.value.__cause__, OSError)
        assert not list(disk.iterdir())
        del raised  # its frames hold torch's writer, and that the file
        gc.collect()
