"""How a study ends when its time is up, and the command of the user's that hears of every end."""

from __future__ import annotations

import json
import sys

import pytest

from sweeper.commands.studies import seconds
from sweeper.models.errors import UserError
from sweeper.service import ending
from sweeper.service.ending import telling
from sweeper.service.session import LATE

NOTES = 'printf "%s %s %s\\n" "$SWEEPER_STUDY" "$SWEEPER_STATUS" "$SWEEPER_FOLDER" > told; cat > said'


@pytest.mark.parametrize(("text", "found"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172800)])
def test_a_time_is_a_number_and_its_unit(text, found):
    assert seconds("--stop-after", text) == found


@pytest.mark.parametrize("text", ["", "90", "h", "-1h", "0h", "1 h", "1w", "1h30m", "1e3s", "nan s"])
def test_anything_else_is_refused_in_a_sentence(text):
    with pytest.raises(UserError, match="give a time above zero, as 90s, 30m, 8h or 2d"):
        seconds("--stop-after", text)


def test_when_the_time_is_up_what_is_done_is_kept_and_the_same_command_goes_on(here, study_file, tmp_path):
    path = study_file(methods="joint")
    whole = {run.key for run in here("run", path, "--storage", tmp_path / "other").runs}
    stopped = here("run", path, "--stop-after", "0.001s")
    assert stopped.code == 1
    assert LATE in stopped.err
    assert len(stopped.runs) == 1
    assert "n=" in stopped.out or "—" in stopped.out
    rest = here("run", path)
    assert rest.code == 0
    assert {run.key for run in [*stopped.runs, *rest.runs]} == whole
    assert len(stopped.runs) + len(rest.runs) == len(whole)


def test_a_study_that_ends_in_time_is_not_stopped(here, study_file):
    told = here("run", study_file(methods="joint"), "--stop-after", "1h")
    assert told.code == 0
    assert LATE not in told.err


@pytest.mark.parametrize(("arguments", "status"), [((), "complete"), (("--stop-after", "0.001s"), "stopped")])
def test_the_users_command_hears_how_a_study_ended(
    here, study_file, tmp_path, monkeypatch, arguments, status
):
    monkeypatch.chdir(tmp_path)
    told = here("run", study_file(methods="joint", on_end=NOTES), *arguments)
    assert (tmp_path / "told").read_text() == f"tiny {status} {tmp_path}/store/studies/tiny\n"
    assert (tmp_path / "said").read_text().strip() == told.out.strip()


def test_it_hears_of_a_failure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def fails():
        with telling(NOTES, "s", tmp_path) as ended:
            ended.status = "failed"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (tmp_path / "told").read_text() == f"s failed {tmp_path}\n"


def test_it_may_use_the_storage_itself(here, study_file, tmp_path):
    again = f"{sys.executable} -m sweeper.cli gc --storage {tmp_path / 'store'}"
    told = here("run", study_file(methods="joint", on_end=again))
    assert told.code == 0
    assert "nothing to remove" in told.err
    assert "on_end of study" not in told.err


def test_it_does_not_hear_of_a_study_that_never_began(here, study_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absent = {"name": "arrays", "path": str(tmp_path / "none.npz")}
    told = here("run", study_file(methods="joint", on_end=NOTES, dataset=absent))
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert not (tmp_path / "told").exists()


def test_that_it_fails_is_said_and_changes_nothing(here, study_file):
    told = here("run", study_file(methods="joint", on_end="echo no such lamp >&2; exit 3"))
    assert told.code == 0
    assert "on_end of study 'tiny' failed (exit code 3: no such lamp)" in told.err


def test_it_may_not_hold_up_the_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ending, "MOST_SECONDS", 0.2)
    with telling("sleep 30", "s", tmp_path) as ended:
        ended.status = "complete"
    assert "on_end of study 's' failed (not done after 0 s)" in capsys.readouterr().err


def test_it_changes_no_run(here, study_file, tmp_path):
    before = {run.key for run in here("run", study_file(methods="joint")).runs}
    after = here("run", study_file(methods="joint", on_end="true"))
    assert before
    assert after.runs == []
    plans = (tmp_path / "store" / "ledger.jsonl").read_text().splitlines()
    assert all("on_end" not in json.loads(line) for line in plans)
