"""Orders: all that a worker needs to carry out a run, and all that is needed to repeat it, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.ledger.provenance import package
from sweeper.ledger.storage import Storage
from sweeper.ledger.uris import locate
from sweeper.running.heartbeats import Heart
from sweeper.study.runs import Run
from sweeper.study.schema import Resources, Study


def as_order(
    study: Study, run: Run, storage: Storage, data_root: Path | None, need: Resources
) -> dict[str, Any]:
    """Return the order of a run that reserves what it needs."""
    paths = {
        "folder": storage.address(storage.run(run.key)),
        "data_root": str(data_root) if data_root else None,
        "cache": storage.address(storage.cache),
        "training": storage.address(storage.training(run.training)) if run.training else None,
    }
    return {
        "payload": run.payload,
        "key": run.key,
        "arm": run.arm.key,
        **paths,
        "limits": run.limits,
        "plugins": list(study.plugins),
        "checkpoints": study.checkpoints,
        "package": package(),
        **need.model_dump(),
    }


def execute_here(
    order: Mapping[str, Any], device: str | None = None, pulse: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Carry out an order in this process, on a GPU if it asks for one, and return the result.

    What it logs by epoch can be read meanwhile from its heartbeats.
    """
    given = {name: order[name] for name in ("payload", "limits", "checkpoints")}
    given |= {name: order.get(name, False) for name in ("channels_last", "compile")}  # which old orders lack
    threads = max(1, int(order["cpus"]))
    device = device or ("cuda" if order["gpus"] else "cpu")
    with _at_hand(order) as paths, Heart(order) as heart:
        made = bridge.Order(**given, **paths, plugins=tuple(order["plugins"]), threads=threads)
        return bridge.execute(made, device, on_epoch=heart, pulse=pulse)


@contextmanager
def _at_hand(order: Mapping[str, Any]) -> Iterator[dict[str, Path | None]]:
    """Yield an order's paths on this machine: what lies elsewhere is fetched, and what is made brought there."""
    with ExitStack() as lent:  # the run's folder, entered first, is brought last, when all else is there
        yield {
            "folder": lent.enter_context(_lend(order["folder"])),
            "training": lent.enter_context(_lend(order["training"])) if order["training"] else None,
            "cache": locate(order["cache"]).root if order["cache"] else None,
            "data_root": Path(order["data_root"]) if order["data_root"] else None,
        }


def _lend(address: str) -> AbstractContextManager[Path]:
    place = locate(address)
    return place.lend(place.root)
