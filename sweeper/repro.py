"""One run done again from its record, and whether the numbers match."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.bridge import UserError
from sweeper.storage import Storage

TOLERANCE = 1e-6


def find(runs: Mapping[str, Mapping[str, Any]], prefix: str) -> str:
    """Return the key that begins with `prefix`; raise UserError if none or several do."""
    keys = [key for key in runs if key.startswith(prefix)]
    if len(keys) == 1:
        return keys[0]
    if keys:
        raise UserError(
            f"{len(keys)} runs begin with {prefix!r}, such as {keys[0]} and {keys[1]}; give more digits"
        )
    return bridge.choose("run", prefix, runs, "the ledger") if len(runs) < 10 else _none(prefix, len(runs))


def _none(prefix: str, n: int) -> str:
    raise UserError(
        f"no run begins with {prefix!r}; the ledger holds {n} runs, `sweeper status` and MLflow show keys"
    )


def again(record: Mapping[str, Any], storage: Storage, data_root: Path | None) -> tuple[bool, list[str]]:
    """Carry out a recorded run once more in a temporary folder; return (whether it matches, sentences).

    Two results match if every metric is equal within 1e-6; equality to the bit is said. A run on several workers
    is repeated on as many, through Ray.
    """
    order = storage.order(record["key"])
    if order is None:
        raise UserError(
            f"run {record['key']} has no run.json in {storage.run(record['key'])}; only its record is left"
        )
    name = f"{record['axes']['method']} #{record['configuration']}"
    said = [f"run {record['key']}: {name}, {record['stage']} seed {record['seed']}"]
    payload = order["payload"]
    method = bridge.entry("method", payload["method"]["name"], tuple(order["plugins"]))
    today = bridge.code_digest([method, bridge.entry("dataset", payload["dataset"]["name"])])
    if today != payload["code"]:
        said.append(f"the code has changed since (digest {payload['code']} then, {today} now)")
    with tempfile.TemporaryDirectory(prefix="sweeper-repro-") as folder:
        recorded = Path(order["data_root"]) if order["data_root"] else None
        order |= {"folder": folder, "data_root": data_root or recorded}
        order |= {"cache": Path(order["cache"]), "plugins": tuple(order["plugins"])}
        result = _execute(order)
    if result["status"] != record["status"]:
        return False, [*said, f"does not match: it was {record['status']}, now it is {result['status']}"]
    differences = {
        f"{split} {name}": abs(value - result["metrics"].get(split, {}).get(name, math.inf))
        for split, scores in record.get("metrics", {}).items()
        for name, value in scores.items()
    }
    worst = max(differences, key=lambda name: differences[name], default=None)
    if worst is None or differences[worst] == 0:
        return True, [*said, f"matches to the bit: {len(differences)} metrics, status {record['status']}"]
    verdict = "matches" if differences[worst] <= TOLERANCE else "does not match"
    return differences[worst] <= TOLERANCE, [
        *said,
        f"{verdict}: the largest difference is {differences[worst]:.3g} in {worst}",
    ]


def _execute(order: dict[str, Any]) -> dict[str, Any]:
    from sweeper import executor
    from sweeper.service import HOME

    if order["workers"] == 1:
        return bridge.execute(**executor.arguments(order), device="cuda" if order["gpus"] else "cpu")
    from sweeper.distributed import execute_on_workers

    executor.start(HOME)
    try:
        return execute_on_workers(order)
    finally:
        executor.stop()
