"""What is handed out next, and what becomes of runs that end without a result."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeper.models.errors import UserError
from sweeper.running import dispatch as module
from sweeper.running import leaving
from sweeper.running.dispatch import ATTEMPTS, Dispatch
from sweeper.study.schema import Resources


class Work:
    """Runs a, b, c, …, and the results they got."""

    def __init__(self, folder: Path, need: Resources, runs: str) -> None:
        self.folder, self.wanted, self.left = folder, need, list(runs)
        self.settled: list[tuple[str, dict]] = []
        self.interrupted = self.idled = False

    @property
    def finished(self) -> bool:
        return not self.left

    def take(self) -> SimpleNamespace | None:
        return SimpleNamespace(key=self.left.pop(0)) if self.left else None

    def need(self, run: SimpleNamespace) -> Resources:
        return self.wanted

    def order(self, run: SimpleNamespace, need: Resources) -> dict:
        return {"key": run.key, "folder": str(self.folder), **need.model_dump()}

    def settle(self, run: SimpleNamespace, result: dict) -> None:
        self.settled.append((run.key, result))

    def idle(self) -> None:
        self.idled = True


class Room:
    """Room for `slots` runs now, and for `beyond` when the cluster has grown."""

    def __init__(self, slots: int = 1, beyond: int = 0) -> None:
        self.slots, self.most, self.asked = slots, beyond, []

    @property
    def grows(self) -> bool:
        return self.most > 0

    def has(self, need: Resources, running: list) -> bool:
        return len(running) < self.slots

    def beyond(self, need: Resources) -> int:
        return self.most

    def ask(self, needs: list) -> None:
        self.asked.append(len(needs))


@pytest.fixture
def begin(tmp_path: Path):
    def begin(runs: str, room: Room | None = None, **need: float) -> tuple[Dispatch, Work]:
        work = Work(tmp_path, Resources(**need), runs)
        return Dispatch(work.take(), work, room or Room()), work

    return begin


def keys(dispatch: Dispatch, names: str) -> list[str | None]:
    return [order and order["key"] for order in map(dispatch.next, names)]


def test_no_more_are_handed_out_than_fit(begin):
    dispatch, work = begin("abc", Room(2))
    assert keys(dispatch, "123") == ["a", "b", None]
    dispatch.ended("1", {"status": "done"})
    assert not dispatch.finished
    assert keys(dispatch, "34") == ["c", None]
    assert dispatch.finished
    assert work.settled == [("a", {"status": "done"})]
    assert dispatch.room.asked == []  # of a cluster that does not grow


def test_a_cluster_that_grows_is_asked_for_all_that_could_run_on_it(begin):
    dispatch, _ = begin("abcdefgh", Room(0, beyond=5))
    assert dispatch.next("1") is None
    assert dispatch.room.asked[-1] == 5
    dispatch.room.slots = 3
    assert keys(dispatch, "1234") == ["a", "b", "c", None]
    assert dispatch.room.asked[-1] == 5  # under way and waiting
    dispatch.end()
    assert dispatch.room.asked[-1] == 0


def test_a_run_whose_worker_dies_is_tried_three_times(begin):
    dispatch, work = begin("a")
    for i in range(ATTEMPTS):
        assert work.settled == []
        assert dispatch.next(f"t{i}")["key"] == "a"
        dispatch.died(f"t{i}", "killed for its memory")
    [(key, result)] = work.settled
    assert key == "a"
    assert result["status"] == "preempted"
    assert result["error"] == {"class": "WorkerDied", "message": "3 times: killed for its memory"}
    assert dispatch.finished


@pytest.mark.parametrize(
    "reason",
    ["sweeper.models.errors.Left: asked to leave after epoch 3", "The actor died because its node has died."],
)
def test_a_run_that_left_or_lost_its_node_is_tried_again_whatever_happened_before(begin, reason):
    dispatch, work = begin("a")
    for i in range(3 * ATTEMPTS):
        assert dispatch.next(f"t{i}")["key"] == "a"
        dispatch.died(f"t{i}", reason)
    assert work.settled == []


def test_a_run_that_hung_says_where(begin, tmp_path):
    dispatch, work = begin("a", silence=5.0)
    for i in range(ATTEMPTS):
        dispatch.next(f"t{i}")
        said = (
            'Timeout!\nThread 0x1 (most recent call first):\n  File "x.py", line 3 in wait\n  File "y.py"\n'
        )
        (tmp_path / f"hung-{i}.txt").write_text(said)
        dispatch.died(f"t{i}", "unexpected")
    [(_, result)] = work.settled
    assert result["error"]["class"] == "Hung"
    assert result["error"]["message"] == '3 times: no step for 5 s, File "x.py", line 3 in wait'
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_a_part_of_a_gpu_was_too_small_for_is_tried_alone_on_one(begin):
    short = {"status": "failed", "error": {"class": "OOM", "message": "CUDA out of memory"}}
    dispatch, work = begin("ab", gpus=0.25)
    assert dispatch.next("1")["gpus"] == 0.25
    dispatch.ended("1", short)
    assert work.settled == []
    assert dispatch.next("2")["gpus"] == 1.0
    dispatch.ended("2", short)
    assert work.settled == [("a", short)]
    assert dispatch.next("3")["gpus"] == 0.25


def test_without_a_gpu_memory_that_is_short_is_a_failure(begin):
    short = {"status": "failed", "error": {"class": "OOM", "message": "out of memory"}}
    dispatch, work = begin("a")
    dispatch.next("1")
    dispatch.ended("1", short)
    assert work.settled == [("a", short)]


def test_a_full_disk_ends_the_study_and_is_no_run_s_failure(begin):
    dispatch, work = begin("a")
    dispatch.next("1")
    with pytest.raises(UserError, match=r"no space is left for .*; free some, and the same command goes on"):
        dispatch.died("1", "OSError: [Errno 28] No space left on device")
    assert work.settled == []


def test_interrupted_nothing_is_handed_out_and_all_are_asked_to_leave(begin, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(leaving, "ask", asked.append)
    monkeypatch.setattr(module, "draining", set)
    dispatch, work = begin("abc", Room(2))
    assert keys(dispatch, "1") == ["a"]
    dispatch.look_around()
    work.interrupted = True
    dispatch.look_around()
    dispatch.look_around()
    assert asked == [leaving.ALL]
    assert dispatch.finished
    assert dispatch.next("2") is None


def test_the_runs_of_a_node_that_is_to_be_taken_away_are_asked_to_leave(begin, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(leaving, "ask", asked.append)
    monkeypatch.setattr(module, "draining", lambda: {"node"})
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    dispatch, work = begin("a")
    dispatch.look_around()
    dispatch.look_around()
    assert asked == ["node"]
    assert work.idled
