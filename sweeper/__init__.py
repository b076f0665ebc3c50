"""Sweeper: honest hyper-parameter and seed sweeps for multimodal learning.

Installed, `sweeper.models` and `sweeper.search_spaces` lie in this folder; in a checkout they lie beside it. HOME is
the folder that holds them, ROOT the one from which `import sweeper` works.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "sweeper" if (ROOT / "sweeper" / "models").is_dir() else ROOT
if HOME == ROOT:
    __path__.append(str(ROOT))
