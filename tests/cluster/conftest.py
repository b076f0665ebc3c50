"""What clusters are compared with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sweeper import ROOT
from tests.cluster.studies import STUDY, table


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> list[str]:
    """The study's table on one machine."""
    storage = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "-m", "sweeper.cli", "run", *STUDY, "--storage", storage]
    return table(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
