"""Installed from a wheel, beside a `models` package of the researcher's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sweeper import ROOT
from tests.sweeper.conftest import TINY


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder into which the project's wheel is installed, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in ("sweeper", "models", "search_spaces"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / part, source)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.mark.slow
def test_a_study_from_a_wheel_beside_a_foreign_models_package(installed, tmp_path):
    foreign = tmp_path / "foreign" / "models"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("raise ImportError('the models of a researcher')\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(TINY))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(foreign.parent)])}
    where = "import sweeper, sweeper.models; print(sweeper.__file__, *sweeper.models.__path__)"
    told = subprocess.run(
        [sys.executable, "-c", where], env=env, capture_output=True, text=True, cwd=tmp_path
    )
    assert all(path.startswith(str(installed)) for path in told.stdout.split()), told
    command = [sys.executable, "-m", "sweeper.cli", "run", "study.yaml", "--storage", "store"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| joint" in done.stdout
    assert not {p.name for p in installed.iterdir()} & {"models", "search_spaces"}
