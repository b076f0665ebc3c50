"""Time from a kill to the first new run, of a study that does one run at a time; a command that ends is given again."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from tests.chaos import harness
from tests.chaos.harness import FAULTS, Chaos, records
from tests.sweeper.running.place import wait

KILLED = ("worker", "raylet", "gcs", "driver")
AFTER = 10  # runs
ONE_AT_A_TIME = {**harness.STUDY, "resources": {"cpus": os.cpu_count() or 1}}


def begun(chaos: Chaos) -> int:
    """Return how many runs have begun."""
    noted = chaos.marks / "begun"
    return noted.read_text().count("\n") if noted.exists() else 0


def seconds(fault: str) -> float:
    """Return the seconds from a kill to the first run that begins after it."""
    with tempfile.TemporaryDirectory() as folder, patch.object(harness, "STUDY", ONE_AT_A_TIME):
        chaos = Chaos(Path(folder) / fault)
        try:
            driver = chaos.begin()
            wait(lambda: len(records(chaos.storage)) >= AFTER, f"{AFTER} runs")
            killed = time.monotonic()
            FAULTS[fault](chaos, driver, random.Random(0))
            if fault != "worker":  # of the others the command ends, in a sentence
                wait(lambda: driver.poll() is not None, "the command's end")
                chaos.begin()
            before = begun(chaos)
            wait(lambda: begun(chaos) > before, "a new run")
            return time.monotonic() - killed
        finally:
            chaos.leave()


def main() -> None:
    """Print the seconds for each of what can be killed."""
    told = ", ".join(f"{fault} {seconds(fault):.1f} s" for fault in KILLED)
    print(f"from a kill to the first new run: {told}")
