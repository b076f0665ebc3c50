"""What a driver has started is ended by the next one, if that driver is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.running import processes as module
from sweeper.running.processes import NOTES, descendants, described, forget, note, own, processes, unburied


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen]:
    """A process that this one has started."""
    monkeypatch.setattr(module, "_notes", None)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as made:
        yield made
        made.kill()


def noted(folder: Path, **changes: object) -> None:
    """Leave notes as a driver does, with changes."""
    (folder / NOTES).write_text(json.dumps({**json.loads(described(processes())), **changes}))


def test_what_was_started_is_noted_and_forgotten(child, tmp_path):
    assert child.pid in descendants(os.getpid(), processes())
    own(tmp_path)
    note(described(processes()))
    found = json.loads((tmp_path / NOTES).read_text())
    assert child.pid in [pid for pid, _ in found["started"]]
    assert found["driver"] == [os.getpid(), processes()[os.getpid()].started]
    forget()
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_died_is_known_until_it_is_asked_after(child):
    child.kill()
    while child.pid in processes():
        pass
    assert child.pid in [process.pid for process in unburied(os.getpid())]
    child.wait()
    assert child.pid not in [process.pid for process in unburied(os.getpid())]


def test_what_a_driver_left_that_is_gone_is_ended(child, tmp_path):
    noted(tmp_path, driver=[2**22 + 1, 1])
    own(tmp_path)
    assert child.wait(timeout=20) < 0


@pytest.mark.parametrize(
    "changes",
    [
        {},  # its driver lives
        {"driver": [2**22 + 1, 1], "host": "another"},
        {"driver": [2**22 + 1, 1], "started": [[os.getpid(), 1]]},  # a number that was given again
        {"started": "nonsense"},
        {"driver": None},
    ],
)
def test_nothing_else_is_ended(child, tmp_path, changes):
    noted(tmp_path, **changes)
    own(tmp_path)
    assert child.poll() is None
    assert child.pid in processes()
