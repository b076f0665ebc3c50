"""The study that the clusters carry out, and what is read of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

STUDY = ("quickstart", "--set", "search.configurations=4", "--set", "final.seeds=[100,101]")
RUNS = 4 * (4 + 2 + 2)  # arms × (configurations, of which two are repeated, and report seeds)


def table(text: str) -> list[str]:
    """The rows of the table in what a command printed, on a terminal or not."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r", ""))
    return [line.strip() for line in plain.splitlines() if line.startswith("|")]


def runs(storage: Path) -> list[dict]:
    """The runs that the ledger of a storage holds."""
    path = storage / "ledger.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [record for line in lines if (record := json.loads(line))["kind"] == "run"]
