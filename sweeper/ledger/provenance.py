"""Where a run comes from: the state of the code, and the versions of the libraries that can change a number."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sweeper import HOME, ROOT

LIBRARIES = ("torch", "numpy", "ray", "optuna", "mlflow")
FOLDERS = (ROOT / "sweeper", HOME / "models", HOME / "search_spaces")


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


@cache
def package() -> str:
    """Return this package's version and a digest of its files, e.g. `0.1.0 (3f5a9c01)`."""
    paths = {path for folder in FOLDERS for ending in ("*.py", "*.yaml") for path in folder.rglob(ending)}
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: _place(path)):
        digest.update(_place(path).encode() + b"\0" + path.read_bytes())
    return f"{version('sweeper')} ({digest.hexdigest()[:8]})"


def _place(path: Path) -> str:
    """Return where a file is within the package, wherever that is installed."""
    return path.relative_to(HOME if path.is_relative_to(HOME) else ROOT).as_posix().removeprefix("sweeper/")
