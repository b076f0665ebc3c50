"""Real servers on loopback, in folders of their own: PostgreSQL, an S3-compatible store, MLflow as a node starts it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeper import ROOT

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
USER = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses root


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(ready: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers; raise if it ends or takes more than a minute."""
    for _ in range(600):
        try:
            ready()
            return
        except (OSError, subprocess.CalledProcessError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"{process.args} did not start")


@contextmanager
def serving(
    command: list[object], ready: Callable[[], object], **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; its whole process group is killed then."""
    words = list(map(str, command))
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, **options)
    try:
        wait_until(ready, process)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def postgresql(password: str) -> Iterator[str]:
    """Serve an empty database; yield its URI, password included."""
    folder, port = Path(tempfile.mkdtemp(prefix="sweeper-postgres-")), free_port()
    secret = folder / "password"
    secret.write_text(password)
    if USER:
        for path in (folder, secret):
            shutil.chown(path, USER)
    as_user = {"user": USER, "cwd": folder, "stderr": subprocess.DEVNULL}
    try:
        initdb = [POSTGRES / "initdb", "-D", folder / "data", "-U", "sweeper", "--pwfile", secret]
        options = ["--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*initdb, *options], check=True, stdout=subprocess.DEVNULL, **as_user)
        server = [POSTGRES / "postgres", "-D", folder / "data", "-k", folder, "-p", port, "-F"]
        ready = [POSTGRES / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        with serving(server, lambda: subprocess.run(ready, check=True, capture_output=True), **as_user):
            yield f"postgresql+psycopg2://sweeper:{password}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder)


@contextmanager
def object_store() -> Iterator[str]:
    """Serve an empty S3-compatible store; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    address = f"http://127.0.0.1:{port}"
    with serving(command, lambda: answer(f"{address}/moto-api/"), stderr=subprocess.DEVNULL):
        yield address


@contextmanager
def mlflow(home: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve MLflow by `cluster/node.sh`, which reads `sweeper.env` in the home."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(home), "MLFLOW_PORT": str(port), "LANG": "C.UTF-8"}
    with (home / "mlflow.log").open("ab") as log:
        command = ["bash", ROOT / "cluster" / "node.sh", "mlflow"]
        with serving(
            command, lambda: answer(f"http://127.0.0.1:{port}/health"), env=env, stderr=log
        ) as process:
            yield process


def answer(address: str) -> bytes:
    """Return what a server answers to a GET."""
    with urllib.request.urlopen(address, timeout=5) as told:
        return told.read()
