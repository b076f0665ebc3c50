"""How far a study is: a live table on a terminal, elsewhere a line a minute; the same from another shell."""

from __future__ import annotations

import sys
import time
from collections import Counter
from textwrap import shorten
from typing import TYPE_CHECKING, TextIO

from sweeper.planning.planner import Planner
from sweeper.running.watched import RunState, Watched
from sweeper.service import state
from sweeper.service.state import State
from sweeper.study.arms import short_names

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table

EVERY_SECONDS, LIVE_SECONDS = 60.0, 0.5
NAMED = 4  # arms in a line
RUNNING = 2  # runs under way in a line
REASON = 100  # letters of why an arm was stopped, in a line
AROUND = 5  # lines of a terminal that the rows of the table of arms do not have
BELOW = 4  # and those that the table of runs takes beside its rows
MOST_RUNNING = 8  # rows of that table


class Progress:
    """Shows how far a planner's study is as often as the output bears."""

    def __init__(self, planner: Planner, out: TextIO = sys.stderr, watched: Watched | None = None) -> None:
        self.planner, self.out, self.watched = planner, out, watched
        self.began = time.monotonic()
        self.shown_at = self.told_at = -EVERY_SECONDS
        self.done = 0
        self.failed: Counter[str] = Counter()
        arms = [race.arm for race in planner.races]
        names = short_names([arm.axes for arm in arms])
        self.names = dict(zip((arm.key for arm in arms), names, strict=True))
        self.live: Live | None = None

    def ran(self, arm: str = "", *, failed: bool = False) -> None:
        """Count a run of an arm that was carried out now, and show."""
        self.done += 1
        self.failed[arm] += failed
        self.show()

    def state(self, seconds: float) -> State:
        """Return how far the study is, `seconds` after its beginning."""
        study, races = self.planner.study, self.planner.races
        arms = [state.arm_state(self.names[race.arm.key], race, self.failed[race.arm.key]) for race in races]
        left = sum(arm.planned - arm.finished for arm in arms)
        return State(
            study=study.study,
            metric=study.select.metric,
            at=time.time(),
            left=seconds / self.done * left if self.done and left else None,
            arms=tuple(arms),
            running=self.watched.look() if self.watched else (),
        )

    def show(self, *, last: bool = False) -> None:
        """Show the state, at most as often as the output bears, and tell others of it."""
        now, live = time.monotonic(), self.out.isatty()
        tells = self.watched and now - self.told_at >= self.watched.storage.beat_seconds
        shows = last or now - self.shown_at >= (LIVE_SECONDS if live else EVERY_SECONDS)
        if not (tells or shows):
            return
        found = self.state(now - self.began)
        if tells and not last:
            self.told_at = now
            state.write(found, self.watched.storage)
        if not shows:
            return
        self.shown_at = now
        if live:
            self._show_table(found, last=last)
        else:
            print(line(found), file=self.out, flush=True)

    def _show_table(self, found: State, *, last: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        if self.live is None:
            # stdout is not its own to redirect: it begins where Tune's is hidden, and would put that back at its end
            self.live = Live(console=Console(file=self.out), auto_refresh=False, redirect_stdout=False)
            self.live.start()
        self.live.update(tables(found, self.live.console.height), refresh=True)
        if last:
            self.live.stop()


def line(found: State) -> str:
    """Return e.g. `runs 12/400 · ETA 1:20 · 2 running: lfm #3 epoch 5/20 · best joint 0.957 ± 0.010 #3, 76 more`."""
    parts = [counts(found)]
    if found.running:
        said = [f"{run.arm} #{run.configuration} {run.where}" for run in found.running[:RUNNING]]
        parts.append(f"{len(found.running)} running: {', '.join(said)}")
    best = [arm for arm in state.best_first(found.arms) if arm.best is not None]
    if best:
        said = [f"{arm.name} {arm.value} #{arm.best}" for arm in best[:NAMED]]
        parts.append(f"best {', '.join(said + [f'{len(best) - NAMED} more'] * (len(best) > NAMED))}")
    stopped = [arm for arm in found.arms if arm.stopped]
    if stopped:
        why = shorten(stopped[0].stopped, REASON, placeholder=" …")
        parts.append(f"{len(stopped)} stopped, {stopped[0].name}: {why}")
    return " · ".join(parts)


def counts(found: State) -> str:
    """Return e.g. `runs 12/400 · ETA 1:20 · 3 failed`."""
    eta = f" · ETA {_clock(found.left)}" if found.left else ""
    return f"runs {found.finished}/{found.planned}{eta}" + f" · {found.failed} failed" * bool(found.failed)


def tables(found: State, height: int) -> Group:
    """Return the arms, and below them the runs under way, in tables that fit a terminal of so many lines."""
    from rich.console import Group

    room = max(height - AROUND, 2)
    least = min(len(found.arms), max(room // 2, 2))
    below = min(len(found.running), MOST_RUNNING, max(room - least - BELOW, 0))
    if not below:
        return Group(table(found, room))
    return Group(table(found, room - below - BELOW), runs_table(found.running, below))


def table(found: State, room: int) -> Table:
    """Return the arms in a table of `room` rows; where there are more, the best of them."""
    from rich import box
    from rich.table import Table

    made = Table(title=counts(found), title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    for name in ("arm", f"best {found.metric}", "#", "n", "runs"):
        made.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
    made.add_column("", no_wrap=True, ratio=1)  # what the numbers leave, however long a reason is
    ranked = state.best_first(found.arms)
    shown, rest = (found.arms, []) if len(ranked) <= room else (ranked[: room - 1], ranked[room - 1 :])
    for arm in shown:
        best = (arm.value, str(arm.best), str(arm.n)) if arm.best is not None else ("", "", "")
        said = f"stopped: {arm.stopped}" if arm.stopped else arm.stage
        said += f" · {arm.failed} failed" * bool(arm.failed)
        made.add_row(arm.name, *best, f"{arm.finished}/{arm.planned}", said)
    if rest:
        stopped = sum(bool(arm.stopped) for arm in rest)
        made.add_row(f"{len(rest)} more", *[""] * 4, f"{stopped} stopped" if stopped else "")
    return made


def runs_table(running: tuple[RunState, ...], room: int) -> Table:
    """Return the runs under way in a table of `room` rows; where there are more, those that began first."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, expand=True)
    for name in ("running now", "#", "seed", "epoch", "validation", "since"):
        made.add_column(name, justify="left" if name == "running now" else "right", no_wrap=True)
    made.add_column("", ratio=1)
    shown = running if len(running) <= room else running[: room - 1]
    for run in shown:
        seed = f"{run.seed}{' final' * (run.stage == 'final')}"
        value = "" if run.value is None else f"{run.value:.3f}"
        since = _clock(max(time.time() - run.began, 0))
        made.add_row(
            run.arm, str(run.configuration), seed, run.where.removeprefix("epoch "), value, since, ""
        )
    if len(shown) < len(running):
        made.add_row(f"{len(running) - len(shown)} more", *[""] * 6)
    return made


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
