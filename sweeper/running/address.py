"""Which Ray cluster a study uses, and the variables that Ray reads when it is imported. Imports no Ray."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from pathlib import Path

DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_raylet_start_wait_time_s": "15",  # it waits with the interpreter's lock, so nothing here could end it
    "RAY_gcs_server_port_wait_time_s": "15",  # the same
    "RAY_prestart_worker_first_driver": "0",  # Tune's actors would not take them
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less for each run
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else Ctrl-C ends like a finished study
    "TUNE_GLOBAL_CHECKPOINT_S": "600",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # how many runs are under way is decided here
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def address() -> str | None:
    """Return the address of the cluster to use: RAY_ADDRESS, or one that `ray start` began here and that listens."""
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    marker = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    text = marker.read_text().strip() if marker.exists() else ""
    return text if listens(text) else None  # a cluster that was killed leaves its marker


def listens(address: str) -> bool:
    """Say whether something takes connections at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def closed() -> dict[str, str]:
    """Return the variables that close a Ray of one's own to others; to be set before Ray is imported.

    It listens on loopback, where Ray looks for no other machine, and answers those alone who know its token, unless
    RAY_AUTH_MODE says otherwise already.
    """
    if address() is not None:
        return {}
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    if "RAY_AUTH_MODE" in os.environ:
        return loopback
    return {**loopback, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
