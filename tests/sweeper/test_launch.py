"""launch.py as `ray submit` leaves it: copied alone, run from elsewhere, without the package beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper import ROOT

LAUNCH = ROOT / "sweeper" / "launch.py"
UNKNOWN = "sweeper: unknown study 'no_such_study'"

Told = subprocess.CompletedProcess[str]


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Told]:
    """Run Python in an empty folder, with nothing in the environment that leads to the package."""
    alone = tmp_path / "alone"
    alone.mkdir()

    def call(*arguments: object, **environment: object) -> Told:
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SWEEPER_HOME")}
        env |= {"SWEEPER_STORAGE": str(tmp_path / "store"), **{k: str(v) for k, v in environment.items()}}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=alone, env=env, capture_output=True, text=True, timeout=300)

    shutil.copy(LAUNCH, alone)
    return call


def test_it_finds_the_package_by_sweeper_home(python):
    told = python("launch.py", "no_such_study", SWEEPER_HOME=ROOT)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(UNKNOWN)


def test_it_finds_an_installed_package(python):
    if python("-c", "import sweeper").returncode:
        pytest.skip("sweeper is not installed here, only importable from its folder")
    assert python("launch.py", "no_such_study").stderr.startswith(UNKNOWN)


def test_it_passes_arguments_on_and_runs_quickstart_by_default(python):
    told = python("launch.py", "--set", "serch.ahead=3", SWEEPER_HOME=ROOT)
    assert told.returncode == 2
    assert "did you mean 'search'" in told.stderr
    assert "quickstart.yaml" in told.stderr


@pytest.mark.parametrize("home", [{}, {"SWEEPER_HOME": "/nowhere"}])
def test_without_the_package_it_says_what_to_do(python, home):
    told = python("-S", "launch.py", "quickstart", **home)  # -S: without installed packages
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
    assert "SWEEPER_HOME" in told.stderr


@pytest.mark.slow
def test_a_study_through_a_lone_copy(python, study_file, tmp_path):
    study = study_file(methods=["joint"], search={"configurations": 1}, final={"seeds": [100]})
    told = python("launch.py", study, SWEEPER_HOME=ROOT)
    assert told.returncode == 0, told.stderr
    assert "| joint" in told.stdout
    assert (tmp_path / "store" / "ledger.jsonl").exists()
