"""MLflow over HTTP on PostgreSQL and S3: the same table, no password anywhere, and nothing lost when it is away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import boto3
import pytest

from tests.sweeper.tracking import servers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(servers.POSTGRES is None, reason="PostgreSQL is not installed (Debian: postgresql)"),
]
PASSWORDS = {"database": "Secret-of-the-database", "server": "Secret-of-the-server"}
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}


@dataclass
class Lab:
    """A database, a bucket, and the home of the node on which MLflow's server starts."""

    database: str
    store: str
    home: Path
    port: int

    @property
    def uri(self) -> str:
        """Where MLflow is, as a lab that keeps it behind a password says it."""
        return f"http://me:{PASSWORDS['server']}@127.0.0.1:{self.port}"

    def objects(self) -> dict[str, bytes]:
        """What the bucket holds."""
        bucket = boto3.resource("s3", endpoint_url=self.store, **KEYS).Bucket("artifacts")
        return {one.key: one.get()["Body"].read() for one in bucket.objects.all()}

    def dump(self) -> str:
        """All that the database holds."""
        uri = self.database.replace("+psycopg2", "")
        return subprocess.run(
            [servers.POSTGRES / "pg_dump", "--inserts", uri], check=True, capture_output=True, text=True
        ).stdout


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        database = stack.enter_context(servers.postgresql(PASSWORDS["database"]))
        store = stack.enter_context(servers.object_store())
        boto3.client("s3", endpoint_url=store, **KEYS).create_bucket(Bucket="artifacts")
        (home / "sweeper.env").write_text(
            f"MLFLOW_BACKEND_STORE_URI={database}\nMLFLOW_ARTIFACTS_DESTINATION=s3://artifacts\n"
            f"export MLFLOW_S3_ENDPOINT_URL={store} AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing\n"
        )
        yield Lab(database, store, home, servers.free_port())


@pytest.fixture
def served(lab) -> Iterator[Lab]:
    with servers.mlflow(lab.home, lab.port):
        yield lab


def table(told: subprocess.CompletedProcess[str]) -> list[str]:
    assert told.returncode == 0, told.stderr
    return [line for line in told.stdout.splitlines() if line.startswith("|")]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holders(content: dict[str, bytes]) -> list[str]:
    """What holds a password."""
    return [name for name, data in content.items() if any(p.encode() in data for p in PASSWORDS.values())]


def arguments_of_processes() -> dict[str, bytes]:
    """What every user of this machine can read of its processes."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[str(path)] = path.read_bytes()
        except OSError:  # it has ended
            continue
    return found


def kill_after_first_run(server: subprocess.Popen[bytes], storage: Path) -> None:
    for _ in range(1200):
        if any(storage.glob("runs/*/result.json")):
            break
        time.sleep(0.1)
    servers.end(server)


def test_a_study_is_kept_by_the_server_in_the_database_and_the_bucket(served, sweeper, study_file, tmp_path):
    before = served.objects().keys()
    told = sweeper("run", study_file(), MLFLOW_TRACKING_URI=served.uri)
    assert len(table(told)) > 2
    rebuilt = sweeper("report", "tiny", "--from-mlflow", served.uri)
    assert table(rebuilt) == table(told)
    kept = {key: content for key, content in served.objects().items() if key not in before}
    runs = len(list((tmp_path / "store" / "runs").iterdir()))
    assert sum(key.endswith("/run.json") for key in kept) == runs
    assert sum(key.endswith("/ledger.jsonl") for key in kept) == 1
    assert f"http://***@127.0.0.1:{served.port}/#/experiments/" in told.stdout
    said = {"out": told.stdout, "err": told.stderr, "report": rebuilt.stdout, "database": served.dump()}
    everywhere = {name: text.encode() for name, text in said.items()} | kept | files(tmp_path / "store")
    assert holders(everywhere | arguments_of_processes()) == []
    assert holders(files(served.home)) == [str(served.home / "sweeper.env")]


def test_a_study_writes_to_the_database_itself(lab, sweeper, study_file, tmp_path):
    told = sweeper("run", study_file(study="direct"), MLFLOW_TRACKING_URI=lab.database)
    assert table(sweeper("report", "direct", "--from-mlflow", lab.database)) == table(told)
    assert "MLFLOW_TRACKING_URI='postgresql+psycopg2://***@127.0.0.1" in told.stdout
    doctor = sweeper("doctor", MLFLOW_TRACKING_URI=lab.database)
    said = {"out": told.stdout, "err": told.stderr, "doctor": doctor.stdout}
    everywhere = {name: text.encode() for name, text in said.items()} | files(tmp_path / "store")
    assert holders({**everywhere, "database": lab.dump().encode()}) == []


def test_what_a_server_missed_is_added_when_it_is_back(lab, sweeper, study_file, tmp_path):
    """The server is killed in the middle of the study and stays away until it has ended."""
    path = study_file(study="missed")
    with ExitStack() as stack:
        server = stack.enter_context(servers.mlflow(lab.home, lab.port))
        killer = Thread(target=kill_after_first_run, args=(server, tmp_path / "store"))
        killer.start()
        told = sweeper("run", path, MLFLOW_TRACKING_URI=lab.uri)
        killer.join()
    assert told.stderr.count("lacks a part of study 'missed'") == 1
    assert holders({"err": told.stderr.encode()}) == []
    with servers.mlflow(lab.home, lab.port):
        again = sweeper("run", path, MLFLOW_TRACKING_URI=lab.uri)
        assert "lacks" not in again.stderr
        assert table(sweeper("report", "missed", "--from-mlflow", lab.uri)) == table(again) == table(told)
