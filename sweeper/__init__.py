"""Sweeper: honest hyper-parameter and seed sweeps for multimodal learning.

Installed, `sweeper.models` and `sweeper.search_spaces` lie in this folder; in a checkout they lie beside it. HOME is
the folder that holds them, ROOT the one from which `import sweeper` works. `Study`, `run` and `load` are its
interface in Python (api.py).
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.api import Results, Study, load, run

__all__ = ["HOME", "ROOT", "Results", "Study", "import_path", "load", "run"]

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "sweeper" if (ROOT / "sweeper" / "models").is_dir() else ROOT
if HOME == ROOT:
    __path__.append(str(ROOT))


def import_path() -> str:
    """Return the PYTHONPATH with which another process imports this package, and what this one can import."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what the Python interface offers
    """Return what `sweeper.api` offers; it is imported when it is first asked for."""
    if name in ("Results", "Study", "load", "run"):
        return getattr(import_module("sweeper.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
