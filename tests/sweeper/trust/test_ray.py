"""The Ray that a study starts by itself is closed to others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sweeper import ROOT

ASKS = """
import os, subprocess, sys
from sweeper.running.address import closed

os.environ.update(closed())
from sweeper.running import cluster
import ray

cluster.start()
join = f"import ray; ray.init({ray.get_runtime_context().gcs_address!r}, log_to_driver=False)"
for token in (os.environ["RAY_AUTH_TOKEN"], "0" * 64):
    known = {**os.environ, "RAY_AUTH_TOKEN": token}
    print("admitted", subprocess.run([sys.executable, "-c", join], env=known, capture_output=True).returncode == 0)
cluster.stop()
"""


@pytest.mark.slow
def test_who_does_not_know_the_token_is_not_admitted(tmp_path):
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stdout.split("\n")[:2] == ["admitted True", "admitted False"], done.stderr
