"""The Ray cluster: joined or started, and left."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence

import ray

from sweeper import import_path
from sweeper.models.errors import UserError, one_line
from sweeper.models.memory import uncollected
from sweeper.running import nodes, watch
from sweeper.running.address import address, listens


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
        try:
            ray.init(address="local", include_dashboard=False, **quiet)
        except Exception as error:  # Ray raises that class itself, among others
            raise UserError(
                f"Ray did not start ({one_line(error)[:200]}); the same command tries again"
            ) from error
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
