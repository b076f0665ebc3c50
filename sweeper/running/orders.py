"""Orders: all that a worker needs to carry out a run, and all that is needed to repeat it, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.ledger.storage import Storage
from sweeper.study.runs import Run
from sweeper.study.schema import Resources, Study

PATHS = ("folder", "data_root", "cache", "training")


def as_order(
    study: Study, run: Run, storage: Storage, data_root: Path | None, need: Resources
) -> dict[str, Any]:
    """Return the order of a run that reserves what it needs."""
    paths = {
        "folder": storage.run(run.key),
        "data_root": data_root,
        "cache": storage.cache,
        "training": storage.training(run.training) if run.training else None,
    }
    return {
        "payload": run.payload,
        "key": run.key,
        "arm": run.arm.key,
        **{name: str(path) if path else None for name, path in paths.items()},
        "limits": run.limits,
        "plugins": list(study.plugins),
        "checkpoints": study.checkpoints,
        **need.model_dump(),
    }


def execute_here(
    order: Mapping[str, Any], device: str | None = None, pulse: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Carry out an order in this process, on a GPU if it asks for one, and return the result."""
    paths = {name: Path(order[name]) if order[name] else None for name in PATHS}
    given = {name: order[name] for name in ("payload", "limits", "checkpoints")}
    given |= {name: order.get(name, False) for name in ("channels_last", "compile")}  # which old orders lack
    threads = max(1, int(order["cpus"]))
    made = bridge.Order(**given, **paths, plugins=tuple(order["plugins"]), threads=threads)
    return bridge.execute(made, device or ("cuda" if order["gpus"] else "cpu"), pulse=pulse)
