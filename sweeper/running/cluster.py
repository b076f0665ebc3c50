"""The Ray cluster: joined or started, and how many runs fit on it."""

from __future__ import annotations

import gc
import logging
import math
import os
import socket
import tempfile
from pathlib import Path

# what is set in the environment already holds
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # Tune's actors would not take them
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # one process less for each run

import ray

from sweeper import import_path
from sweeper.models.errors import UserError
from sweeper.models.memory import uncollected
from sweeper.study.schema import Resources


def address() -> str | None:
    """Return the address of the cluster to use: RAY_ADDRESS, or one that `ray start` began here and that listens."""
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    marker = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    text = marker.read_text().strip() if marker.exists() else ""
    return text if _listens(text) else None  # a cluster that was killed leaves its marker


def start() -> None:
    """Connect to the cluster, or start one on this machine, so that workers can import this package.

    Raises UserError if a cluster is named but does not answer.
    """
    if ray.is_initialized():
        return
    path = import_path()
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    found = address()
    if found is None:
        os.environ["PYTHONPATH"] = path
        ray.init(address="local", include_dashboard=False, **quiet)
    elif ":" in found and "//" not in found and not _listens(found):  # Ray would try for minutes
        raise UserError(
            f"no Ray cluster answers at {found}; start it, or unset RAY_ADDRESS to use this machine alone"
        )
    else:
        ray.init(address=found, runtime_env={"env_vars": {"PYTHONPATH": path}}, **quiet)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failed trials are records here


def _listens(text: str) -> bool:
    host, _, port = text.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def stop() -> None:
    """Leave the cluster; one started here ends."""
    gc.collect()
    with uncollected():  # a handle that another thread's collection freed meanwhile would end the process
        ray.shutdown()


def slots(resources: Resources) -> int:
    """Return how many runs fit on the cluster at once; raise UserError if none does."""
    if resources.workers > 1 and resources.gpus % 1:
        raise UserError(
            f"resources: {resources.gpus:g} GPU for each of {resources.workers} workers; a run on several workers"
            " needs whole GPUs, or none"
        )
    have = ray.cluster_resources()
    need = {"CPU": resources.cpus * resources.workers, "GPU": resources.gpus * resources.workers}
    fits = min(math.floor(have.get(kind, 0) / n + 1e-9) for kind, n in need.items() if n)
    if fits < 1:
        raise UserError(
            f"a run needs {resources.workers} × ({resources.cpus:g} CPU, {resources.gpus:g} GPU), but the cluster has"
            f" {have.get('CPU', 0):g} CPU and {have.get('GPU', 0):g} GPU; lower resources in the study"
        )
    return fits
