"""Ways to run the command line as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from sweeper import ROOT
from sweeper.cli import main
from sweeper.study.runs import Run

TINY = {
    "study": "tiny",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "methods": ["joint", {"name": "unimodal", "space": {"modality": "m0"}}],
    "search": {"configurations": 3, "seeds": [0, 1], "ahead": 2},
    "final": {"seeds": [100, 101]},
    "train": {"epochs": 2},
}


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny study with changes and return its path."""

    def write(**changes: object) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return path

    return write


@pytest.fixture
def sweeper(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `sweeper …` in a process of its own, with a storage below tmp_path."""

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sweeper.cli", *map(str, arguments)]
        env = {
            **os.environ,
            "SWEEPER_STORAGE": str(tmp_path / "store"),
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)

    return call


@dataclass
class Told:
    """What a command said, and the runs that it carried out."""

    code: int
    out: str
    err: str
    runs: list[Run]

    @property
    def table(self) -> list[str]:
        """The rows of the table that it printed."""
        return [line for line in self.out.splitlines() if line.startswith("|")]


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Told]:
    """Run `sweeper …` in this process, with a storage below tmp_path: its runs too, without Ray, MLflow and figures."""
    from sweeper.running import cluster, room, tune
    from sweeper.running.dispatch import Work
    from sweeper.running.orders import execute_here
    from sweeper.service.drawing import Drawing
    from sweeper.tracking import writing

    done: list[Run] = []

    def carry_out(first: Run, work: Work) -> None:
        run: Run | None = first
        while run is not None and not work.interrupted:
            done.append(run)
            work.settle(run, execute_here(work.order(run, work.need(run))))
            run = work.take()
            work.idle()

    nothing = dict.fromkeys(("start", "wake", "close", "how_to_open"), lambda *_: "")
    monkeypatch.setattr(tune, "carry_out", carry_out)
    monkeypatch.setattr(writing, "Tracker", lambda *_, **__: SimpleNamespace(**nothing))
    for name in ("begin", "prepare"):
        monkeypatch.setattr(Drawing, name, lambda _: None)
    for module, name in ((cluster, "start"), (cluster, "stop"), (room, "check")):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setenv("SWEEPER_STORAGE", str(tmp_path / "store"))
    monkeypatch.delenv("SWEEPER_DATA", raising=False)

    def call(*arguments: object) -> Told:
        done.clear()
        code = main(list(map(str, arguments)))
        return Told(code, *capsys.readouterr(), list(done))

    return call
