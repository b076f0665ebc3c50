"""Hashes of files: the contents are read once, and again whenever they may have changed."""

import json
import os
from pathlib import Path

import pytest

from sweeper.models.data import hashes
from sweeper.models.errors import UserError


@pytest.fixture
def hashed(monkeypatch):
    """The files whose contents are read, in a process that remembers nothing yet."""
    seen = []
    digest = hashes.hashlib.file_digest
    monkeypatch.setattr(hashes, "_known", {})
    monkeypatch.setattr(
        hashes.hashlib, "file_digest", lambda f, kind: (seen.append(Path(f.name).name), digest(f, kind))[1]
    )
    return seen


def aged(path, text, seconds=100):
    path.write_text(text)
    os.utime(path, ns=(0, int((path.stat().st_mtime - seconds) * 1e9)))
    return path


def test_contents_are_read_once_per_process_and_once_per_cache(tmp_path, hashed, monkeypatch):
    path, cache = aged(tmp_path / "a", "one"), tmp_path / "cache"
    prints = {hashes.fingerprint_files([path]), hashes.fingerprint_files([path], cache)}
    assert hashed == ["a"]
    monkeypatch.setattr(hashes, "_known", {})  # another process
    prints.add(hashes.fingerprint_files([path], cache))
    assert hashed == ["a"]
    assert len(prints) == 1
    assert list(json.loads((cache / "fingerprints.json").read_text())) == [str(path)]


def test_a_changed_file_is_read_again(tmp_path, hashed):
    cache = tmp_path / "cache"
    first = hashes.fingerprint_files([aged(tmp_path / "a", "one")], cache)
    assert hashes.fingerprint_files([aged(tmp_path / "a", "two", seconds=50)], cache) != first
    assert hashed == ["a", "a"]


def test_a_file_just_written_is_not_remembered(tmp_path, hashed):
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_text("one")
    stamp = path.stat().st_mtime_ns
    first = hashes.fingerprint_files([path], cache)
    path.write_text("two")
    os.utime(path, ns=(stamp, stamp))  # a clock too coarse to show the second change
    assert hashes.fingerprint_files([path], cache) != first


def test_a_damaged_store_is_an_empty_one(tmp_path, hashed):
    path, cache = aged(tmp_path / "a", "one"), tmp_path / "cache"
    cache.mkdir()
    (cache / "fingerprints.json").write_text('{"half')
    hashes.fingerprint_files([path], cache)
    assert list(json.loads((cache / "fingerprints.json").read_text())) == [str(path)]


def test_what_is_no_file_of_data_is_refused(tmp_path):
    for place in (Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match=r"cannot be read \(it is no file of data\)"):
            hashes.fingerprint_files([place])
