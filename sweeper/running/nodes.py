"""Every node of a cluster has this package, the same as here, and the study's plug-ins; or the study does not begin."""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.ledger.provenance import package
from sweeper.models.errors import UserError

PATIENCE_SECONDS = 120.0


def check(plugins: Sequence[str]) -> None:
    """Look on every node; raise UserError naming the first that lacks something or does not answer."""

    def look(names: Sequence[str]) -> tuple[str, str]:  # sent by value: a node may not have this module
        from importlib import import_module

        try:
            found = import_module("sweeper.ledger.provenance").package()
        except ImportError:
            return "", "has no sweeper"
        for name in names:
            try:
                import_module(name)
            except Exception as error:  # a plug-in may raise anything
                return found, f"cannot import the plug-in {name!r} ({error})"
        return found, ""

    asked = {
        node["NodeManagerAddress"]: ray.remote(look)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote(list(plugins))
        for node in ray.nodes()
        if node["Alive"]
    }
    for address, answer in asked.items():
        try:
            found, lack = ray.get(answer, timeout=PATIENCE_SECONDS)
        except RayError as error:
            found, lack = "", f"does not answer ({type(error).__name__})"
        if lack or found != package():
            raise UserError(
                f"node {address} {lack or f'has sweeper {found}'}, this one has sweeper {package()}; install the same"
                " on every node, as cluster/node.sh setup does"
            )
