"""The Ray cluster: joined or started, and left."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
from collections.abc import Sequence
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
from sweeper.running import nodes, watch
from sweeper.running.watch import listens


def address() -> str | None:
    """Return the address of the cluster to use: RAY_ADDRESS, or one that `ray start` began here and that listens."""
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    marker = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    text = marker.read_text().strip() if marker.exists() else ""
    return text if listens(text) else None  # a cluster that was killed leaves its marker


def start(plugins: Sequence[str] = ()) -> None:
    """Connect to the cluster, or start one on this machine; from now on this process ends when that dies.

    Raises UserError if a cluster is named but does not answer, or a node of it lacks this package or the plug-ins.
    """
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    found = address()
    if found is None:
        os.environ["PYTHONPATH"] = import_path()
        watch.begin(None)
        ray.init(address="local", include_dashboard=False, **quiet)
    elif ":" in found and "//" not in found and not listens(found):  # Ray would try for minutes
        raise UserError(
            f"no Ray cluster answers at {found}; start it, or unset RAY_ADDRESS to use this machine alone"
        )
    else:
        ray.init(address=found, **quiet)
        watch.begin(ray.get_runtime_context().gcs_address)
        nodes.check(plugins)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failed trials are records here


def stop() -> None:
    """Leave the cluster; one started here ends."""
    watch.end()
    gc.collect()
    with uncollected():  # a handle that another thread's collection freed meanwhile would end the process
        ray.shutdown()
