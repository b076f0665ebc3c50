"""The user's own command at a study's end: a message, a lamp, the next job."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeper.models.errors import one_line

MOST_SECONDS = 60.0
NOTED = 300  # letters of what the command said against itself


@dataclass
class Ending:
    """How a study ended: complete, incomplete, stopped, interrupted or failed, and what was printed of it.

    Without a status it never began.
    """

    status: str = ""
    text: str = ""


@contextmanager
def telling(command: str, study: str, folder: Path) -> Iterator[Ending]:
    """Yield what is to be said of a study's end, and run the user's command with it, however the study ends.

    The shell has SWEEPER_STUDY, SWEEPER_STATUS and SWEEPER_FOLDER, and what was printed as its input. That it fails, or
    takes more than a minute, is said and changes nothing.
    """
    ending = Ending()
    try:
        yield ending
    finally:
        if command and ending.status:
            _run(command, study, folder, ending)


def _run(command: str, study: str, folder: Path, ending: Ending) -> None:
    told = {"SWEEPER_STUDY": study, "SWEEPER_STATUS": ending.status, "SWEEPER_FOLDER": str(folder)}
    with tempfile.TemporaryFile("w+") as said:  # no pipe: what the command leaves behind would keep that open
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                input=ending.text,
                env={**os.environ, **told},
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=MOST_SECONDS,
            )
            problem = f"exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            problem = f"not done after {MOST_SECONDS:.0f} s"
        said.seek(0)
        text = said.read()
    if problem:
        problem = ": ".join(filter(None, [problem, one_line(text)[:NOTED]]))
        print(f"on_end of study {study!r} failed ({problem})", file=sys.stderr)
    else:
        print(text, end="", file=sys.stderr)
