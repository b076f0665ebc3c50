"""`sweeper export` and `import`: what arrives elsewhere, that it arrives once, and that nothing foreign gets in."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sweeper.ledger import archive
from sweeper.ledger.file import Ledger
from sweeper.models.training import trainer


def members(path: Path) -> dict[str, bytes]:
    """Return what an archive holds, without its manifest."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist() if name != archive.ABOUT}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Callable[[], Path]:
    """Take the commands to another, empty storage and return its folder."""

    def go(name: str = "other") -> Path:
        monkeypatch.setenv("SWEEPER_STORAGE", str(tmp_path / name))
        return tmp_path / name

    return go


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder for the tiny study, once it is carried out."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def exported(here, study_file, tmp_path, kept) -> Path:
    """Carry out a tiny study, unless that was done, and return its archive; its storage is the one of the commands."""
    study, path = study_file(), tmp_path / "tiny.zip"
    if not list(kept.iterdir()):
        assert here("run", study).code == 0
        shutil.copytree(tmp_path / "store", kept / "store")
    elif not (tmp_path / "store").exists():
        shutil.copytree(kept / "store", tmp_path / "store")
    assert here("export", "tiny", path).code == 0
    return path


def test_a_study_is_all_there_elsewhere(here, exported, study_file, elsewhere):
    table = here("report", "tiny").out
    other = elsewhere()
    assert f"tiny: 14 runs entered into {other}" in here("import", exported).out
    assert here("report", "tiny").out == table
    assert "2 of 2 arms selected" in here("status").out
    assert "left: up to 0 runs" in here("plan", study_file()).out
    again = here("run", study_file())
    assert (again.code, again.runs) == (0, [])
    assert again.out.startswith(table.strip())
    key = next(key for key, run in Ledger(other / "ledger.jsonl").runs.items() if run.stage == "final")
    assert "matches to the bit" in here("repro", key).out
    assert "nothing to remove" in here("gc").out


def test_an_archive_entered_twice_is_entered_once(here, exported, elsewhere):
    home = here("report", "tiny").out
    mine = Path(os.environ["SWEEPER_STORAGE"]) / "ledger.jsonl"
    before = mine.read_bytes()
    assert "14 runs were here already" in here("import", exported).out
    assert mine.read_bytes() == before
    other = elsewhere() / "ledger.jsonl"
    here("import", exported)
    before = other.read_bytes()
    assert here("import", exported).code == 0
    assert other.read_bytes() == before
    assert here("report", "tiny").out == home


def test_a_study_that_grew_is_entered_by_what_is_new(here, exported, study_file, elsewhere, tmp_path):
    home, other = os.environ["SWEEPER_STORAGE"], elsewhere()
    here("import", exported)
    elsewhere(home)
    here("run", study_file(final={"seeds": [100, 101, 102]}))
    here("export", "tiny", exported)
    table = here("report", "tiny").out
    elsewhere()
    assert "2 runs entered" in here("import", exported).out
    assert here("report", "tiny").out == table
    assert "seeds:\n  - 100\n  - 101\n  - 102" in (other / "studies/tiny/study.yaml").read_text()


def test_a_study_that_went_another_way_is_refused(here, exported, study_file, elsewhere):
    other = elsewhere()
    here("run", study_file(search={"configurations": 2, "seeds": [0]}))
    before = (other / "ledger.jsonl").read_bytes()
    told = here("import", exported)
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "another study 'tiny' than the archive" in told.err
    assert (other / "ledger.jsonl").read_bytes() == before


def test_the_same_study_gives_the_same_bytes_and_says_nothing_of_the_machine(
    here, study_file, tmp_path, monkeypatch
):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    np.savez(tmp_path / "mine.npz", x_a=rng.normal(size=(90, 4)) + y[:, None], y=y)
    data = {"name": "arrays", "path": str(tmp_path / "mine.npz")}
    monkeypatch.setattr(trainer, "train", _failing(trainer.train, str(tmp_path)))
    here("run", study_file(dataset=data, methods=["joint"]))
    paths = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for path in paths:
        assert here("export", "tiny", path, "--weights").code == 0
    one, two = (path.read_bytes() for path in paths)
    assert one == two
    found = members(paths[0])
    assert "path: mine.npz" in found["study.yaml"].decode()
    assert b"no file 'weights.pt'" in found["ledger.jsonl"]
    for name, content in found.items():
        for word in (str(tmp_path), f'"{os.uname().nodename}"', str(Path.home())):
            assert word.encode() not in content, name


def _failing(train: Callable, folder: str) -> Callable:
    """Let every third training raise an error that names a folder."""
    calls = []

    def call(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) % 3 == 0:
            raise RuntimeError(f"no file '{folder}/weights.pt'")
        return train(*arguments, **options)

    return call


def test_weights_that_came_along_are_tested_under_what_is_added(
    here, exported, study_file, elsewhere, monkeypatch
):
    here("export", "tiny", exported, "--weights")
    elsewhere()
    here("import", exported)
    monkeypatch.setattr(trainer, "train", None)  # nothing is trained again
    told = here("run", study_file(conditions=["clean", "gaussian-5"]))
    assert told.code == 0
    assert "gaussian-5" in told.table[0] + told.table[2]


# archives that nobody should trust


def altered(path: Path, alter: Callable[[dict[str, bytes]], None]) -> None:
    """Write an archive anew, well-formed, with other members."""
    found = members(path)
    alter(found)
    archive.write(path, "tiny", found.items())


def add(path: Path, name: str, content: bytes, **facts: int) -> None:
    """Add a file to an archive as anybody could."""
    entry = zipfile.ZipInfo(name)
    for fact, value in facts.items():
        setattr(entry, fact, value)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(entry, content, zipfile.ZIP_DEFLATED)


def test_an_archive_that_is_none_is_refused(here, elsewhere, tmp_path):
    other = elsewhere()
    text, plain = tmp_path / "text.zip", tmp_path / "plain.zip"
    text.write_text("no zip")
    add(plain, "a.txt", b"a")
    for path in (text, plain, tmp_path / "none.zip", tmp_path):
        told = here("import", path)
        assert (told.code, told.err.count("\n")) == (2, 1), told.err
    assert not other.exists()


LINE = (
    json.dumps({"kind": "proposed", "arm": "another", "configuration": 0, "parameters": {}}).encode() + b"\n"
)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: add(path, "../evil.txt", b"x"), "holds '../evil.txt'"),
        (lambda path: add(path, "/evil.txt", b"x"), "holds '/evil.txt'"),
        (lambda path: add(path, "study/../../evil.md", b"x"), "holds 'study/../../evil.md'"),
        (lambda path: add(path, "study/.hidden.png", b"x"), "holds 'study/.hidden.png'"),
        (lambda path: add(path, "runs/0123456789abcdef/x.py", b"x"), "holds 'runs/0123456789abcdef/x.py'"),
        (
            lambda path: add(path, "study/a.png", b"/etc", external_attr=0o120777 << 16),
            "what its manifest says",
        ),
        (lambda path: add(path, "study/zeros.png", bytes(2**27)), "unpack to more than"),
        (lambda path: altered(path, lambda found: found.pop("study.yaml")), "what its manifest says"),
        (
            lambda path: altered(path, lambda found: found.update({"ledger.jsonl": b"{}\n"})),
            "line 1 of its ledger",
        ),
        (
            lambda path: altered(
                path, lambda found: found.update({"ledger.jsonl": found["ledger.jsonl"] + LINE})
            ),
            "not of one study",
        ),
        (
            lambda path: altered(path, lambda found: found.update({"runs/0123456789abcdef/run.json": b"{}"})),
            "run 0123456789abcdef is not in its ledger",
        ),
        (lambda path: altered(path, lambda found: found.update(orders(found, b"{}"))), "is no order"),
        (lambda path: altered(path, lambda found: found.update(orders(found, b"[" * 10**5))), "is no order"),
        (
            lambda path: altered(path, lambda found: found.update({"study.yaml": b"study: other"})),
            "study.yaml",
        ),
        (lambda path: altered(path, lambda found: found.update({"study.yaml": b"\xff"})), "is no text"),
    ],
)
def test_an_archive_that_was_tampered_with_is_refused_whole(here, exported, elsewhere, spoil, sentence):
    spoil(exported)
    other = elsewhere()
    told = here("import", exported)
    assert (told.code, told.err.count("\n")) == (2, 1), told.err
    assert sentence in told.err
    assert not other.exists()
    assert not list(other.parent.rglob("evil*"))


def test_what_could_steer_a_terminal_is_refused(here, exported, elsewhere):
    def steer(found: dict[str, bytes]) -> None:
        found["ledger.jsonl"] = found["ledger.jsonl"].replace(b'"joint"', b'"\\u001b[2J"')

    altered(exported, steer)
    other = elsewhere()
    told = here("import", exported)
    assert told.code == 2
    assert "it holds control characters; nothing is imported" in told.err
    assert not other.exists()


def test_where_an_archive_cannot_be_written_is_told(here, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert here("export", "tiny", "folder").code == 0
    assert (tmp_path / "folder" / "tiny.zip").read_bytes() == exported.read_bytes()
    told = here("export", "tiny", exported / "below.zip")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "cannot be written" in told.err
    assert here("export", "tyni").err.startswith(
        "sweeper: unknown study 'tyni' in the ledger; did you mean 'tiny'?"
    )
    assert not (tmp_path / "tyni.zip").exists()


def test_a_storage_that_is_in_use_is_left_alone(here, exported, elsewhere):
    other = elsewhere()
    other.mkdir()
    ledger = Ledger(other / "ledger.jsonl")
    ledger.lock()
    try:
        told = here("import", exported)
    finally:
        ledger.unlock()
    assert told.code == 2
    assert "is in use by process" in told.err
    assert not (other / "ledger.jsonl").exists()


def orders(found: dict[str, bytes], content: bytes) -> dict[str, bytes]:
    """Return the runs' orders with another content."""
    return {name: content for name in found if name.endswith("run.json")}


def test_places_that_an_order_brings_along_count_nothing(here, exported, elsewhere):
    def lead_out(found: dict[str, bytes]) -> None:
        evil = {"folder": "/tmp/evil", "data_root": "/etc", "cache": "/etc", "training": "/etc/x.pt"}
        for name in orders(found, b""):
            found[name] = json.dumps(json.loads(found[name]) | evil).encode()

    altered(exported, lead_out)
    other = elsewhere()
    assert here("import", exported).code == 0
    for path in (other / "runs").glob("*/run.json"):
        order = json.loads(path.read_text())
        assert order["folder"] == str(path.parent)
        assert (order["data_root"], order["training"]) == (None, None)


@pytest.mark.parametrize("name", ["studies", "runs"])
def test_a_link_in_the_storage_is_not_followed(here, exported, elsewhere, tmp_path, name):
    other = elsewhere()
    other.mkdir()
    (tmp_path / "out").mkdir()
    (other / name).symlink_to(tmp_path / "out")
    assert here("import", exported).code == 2
    assert list((tmp_path / "out").iterdir()) == []


def flips(size: int) -> Iterator[int]:
    """Yield places spread over a file, its beginning and end among them."""
    yield from {*range(0, size, max(1, size // 40)), *range(size - 30, size, 5)}


def test_a_flipped_byte_is_found_or_changes_nothing(here, exported, elsewhere, tmp_path):
    content = exported.read_bytes()
    elsewhere("whole")
    here("import", exported)
    whole = (tmp_path / "whole/ledger.jsonl").read_bytes()
    refused = 0
    for place in flips(len(content)):
        other = elsewhere("flipped")
        exported.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        told = here("import", exported)
        assert told.code in (0, 2)
        refused += told.code == 2
        if told.code == 0:
            assert (other / "ledger.jsonl").read_bytes() == whole
            shutil.rmtree(other)
        assert not other.exists()
    assert refused > 30
