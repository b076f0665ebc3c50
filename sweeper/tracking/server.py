"""MLflow's own server for the studies of a storage, and its pages as a newcomer's browser opens them.

MLflow 3.17 takes every experiment for one of language models, whatever its tag `mlflow.experimentKind` says, until the
browser remembers another choice. So the page that starts its user interface makes the browser remember one, where it
has none. This is an app of MLflow's (its entry point `mlflow.app`), for `mlflow server --app-name sweeper`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sweeper import import_path
from sweeper.models.errors import UserError, masked, one_line
from sweeper.tracking.connection import ENVIRONMENT, file_of, folder_of

if TYPE_CHECKING:
    from fastapi import FastAPI

APP = "sweeper"
REMEMBERED = {  # as MLflow's user interface names it
    "mlflow.workflowType_v1": "machine_learning",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,  # the assistant does not open by itself
    "mlflow.home.getting-started.collapsed_v1": True,
}
SCRIPT = "for (const [key, value] of Object.entries(%s)) localStorage.getItem(key) ?? localStorage.setItem(key, value)"


def app() -> FastAPI:
    """Return MLflow's server, in whose user interface a study opens with its runs."""
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app as server
    from mlflow.telemetry.utils import is_telemetry_disabled

    index = Path(str(pages.static_folder), "index.html")
    told = REMEMBERED | {"mlflow.telemetry.info.alert.dismissed_v1": is_telemetry_disabled()}
    pages.view_functions["serve"] = lambda: remembering(told, index.read_text())
    return server


def remembering(told: Mapping[str, object], page: str) -> str:
    """Return a page that makes the browser remember what it is told, before other scripts run; its own choices stay."""
    values = json.dumps({key: json.dumps(value) for key, value in told.items()})
    return page.replace("<head>", f"<head><script>{SCRIPT % values}</script>", 1)


def serve(uri: str, artifacts: Path, host: str, port: int) -> NoReturn:
    """Become MLflow's server of a database, with the folder of its artifacts; say where to look.

    Raises UserError if it would serve nothing, or could not.
    """
    if uri.startswith("http"):
        raise UserError(f"MLflow is served at {masked(uri)} (MLFLOW_TRACKING_URI); open that in a browser")
    file = file_of(uri)
    if file and not file.exists():
        raise UserError(
            f"there is no MLflow database {str(file)!r} yet; the first study of a storage makes it"
        )
    if not entry_points(group="mlflow.app", name=APP):
        raise UserError("this installation of sweeper is older than its code; make .venv/ready mends that")
    _check_free(host, port)
    options = {
        "app-name": APP,
        "host": host,
        "port": port,
        "workers": 1,
        "uvicorn-opts": "--log-level warning",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    told = {  # by the environment, which unlike arguments other users of the machine cannot read
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder_of(uri) or artifacts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nothing here asks for
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": import_path(),
    }
    print(
        f"open http://{'localhost' if host == '127.0.0.1' else host}:{port} in a browser; Ctrl-C ends it",
        flush=True,
    )
    os.execve(
        sys.executable,
        [sys.executable, "-m", "mlflow", "server", *words],
        {**ENVIRONMENT, **os.environ, **told},
    )


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:  # OverflowError: of a number that is no port
        reason = one_line(error).partition(" (while")[0]
        raise UserError(
            f"port {port} of {host} cannot be served ({reason}); give another by --port"
        ) from None
