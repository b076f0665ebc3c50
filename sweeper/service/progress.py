"""How far a study is: a live table on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from textwrap import shorten
from typing import TYPE_CHECKING, TextIO

from sweeper.planning.planner import Planner
from sweeper.planning.race import Race
from sweeper.study.arms import short_names

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

EVERY_SECONDS, LIVE_SECONDS = 10.0, 0.5
NAMED = 4  # arms in a line
REASON = 100  # letters of why an arm was stopped, in a line
AROUND = 5  # lines of a terminal that the table's rows do not have


class Progress:
    """Shows runs done of planned, time left, and the best value so far of as many arms as there is room for."""

    def __init__(self, planner: Planner, out: TextIO = sys.stderr) -> None:
        self.planner, self.out = planner, out
        self.began = time.monotonic()
        self.shown_at = -EVERY_SECONDS
        self.done = 0
        names = short_names([race.arm.axes for race in planner.races])
        self.arms = list(zip(names, planner.races, strict=True))
        self.live: Live | None = None

    def ran(self) -> None:
        """Count a run that was carried out now, and show."""
        self.done += 1
        self.show()

    def show(self, *, last: bool = False) -> None:
        """Show the state, at most as often as the output bears."""
        now, live = time.monotonic(), self.out.isatty()
        if not last and now - self.shown_at < (LIVE_SECONDS if live else EVERY_SECONDS):
            return
        self.shown_at = now
        if live:
            self._show_table(now - self.began, last=last)
        else:
            print(self.line(now - self.began), file=self.out, flush=True)

    def line(self, seconds: float) -> str:
        """Return e.g. `runs 12/400 · ETA 1:20 · best joint 0.957 #3, lfm 0.953 #0, 76 more · 2 stopped, lfm: …`."""
        best = [(name, *found) for name, race in self._ranked() if (found := race.best())]
        parts = [self.counts(seconds)]
        if best:
            said = [f"{name} {value:.3f} #{k}" for name, k, value in best[:NAMED]]
            parts.append(f"best {', '.join(said + [f'{len(best) - NAMED} more'] * (len(best) > NAMED))}")
        stopped = [(name, race.stopped) for name, race in self.arms if race.stopped]
        if stopped:
            name, why = stopped[0]
            parts.append(f"{len(stopped)} stopped, {name}: {shorten(why, REASON, placeholder=' …')}")
        return " · ".join(parts)

    def counts(self, seconds: float) -> str:
        """Return e.g. `runs 12/400 · ETA 1:20`."""
        finished = sum(len(race.runs) - len(race.open) for _, race in self.arms)
        planned = max(self.planner.planned(), finished)
        left = planned - finished
        eta = f" · ETA {_clock(seconds / self.done * left)}" if self.done and left else ""
        return f"runs {finished}/{planned}{eta}"

    def table(self, seconds: float, room: int) -> Table:
        """Return the arms in a table of `room` rows; where there are more, the best of them."""
        from rich import box
        from rich.table import Table

        found = Table(title=self.counts(seconds), title_justify="left", box=box.SIMPLE_HEAD, expand=True)
        for name in ("arm", "best", "#", "runs"):
            found.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
        found.add_column("", no_wrap=True, ratio=1)  # what the numbers leave, however long a reason is
        ranked = self._ranked()
        rows, rest = (self.arms, []) if len(ranked) <= room else (ranked[: room - 1], ranked[room - 1 :])
        for name, race in rows:
            best, finished = race.best(), len(race.runs) - len(race.open)
            shown = (f"{best[1]:.3f}", str(best[0])) if best else ("", "")
            state = f"stopped: {race.stopped}" if race.stopped else race.stage
            found.add_row(name, *shown, f"{finished}/{max(race.planned(), finished)}", state)
        if rest:
            stopped = sum(bool(race.stopped) for _, race in rest)
            found.add_row(f"{len(rest)} more", "", "", "", f"{stopped} stopped" if stopped else "")
        return found

    def _ranked(self) -> list[tuple[str, Race]]:
        """Return the arms, the best value first, then those that have none yet."""

        def worth(arm: tuple[str, Race]) -> float:
            best = arm[1].best()
            return arm[1].sign * best[1] if best else float("-inf")

        return sorted(self.arms, key=worth, reverse=True)

    def _show_table(self, seconds: float, *, last: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        if self.live is None:
            # stdout is not its own to redirect: it begins where Tune's is hidden, and would put that back at its end
            self.live = Live(console=Console(file=self.out), auto_refresh=False, redirect_stdout=False)
            self.live.start()
        self.live.update(self.table(seconds, max(self.live.console.height - AROUND, 2)), refresh=True)
        if last:
            self.live.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
