"""How far a study is: short however many arms it has, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout

import pytest
from rich.console import Console

from sweeper.ledger.records import RunRecord
from sweeper.planning.planner import Planner
from sweeper.service import progress as shown
from sweeper.service.progress import AROUND, EVERY_SECONDS, LIVE_SECONDS, NAMED, Progress, line, table
from sweeper.study.schema import parse
from sweeper.study.unfold import unfold

WIDTH = 100
SIZES = {"train": 64, "validation": 48, "test": 48}
METHODS = ("joint", "lfm", "ogm", "uniform", "label_smoothing")
STUDY = {
    "study": "many",
    "dataset": [{"name": "synthetic", **SIZES, "data_seed": i, "label": f"data {i}"} for i in range(4)],
    "fusion": ["concat", "sum", "mean", "gated"],
    "methods": list(METHODS),
    "search": {"configurations": 2, "seeds": [0, 1], "sampler": "random", "racing": "none"},
    "final": {"seeds": [100, 101]},
}
REASON = "the same error 3 times: ValueError: " + "no such thing as 7 " * 20


@pytest.fixture(scope="module")
def planner():
    """A planner of 80 arms that have had most of their runs; each value says of which arm and configuration it is."""
    found = Planner(parse(STUDY), unfold(parse(STUDY)), {}, {}, lambda record: None)
    for _ in range(400):
        run = found.take()
        place = found.races.index(next(race for race in found.races if race.arm is run.arm))
        value = {"accuracy": 0.5 + place / 200 + run.configuration / 1000}
        metrics = {"validation": value} | ({"test/clean": value} if run.stage == "final" else {})
        found.settle(run.key, RunRecord(key=run.key, status="done", metrics=metrics))
    return found


@pytest.fixture
def stopped(planner, monkeypatch):
    """Stop all arms of a method, as the same error would."""
    for race in planner.races:
        if race.arm.method.name == "uniform":
            monkeypatch.setattr(race, "stopped", REASON)
    return planner


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def frames(self):
        """What was drawn, one time after another, without colours and movements of the cursor."""
        drawn = re.split(r"(?:\x1b\[2K(?:\x1b\[1A)?)+", self.getvalue().replace("\r", ""))
        return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame) for frame in drawn]


@pytest.fixture(params=[10, 24, 50, 100])
def terminal(request, monkeypatch):
    """A terminal of so many rows."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LINES", str(request.param))
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    made = Terminal()
    made.height = request.param
    return made


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when it is told to."""
    now = [1000.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


# the line


def test_of_80_arms_the_line_names_the_best_and_counts_the_others(planner):
    progress = Progress(planner)
    progress.done = 10
    assert line(progress.state(20)) == (
        "runs 400/480 · ETA 2:40 · best label_smoothing data 3 gated 0.896 ± 0.000 #1,"
        " label_smoothing data 3 mean 0.891 ± 0.000 #1, label_smoothing data 3 sum 0.886 ± 0.000 #1,"
        " label_smoothing data 3 concat 0.881 ± 0.000 #1, 76 more"
    )


def test_of_arms_that_were_stopped_the_line_says_how_many_and_one_reason(stopped):
    found = line(Progress(stopped).state(0))
    assert found.startswith("runs 400/480 · best ")
    *_, best, told = found.split(" · ")
    assert best.count("#") == NAMED
    assert told.startswith(
        "16 stopped, uniform data 0 concat: the same error 3 times: ValueError: no such thing as 7"
    )
    assert told.endswith(" …")
    assert len(found) < 400


def test_before_any_result_the_line_is_a_count():
    study = parse(STUDY)
    planner = Planner(study, unfold(study), {}, {}, lambda record: None)
    assert line(Progress(planner).state(0)) == "runs 0/480"


def test_the_smallest_loss_is_best():
    study = parse({**STUDY, "select": {"metric": "loss"}, "fusion": "concat", "dataset": "synthetic"})
    planner = Planner(study, unfold(study), {}, {}, lambda record: None)
    for value in (3.0, 1.0, 2.0):
        run = planner.take()
        planner.settle(
            run.key, RunRecord(key=run.key, status="done", metrics={"validation": {"loss": value}})
        )
    assert line(Progress(planner).state(0)).endswith("best lfm 1.000 #0, ogm 2.000 #0, joint 3.000 #0")


def test_elsewhere_than_on_a_terminal_a_line_comes_every_minute(planner, clock):
    out = io.StringIO()
    progress = Progress(planner, out)
    for _ in range(210):  # a second each
        progress.show()
        clock[0] += 1
    assert EVERY_SECONDS == 60
    assert len(out.getvalue().splitlines()) == 4
    progress.show(last=True)
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert {re.sub(" · ETA [0-9:]+", "", line) for line in lines} == {line(progress.state(0))}
    assert "\x1b" not in out.getvalue()


# the table


def rows(frame):
    """The lines of a frame below its rule, as words."""
    lines = [line.rstrip() for line in frame.splitlines()]
    rule = next(i for i, line in enumerate(lines) if set(line.strip()) == {"─"})
    return [line.strip() for line in lines[rule + 1 :] if line.strip()]


def test_the_table_fits_the_terminal_whatever_its_height(stopped, terminal):
    progress = Progress(stopped, terminal)
    progress.show()
    frame = terminal.frames[-1]
    lines = frame.strip("\n").splitlines()
    assert len(lines) <= terminal.height
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].strip() == "runs 400/480"
    assert lines[2].split() == ["arm", "best", "accuracy", "#", "n", "runs"]
    found = rows(frame)
    if terminal.height > 80 + AROUND:
        assert len(found) == 80
        assert found[0].split() == [
            "joint",
            "data",
            "0",
            "concat",
            "0.501",
            "±",
            "0.000",
            "1",
            "2",
            "5/6",
            "final",
        ]
        return
    assert len(found) == terminal.height - AROUND
    shown = sum(line.startswith("uniform ") for line in found)
    assert found[-1].split() == [str(80 - len(found) + 1), "more", str(16 - shown), "stopped"]
    best = ["label_smoothing", "data", "3", "gated", "0.896", "±", "0.000", "1"]
    assert found[0].split()[:8] == best
    values = [float(re.search(r"0\.\d{3}", line)[0]) for line in found[:-1]]
    assert values == sorted(values, reverse=True)


def test_the_table_says_best_runs_and_what_was_stopped(stopped):
    out = Console(file=io.StringIO(), width=200, height=100, force_terminal=True)
    out.print(table(Progress(stopped).state(0), 90))
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.file.getvalue())
    by_arm = {re.split(r" {2,}", line)[0]: line for line in rows(text)}
    assert len(by_arm) == 80
    assert re.split(r" {2,}", by_arm["joint data 0 concat"])[1:] == [
        "0.501 ± 0.000",
        "1",
        "2",
        "5/6",
        "final",
    ]
    assert re.split(r" {2,}", by_arm["lfm data 3 mean"])[1:5] == ["0.831 ± 0.000", "1", "2", "5/6"]
    assert "stopped: the same error 3 times: ValueError: no such thing" in by_arm["uniform data 2 sum"]
    assert sum("stopped: " in line for line in by_arm.values()) == 16


def test_on_a_terminal_the_table_is_drawn_in_its_own_place_twice_a_second(planner, clock, terminal):
    progress = Progress(planner, terminal)
    for _ in range(20):  # a tenth of a second each
        progress.show()
        clock[0] += 0.1
    assert LIVE_SECONDS == 0.5
    counts = [frame.count("runs 400/480") for frame in terminal.frames if frame.strip()]
    assert counts == [1] * 4
    progress.show(last=True)
    assert terminal.getvalue().endswith("\x1b[?25h")  # the cursor is back


def test_what_is_printed_after_the_table_is_seen(planner, terminal, capsys):
    """It is drawn first while Tune runs, whose own output is hidden."""
    progress = Progress(planner, terminal)
    with redirect_stdout(io.StringIO()):
        progress.show()
    progress.show(last=True)
    print("the results")
    assert capsys.readouterr().out == "the results\n"
