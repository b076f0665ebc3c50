"""One run done again from its record, and whether the numbers match."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper import bridge
from sweeper.ledger.records import RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.running.orders import execute_here
from sweeper.study.payloads import added

TOLERANCE = 1e-6


def find(runs: Mapping[str, RunRecord], prefix: str) -> str:
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


def again(record: RunRecord, storage: Storage, data_root: Path | None) -> tuple[bool, list[str]]:
    """Carry out a recorded run once more in a temporary folder; return (whether it matches, sentences).

    Two results match if every metric is equal within 1e-6; equality to the bit is said. A run on several workers
    is repeated on as many, through Ray. Raises UserError if the run's order is not there any more.
    """
    order = storage.order(record.key)
    if order is None:
        place = storage.address(storage.run(record.key))
        raise UserError(f"run {record.key} has no run.json in {place}; only its record is left")
    order |= {"data_root": str(data_root) if data_root else order["data_root"], "training": None}
    tested = [split.removeprefix("test/") for split in record.metrics if split.startswith("test/")]
    order["payload"]["conditions"] = tested  # which several studies may have asked for
    name = f"{record.axes['method']} #{record.configuration}"
    said = [f"run {record.key}: {name}, {record.stage} seed {record.seed}", *_changes(order)]
    # workers on other nodes write into this folder too
    place = storage if order["workers"] > 1 else Storage(Path(tempfile.gettempdir()))
    folder = place.root / f"sweeper-repro-{uuid.uuid4().hex[:8]}"
    try:
        result = RunRecord.of({"key": record.key, **_execute(order | {"folder": place.address(folder)})})
    finally:
        place.remove(folder)
    if result.status != record.status:
        why = f" ({result.failure})" * bool(result.failure)
        return False, [*said, f"does not match: it was {record.status}, now it is {result.status}{why}"]
    differences = {
        f"{split} {name}": _distance(value, result.metrics.get(split, {}).get(name, math.inf))
        for split, scores in record.metrics.items()
        for name, value in scores.items()
    }
    worst = max(differences, key=lambda name: differences[name], default=None)
    if worst is None or differences[worst] == 0:
        return True, [*said, f"matches to the bit: {len(differences)} metrics, status {record.status}"]
    same = differences[worst] <= TOLERANCE
    verdict = "matches" if same else "does not match"
    return same, [*said, f"{verdict}: the largest difference is {differences[worst]:.3g} in {worst}"]


def _changes(order: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence each if code or data are not those of the run."""
    payload = order["payload"]
    named = payload["dataset"]
    code = bridge.code_digest(_parts(order))
    if code != payload["code"]:
        yield f"the code has changed since (digest {payload['code']} then, {code} now)"
    root = Path(order["data_root"]) if order["data_root"] else None
    data = bridge.fingerprint(named["name"], bridge.options_of(named), root=root)
    if data != named["fingerprint"]:
        yield f"the data have changed since (fingerprint {named['fingerprint']} then, {data} now)"


def _parts(order: Mapping[str, Any]) -> Iterator[bridge.Entry]:
    """Yield what a run names, whose code its digest is of."""
    payload = order["payload"]
    dataset = payload["dataset"]
    yield bridge.entry("method", payload["method"]["name"])
    yield bridge.entry("dataset", dataset["name"])
    root = Path(order["data_root"]) if order["data_root"] else None
    yield bridge.entry("task", bridge.task_of(dataset["name"], bridge.options_of(dataset), root=root))
    if payload["fusion"]:
        yield bridge.entry("fusion", payload["fusion"]["name"])
    for encoder in payload["encoders"].values():
        yield bridge.entry("encoder", encoder["name"])
    for own in payload["augment"].values():
        yield from (bridge.entry("augmentation", named["name"]) for named in own)
    yield from added(payload)


def _distance(then: float, now: float) -> float:
    if then == now or (math.isnan(then) and math.isnan(now)):
        return 0.0
    return abs(then - now) if math.isfinite(then - now) else math.inf


def _execute(order: dict[str, Any]) -> dict[str, Any]:
    if order["workers"] == 1:
        return execute_here(order)
    from sweeper.running import cluster, room
    from sweeper.running.ranks import execute_on_workers
    from sweeper.study.schema import Resources

    need = Resources(**{name: order[name] for name in Resources.model_fields if name in order})
    cluster.start(order["plugins"])
    try:
        room.check(need)
        return execute_on_workers(order | need.model_dump())
    finally:
        cluster.stop()
