"""The progress line: runs done of planned, time left, best so far per arm."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from sweeper.planning.planner import Planner
from sweeper.study.arms import short_names

EVERY_SECONDS = 10.0


class Progress:
    """Prints to a terminal in place, and to a file a line every ten seconds."""

    def __init__(self, planner: Planner, out: TextIO = sys.stderr) -> None:
        self.planner, self.out = planner, out
        self.began = time.monotonic()
        self.shown_at = -EVERY_SECONDS
        self.done = self.width = 0
        self.names = short_names([race.arm.axes for race in planner.races])

    def ran(self) -> None:
        """Count a run that was carried out now, and show."""
        self.done += 1
        self.show()

    def show(self, *, last: bool = False) -> None:
        """Show the state, at most as often as the output bears."""
        now = time.monotonic()
        live = self.out.isatty()
        if not last and now - self.shown_at < (0.5 if live else EVERY_SECONDS):
            return
        self.shown_at = now
        line = self.line(now - self.began)
        if live:
            line = line[: shutil.get_terminal_size().columns - 1]  # a wrapped line could not be overwritten
            print("\r" + line.ljust(self.width), end="\n" if last else "", file=self.out, flush=True)
            self.width = len(line)
        else:
            print(line, file=self.out, flush=True)

    def line(self, seconds: float) -> str:
        """Return e.g. `runs 12/40 · ETA 1:20 · joint 0.957 #3 · lfm stopped: the same error 3 times: …`."""
        finished = sum(len(r.runs) - len(r.open) for r in self.planner.races)
        planned = max(self.planner.planned(), finished)
        parts = [f"runs {finished}/{planned}"]
        if self.done and planned > finished:
            parts.append(f"ETA {_clock(seconds / self.done * (planned - finished))}")
        for name, race in zip(self.names, self.planner.races, strict=True):
            best = race.best()
            if race.stopped:
                parts.append(f"{name} stopped: {race.stopped}")
            elif best:
                parts.append(f"{name} {best[1]:.3f} #{best[0]}")
        return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
