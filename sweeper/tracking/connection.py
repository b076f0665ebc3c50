"""The way to MLflow, and what it has of a study: a client, an embedded database, runs, artifacts, records.

An embedded database has its artifacts in `mlartifacts` beside it, in the layout of an MLflow server that is given this
folder, and names no place: so the two can be moved together. The client itself reaches such artifacts only through a
server; here they are files.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.ledger.records import Record, typed
from sweeper.models.errors import UserError, choose, masked, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from sweeper.ledger.storage import Storage

SERVED = "mlflow-artifacts:/"  # what the server that shows an artifact knows the place of
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # else a call to a dead server lasts minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass
class Shown:
    """What MLflow shows of one of its runs."""

    id: str
    start: int
    artifacts: str
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of runs: files below `folder` beside an embedded database, the client's to handle elsewhere."""

    client: MlflowClient
    folder: Path | None

    @classmethod
    def of(cls, client: MlflowClient, uri: str) -> Artifacts:
        """Return those of the MLflow at a URI."""
        return cls(client, folder_of(uri))

    def add(self, run: Shown, path: Path, below: str = "", *, link: bool = False) -> None:
        """Enter a file, into a folder of the run's artifacts if one is named.

        With `link` as a hard link, where that can be: for a file that is never written again in place.
        """
        place = self._place(run)
        if place is None:
            self.client.log_artifact(run.id, str(path), below or None)
            return
        made = place / below / path.name
        made.parent.mkdir(parents=True, exist_ok=True)
        made.unlink(missing_ok=True)
        try:
            if not link:
                raise OSError
            os.link(path, made)
        except OSError:  # another file system, or one that has no links
            shutil.copyfile(path, made)

    def add_text(self, run: Shown, text: str, name: str) -> None:
        """Enter a text as a file."""
        place = self._place(run)
        if place is None:
            self.client.log_text(run.id, text, name)
            return
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)

    def read(self, run: Shown, name: str) -> str:
        """Return a text; raises whatever goes wrong."""
        place = self._place(run)
        if place is not None:
            return (place / name).read_text()
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run.id, name, folder)).read_text()

    def _place(self, run: Shown) -> Path | None:
        """Return the folder of a run's artifacts, None where only the client reaches them."""
        if self.folder is None or not run.artifacts.startswith(SERVED):
            return None
        return self.folder / run.artifacts.removeprefix(SERVED)


def uri_of(storage: Storage) -> str:
    """Return where the studies of a storage are shown: MLFLOW_TRACKING_URI, or the database in the storage."""
    return os.environ.get("MLFLOW_TRACKING_URI") or embedded(storage)


def embedded(storage: Storage) -> str:
    """Return the URI of the database in a storage."""
    return f"sqlite:///{storage.root}/mlflow.db"


def connect(uri: str) -> MlflowClient:
    """Return a client that keeps off the terminal and gives up soon."""
    os.environ.update({**ENVIRONMENT, **os.environ})
    warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)\b")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def file_of(uri: str) -> Path | None:
    """Return the file of an embedded database, None of any other MLflow."""
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme == "sqlite" else None


def folder_of(uri: str) -> Path | None:
    """Return the folder of an embedded database's artifacts, None of any other MLflow."""
    file = file_of(uri)
    return file.parent / "mlartifacts" if file else None


def make(uri: str) -> None:
    """Make the database of a URI if it is not there; in place once it is whole, as half of one would be for ever."""
    file = file_of(uri)
    if file is None or file.suffix != ".db" or file.exists():
        return
    whole = file.with_name(f"{file.name}.new")
    whole.unlink(missing_ok=True)
    connect(f"sqlite:///{whole}")
    whole.replace(file)


def runs_of(client: MlflowClient, experiment: str, query: str) -> Iterator[Shown]:
    """Yield what MLflow shows of the runs of an experiment that a query finds."""
    token: str | None = ""
    while token is not None:
        page = client.search_runs([experiment], query, max_results=1000, page_token=token or None)
        for info, data in ((run.info, run.data) for run in page):
            yield Shown(
                info.run_id,
                info.start_time,
                info.artifact_uri,
                info.status,
                data.params,
                data.tags,
                data.metrics,
            )
        token = page.token or None


def fetch_records(uri: str, study: str) -> list[Record]:
    """Return a study's records as MLflow keeps them, enough for its table; raise UserError if it has none."""
    file = file_of(uri)
    if file and not file.exists():
        raise UserError(
            f"there is no MLflow database {str(file)!r}; give the URI of one that a study has written"
        )
    told = masked(uri)
    try:
        client = connect(uri)
        experiments = {e.name: e.experiment_id for e in client.search_experiments()}
    except Exception as error:  # whatever MLflow raises
        raise UserError(f"MLflow at {told} cannot be read ({one_line(error)[:200]})") from error
    choose("study", study, experiments, f"MLflow at {told}")
    for run in runs_of(client, experiments[study], "tags.`sweeper.kind` = 'study'"):
        ledger = Artifacts.of(client, uri).read(run, "ledger.jsonl")
        return [typed(json.loads(line)) for line in ledger.splitlines()]
    raise UserError(f"experiment {study!r} of MLflow at {told} holds no ledger; no study has written it")
