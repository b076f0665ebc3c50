"""One run done again from its record, and whether the numbers match."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper import ROOT, bridge
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError

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
    known = f", such as {next(iter(runs))}" if runs else ""
    raise UserError(f"no run begins with {prefix!r}; the ledger holds {len(runs)} runs{known}")


def again(record: Mapping[str, Any], storage: Storage, data_root: Path | None) -> tuple[bool, list[str]]:
    """Carry out a recorded run once more in a temporary folder; return (whether it matches, sentences).

    Two results match if every metric is equal within 1e-6; equality to the bit is said. A run on several workers
    is repeated on as many, through Ray. Raises UserError if the run's order is not there any more.
    """
    order = storage.order(record["key"])
    if order is None:
        raise UserError(
            f"run {record['key']} has no run.json in {storage.run(record['key'])}; only its record is left"
        )
    order["data_root"] = data_root or (Path(order["data_root"]) if order["data_root"] else None)
    order |= {"cache": Path(order["cache"]), "plugins": tuple(order["plugins"]), "trunk": None}
    tested = [split.removeprefix("test/") for split in record.get("metrics", {}) if split.startswith("test/")]
    order["payload"]["conditions"] = tested  # which several studies may have asked for
    name = f"{record['axes']['method']} #{record['configuration']}"
    said = [f"run {record['key']}: {name}, {record['stage']} seed {record['seed']}", *_changes(order)]
    # workers on other nodes write into this folder too
    place = storage.root if order["workers"] > 1 else None
    with tempfile.TemporaryDirectory(prefix="sweeper-repro-", dir=place) as folder:
        result = _execute(order | {"folder": folder})
    if result["status"] != record["status"]:
        why = f" ({result['error']['class']}: {result['error']['message']})" if "error" in result else ""
        return False, [*said, f"does not match: it was {record['status']}, now it is {result['status']}{why}"]
    differences = {
        f"{split} {name}": _distance(value, result["metrics"].get(split, {}).get(name, math.inf))
        for split, scores in record.get("metrics", {}).items()
        for name, value in scores.items()
    }
    worst = max(differences, key=lambda name: differences[name], default=None)
    if worst is None or differences[worst] == 0:
        return True, [*said, f"matches to the bit: {len(differences)} metrics, status {record['status']}"]
    same = differences[worst] <= TOLERANCE
    verdict = "matches" if same else "does not match"
    return same, [*said, f"{verdict}: the largest difference is {differences[worst]:.3g} in {worst}"]


def _changes(order: Mapping[str, Any]) -> list[str]:
    """Return a sentence each if code or data are not those of the run."""
    payload, said = order["payload"], []
    method = bridge.entry("method", payload["method"]["name"], order["plugins"])
    code = bridge.code_digest([method, bridge.entry("dataset", payload["dataset"]["name"])])
    if code != payload["code"]:
        said.append(f"the code has changed since (digest {payload['code']} then, {code} now)")
    options = {k: v for k, v in payload["dataset"].items() if k not in ("name", "fingerprint")}
    data = bridge.fingerprint(payload["dataset"]["name"], options, root=order["data_root"])
    if data != payload["dataset"]["fingerprint"]:
        said.append(
            f"the data have changed since (fingerprint {payload['dataset']['fingerprint']} then, {data} now)"
        )
    return said


def _distance(then: float, now: float) -> float:
    if then == now or (math.isnan(then) and math.isnan(now)):
        return 0.0
    return abs(then - now) if math.isfinite(then - now) else math.inf


def _execute(order: dict[str, Any]) -> dict[str, Any]:
    if order["workers"] == 1:
        return bridge.execute(**bridge.arguments(order), device="cuda" if order["gpus"] else "cpu")
    from sweeper.running import cluster
    from sweeper.running import tune as executor
    from sweeper.study.schema import Resources

    cluster.start(ROOT)
    try:
        cluster.slots(Resources(cpus=order["cpus"], gpus=order["gpus"], workers=order["workers"]))
        return executor.execute(order)
    finally:
        cluster.stop()
