"""Nothing secret is printed or kept: not what the environment holds, not the passwords of URIs, whoever quotes them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from sweeper import ROOT
from sweeper.cli import main
from sweeper.models.errors import UserError, masked, one_line
from sweeper.service import doctor

PASSWORD = "hunter2hunter2"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "marker-of-aws-id",
    "AWS_SECRET_ACCESS_KEY": "marker/of+aws",
    "HF_TOKEN": "marker-of-a-token",
    "MY_SERVER_PASSWORD": "marker of a server",
    "UNRELATED": "marker-of-something-else",
}
QUOTES = '''
import os
from sweeper.models.method import Method


class Quotes(Method):
    """Joint training that fails and tells more than it should."""

    def on_epoch_start(self, ctx):
        if ctx.epoch == 1:
            secrets = {name: value for name, value in os.environ.items() if "marker" in value and name != "UNRELATED"}
            raise OSError(f"postgresql://me:hunter2hunter2@host/db does not answer; asked with {secrets}")
'''


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://me:secret@host:80/x?y=1, twice", "at http://***@host:80/x?y=1, twice"),
        ("postgresql+psycopg2://me:p@ss@host/db", "postgresql+psycopg2://***@host/db"),
        ("s3://me@bucket/a, http://host/b@c", "s3://***@bucket/a, http://***@c"),
        ("http://host/?token=abc&x=1", "http://host/?token=***&x=1"),
        ("password=abc AWS_SECRET_ACCESS_KEY=a/b", "password=*** AWS_SECRET_ACCESS_KEY=***"),
        ("a@b.org, file:///a/b, sqlite:////a/b.db, 3 tokens", "a@b.org, file:///a/b, sqlite:////a/b.db, 3 tokens"),
    ],
)  # fmt: skip
def test_what_is_masked(text, shown):
    assert masked(text) == shown


def test_values_of_the_environment_are_masked(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_TOKEN", "")
    assert masked("id marker-of-aws-id key marker/of+aws") == "id *** key ***"
    assert masked("marker-of-something-else") == "marker-of-something-else"


def test_an_error_is_one_line_of_printable_characters():
    told = one_line(UserError("a\nb\t c \x1b[2J at http://me:secret@host"))
    assert told == r"a b c \x1b[2J at http://***@host"


@pytest.mark.parametrize(
    "words",
    [
        ["report", "tiny", "--from-mlflow", f"http://me:{PASSWORD}@127.0.0.1:9"],
        ["report", "tiny", "--from-mlflow", f"foo://me:{PASSWORD}@host"],
        ["status", "--storage", f"http://me:{PASSWORD}@bucket/x"],
        ["plan", f"http://me:{PASSWORD}@host/study.yaml"],
        ["plan", "quickstart", "--set", f"dataset=http://me:{PASSWORD}@host"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_password_on_the_command_line_is_not_repeated(here, words):
    told = here(*words)
    assert told.code == 2
    assert "***@" in told.err
    assert PASSWORD not in told.out + told.err


def test_a_word_too_many_is_told_in_one_line_without_its_password(capsys):
    with pytest.raises(SystemExit):
        main(["status", "tiny", f"http://me:{PASSWORD}@host", "a\nb"])
    assert capsys.readouterr().err == (
        "sweeper: unrecognized arguments: http://***@host a b; see sweeper --help\n"
    )


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{PASSWORD}@127.0.0.1:9",
        f"http://me:{PASSWORD}@host:none",
        f"http://me:{PASSWORD}@[",
        f"foo://me:{PASSWORD}@host",
    ],
)
def test_the_doctor_repeats_no_password(uri):
    assert PASSWORD not in one_line(doctor._mlflow(uri)[1])


@pytest.mark.slow
@pytest.mark.parametrize("tracking", ["", f"http://me:{PASSWORD}@127.0.0.1:9"], ids=["database", "server"])
def test_a_study_writes_and_prints_no_secret(sweeper, study_file, tmp_path, tracking):
    """Whatever it writes: ledger, orders, results, MLflow's database and files, tables, and what Ray keeps of it."""
    (tmp_path / "quotes_method.py").write_text(QUOTES)
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a socket's path has to be short
    study = study_file(methods=["joint", "quotes"], plugins=["quotes_method"], search={"configurations": 1})
    environment = {**ENVIRONMENT, "RAY_TMPDIR": place, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    if tracking:
        environment["MLFLOW_TRACKING_URI"] = tracking
    try:
        told = sweeper("run", study, **environment)
        assert told.returncode == 1, told.stderr
        assert "***" in (tmp_path / "store" / "ledger.jsonl").read_text()
        written = [p for root in (tmp_path / "store", Path(place)) for p in root.rglob("*") if p.is_file()]
        assert any(path.name.startswith("raylet") for path in written)
        said = {"what it printed": (told.stdout + told.stderr).encode()}
        said |= {str(path): path.read_bytes() for path in written}
        secrets = [PASSWORD, *ENVIRONMENT.values()]
        leaks = {
            (place, secret) for place, text in said.items() for secret in secrets if secret.encode() in text
        }
        assert leaks == set()
    finally:
        shutil.rmtree(place, ignore_errors=True)
