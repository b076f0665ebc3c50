"""`sweeper ui`: MLflow's own server, whose pages open a study with its runs in a browser that is new to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sweeper import import_path
from sweeper.cli import main
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.tracking import server
from sweeper.tracking.connection import embedded, make
from tests.sweeper.tracking import servers

BROWSER = shutil.which("chromium")
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A storage with MLflow's database."""
    made = Storage(tmp_path / "store")
    made.root.mkdir()
    make(embedded(made))
    return made


def test_what_a_browser_remembers_is_set_before_other_scripts_run():
    told = {"kind": "training", "seen": True}
    page = server.remembering(told, "<html><head><script src='main.js'></script></head></html>")
    first, second = page.split("<script")[1:]
    assert json.dumps({"kind": '"training"', "seen": "true"}) in first
    assert second == " src='main.js'></script></head></html>"


def test_it_is_remembered_by_the_names_of_the_installed_user_interface():
    import mlflow

    scripts = Path(mlflow.__file__).parent / "server/js/build/static/js"
    text = "".join(path.read_text() for path in scripts.glob("*.js"))
    for name in (*server.REMEMBERED, "mlflow.telemetry.info.alert.dismissed_v1"):
        assert f'"{name.removesuffix("_v1")}"' in text
    assert 'MACHINE_LEARNING="machine_learning"' in text


def test_the_installed_package_has_the_app_that_is_asked_for():
    (found,) = entry_points(group="mlflow.app", name=server.APP)
    assert found.load() is server.app


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("http://me:secret@host:5000", "MLflow is served at http://***@host:5000 (MLFLOW_TRACKING_URI)"),
        ("sqlite:////nowhere/mlflow.db", "there is no MLflow database '/nowhere/mlflow.db' yet"),
    ],
)
def test_what_needs_no_server_or_has_nothing_to_show_is_told(monkeypatch, capsys, tmp_path, uri, sentence):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["ui", "--storage", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_a_port_that_is_taken_is_told(storage):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be served .*; give another"):
            server.serve(embedded(storage), storage.root / "mlartifacts", "127.0.0.1", port)


def test_a_password_is_not_among_the_arguments_that_others_can_read(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(os, "execve", lambda *command: done.append(command))
    uri = "postgresql://me:secret@host/db"
    server.serve(uri, tmp_path, "127.0.0.1", servers.free_port())
    ((_, arguments, environment),) = done
    assert "secret" not in " ".join(arguments)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == uri
    assert environment["MLFLOW_ARTIFACTS_DESTINATION"] == str(tmp_path)


@pytest.fixture
def address(storage: Storage) -> Iterator[str]:
    """What `sweeper ui` serves, until Ctrl-C."""
    port = servers.free_port()
    command = [sys.executable, "-m", "sweeper.cli", "ui", "--storage", storage.root, "--port", port]
    address = f"http://127.0.0.1:{port}"
    env = {**os.environ, "PYTHONPATH": import_path()}
    with servers.serving(command, lambda: servers.answer(f"{address}/health"), env=env) as process:
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.slow
def test_mlflow_serves_its_page_and_keeps_its_guard(address):
    page = servers.answer(f"{address}/").decode()
    assert page.index("machine_learning") < page.index("static-files/static/js/main")
    foreign = urllib.request.Request(f"{address}/", headers={"Host": "foreign.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(foreign, timeout=5)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_an_experiment_opens_with_its_runs_in_a_new_browser(address, storage, tmp_path):
    from sweeper.tracking.connection import connect

    client = connect(embedded(storage))
    experiment = client.create_experiment("study", "mlflow-artifacts:/")
    client.create_run(experiment, run_name="a run of this study")
    command = [
        BROWSER,
        *FLAGS.split(),
        f"--user-data-dir={tmp_path / 'browser'}",
        "--virtual-time-budget=20000",
    ]
    page = subprocess.run(
        [*command, "--dump-dom", f"{address}/#/experiments/{experiment}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "a run of this study" in page.stdout
