"""The progress line: runs done of planned, best so far per arm, time left."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from sweeper.planner import Planner

EVERY_SECONDS = 10.0


class Progress:
    """Prints to a terminal in place, and to a file a line every ten seconds."""

    def __init__(self, planner: Planner, out: TextIO = sys.stderr) -> None:
        self.planner, self.out = planner, out
        self.began = time.monotonic()
        self.shown_at = -EVERY_SECONDS
        self.done = self.reused = 0
        self.width = 0

    def ran(self) -> None:
        """Count a run that was carried out now, and show."""
        self.done += 1
        self.show()

    def show(self, *, last: bool = False) -> None:
        """Show the state, at most as often as the output bears."""
        now = time.monotonic()
        live = self.out.isatty()
        if not last and now - self.shown_at < (0.2 if live else EVERY_SECONDS):
            return
        self.shown_at = now
        line = self.line(now - self.began)
        if live:
            print("\r" + line.ljust(self.width), end="\n" if last else "", file=self.out, flush=True)
            self.width = len(line)
        else:
            print(line, file=self.out, flush=True)

    def line(self, seconds: float) -> str:
        """Return e.g. `runs 12/40 · ETA 1:20 · joint 0.957 #3 · lfm 0.948 #0`."""
        finished = sum(len(r.runs) - len(r.open) for r in self.planner.races)
        planned = max(self.planner.planned(), finished)
        parts = [f"runs {finished}/{planned}"]
        if self.done and planned > finished:
            parts.append(f"ETA {_clock(seconds / self.done * (planned - finished))}")
        for race in self.planner.races:
            best = race.best()
            if best:
                parts.append(f"{race.arm.axes['method']} {best[1]:.3f} #{best[0]}")
        return " · ".join(parts)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
