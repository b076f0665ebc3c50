"""A Ray cluster of several nodes in this machine, by Ray's own test utility."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from sweeper import import_path

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@contextmanager
def nodes(count: int, cpus: int = 1) -> Iterator[Cluster]:
    """Start a head and what it takes to `count` nodes, each of so many CPUs; nothing of them is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own imports
        from ray.cluster_utils import Cluster
    node = {"num_cpus": cpus, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster()
    try:
        with patch.dict(os.environ, PYTHONPATH=import_path()):  # what a node's workers can import
            for _ in range(count):
                cluster.add_node(**node)
        yield cluster
    finally:
        for one in reversed(cluster.list_all_nodes()):  # the head last: what goes tells it
            cluster.remove_node(one, allow_graceful=False)
