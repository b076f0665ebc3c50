"""Both ways in which a ledger is read, and a store that speaks S3 on a free port of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from sweeper.ledger import bucket, index
from sweeper.ledger.bucket import Bucket
from sweeper.ledger.objects import ObjectStorage
from sweeper.ledger.uris import locate


@pytest.fixture(autouse=True, params=["read at once", "indexed"])
def reading(request, monkeypatch):
    """Read a ledger as a small one, and by an index however small it is."""
    if request.param == "indexed":
        monkeypatch.setattr(index, "UNINDEXED", 0)
    return request.param


@pytest.fixture(scope="session")
def store() -> Iterator[dict[str, str]]:
    """The environment by which the store is reached."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-someone",
    }
    server.stop()


@pytest.fixture
def objects(store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, for this process and those it starts; what is fetched from it lies below tmp_path."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SWEEPER_SCRATCH", str(tmp_path / "scratch"))
    name = f"bucket-{abs(hash(tmp_path)):x}"
    bucket.client().create_bucket(Bucket=name)
    return Bucket(name)


@pytest.fixture
def elsewhere(objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return the storage as another machine has it, which has fetched nothing yet."""

    def machine(name: str) -> ObjectStorage:
        monkeypatch.setenv("SWEEPER_SCRATCH", str(tmp_path / name))
        return locate(f"s3://{objects.name}/sweeps")

    return machine
