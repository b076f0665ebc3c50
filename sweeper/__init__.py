"""Sweeper: honest hyper-parameter and seed sweeps for multimodal learning.

Installed, `sweeper.models` and `sweeper.search_spaces` lie in this folder; in a checkout they lie beside it. HOME is
the folder that holds them, ROOT the one from which `import sweeper` works.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "sweeper" if (ROOT / "sweeper" / "models").is_dir() else ROOT
if HOME == ROOT:
    __path__.append(str(ROOT))


def import_path() -> str:
    """Return the PYTHONPATH with which another process imports this package, and what this one can import."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
