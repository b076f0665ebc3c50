"""Ways to run the command line as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sweeper import ROOT

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
