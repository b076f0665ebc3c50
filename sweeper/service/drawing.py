"""Figures drawn in a process of its own: it gets ready while the last runs are under way, and draws while all ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sweeper import import_path
from sweeper.ledger.storage import Storage
from sweeper.models.errors import one_line


class Drawing:
    """The figures of a study and the page that shows them, made by a process that begins when its input ends."""

    def __init__(self, study: str, storage: Storage) -> None:
        self.study, self.storage = study, storage
        self.process: subprocess.Popen[str] | None = None

    @property
    def files(self) -> list[Path]:
        """The figures there are."""
        return sorted((self.storage.study(self.study) / "figures").glob("*.p*"))

    @property
    def page(self) -> Path:
        """The page that the figures are part of, there or not."""
        return self.storage.study(self.study) / "report.html"

    def prepare(self) -> None:
        """Start the process, unless it waits already."""
        if self.process:
            return
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sweeper.reports.figures",
                self.storage.address(self.storage.root),
                self.study,
            ],
            env={**os.environ, "PYTHONPATH": import_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begin(self) -> None:
        """Begin to draw what the ledger holds now, unless that is drawn already."""
        newest = max((path.stat().st_mtime for path in self.files), default=0.0)
        if self.page.exists() and newest > self.storage.ledger.stat().st_mtime:
            self.give_up()
            return
        self.prepare()
        self.process.stdin.close()

    def give_up(self) -> None:
        """Leave the figures as they are."""
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def finish(self) -> list[Path]:
        """Wait until all is drawn, say so if it is not, and return the figures."""
        if self.process:
            problem = self.process.stderr.read().strip().splitlines()
            self.process.stderr.close()
            if self.process.wait():
                reason = problem[-1] if problem else f"exit code {self.process.returncode}"
                print(
                    f"the figures of study {self.study!r} are not drawn ({one_line(reason)})", file=sys.stderr
                )
        return self.files
