"""Where a run comes from: the state of the code, and the versions of the libraries that can change a number."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import version

from sweeper import ROOT

LIBRARIES = ("torch", "numpy", "ray", "optuna", "mlflow")


@cache
def provenance() -> dict[str, str]:
    """Return the commit and the versions."""
    return {"git": git_state(), "versions": " ".join(f"{name}-{version(name)}" for name in LIBRARIES)}


def git_state() -> str:
    """Return the commit of this project, with + if files differ from it, or `unknown` outside of its repository."""
    if not (ROOT / ".git").exists():
        return "unknown"
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
