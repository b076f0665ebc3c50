"""One run done again from its record, and whether the numbers match."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from sweeper import bridge
from sweeper.ledger.file import Ledger, runs_of
from sweeper.ledger.provenance import provenance
from sweeper.ledger.records import RunRecord
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.running.orders import execute_here
from sweeper.study.payloads import added

TOLERANCE = 1e-6
CONFIDENCE = 0.95
COUNTED = ("torch-", "numpy-")  # the libraries whose version can change a digit


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


def seeds_of(record: RunRecord, ledger: Ledger) -> list[RunRecord]:
    """Return the finished runs of a run's configuration and stage, one a seed."""
    runs = runs_of(ledger.of(RunRecord, arm=[record.arm])).values()
    alike = [run for run in runs if run.done and run.stage == record.stage]
    return list({run.seed: run for run in alike if run.parameters == record.parameters}.values())


def again(
    record: RunRecord, storage: Storage, data_root: Path | None, seeds: Sequence[RunRecord] = ()
) -> tuple[bool, list[str]]:
    """Carry out a recorded run once more in a temporary folder; return (whether it matches, sentences).

    Two results match if every metric is equal within 1e-6; equality to the bit is said. On other hardware or libraries
    they match too if the headline metric differs by no more than `seeds`, the runs of its configuration, let expect.
    A run on several workers is repeated on as many, through Ray. Raises UserError if the run's order is not there.
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
        result = _execute(order | {"folder": place.address(folder)})
    finally:
        place.remove(folder)
    now = RunRecord.of({**result, "key": record.key, "versions": provenance()["versions"]})
    elsewhere = list(_elsewhere(record, now))
    same, verdict = _compared(record, now)
    if not same and elsewhere and now.status == record.status:
        same, verdict = _within_spread(record, now, order["payload"]["metric"], seeds)
    return same, [*said, *elsewhere, verdict]


def _compared(then: RunRecord, now: RunRecord) -> tuple[bool, str]:
    """Return whether status and every metric are equal, and that in words."""
    if now.status != then.status:
        why = f" ({now.failure})" * bool(now.failure)
        return False, f"does not match: it was {then.status}, now it is {now.status}{why}"
    n, worst, difference = _largest(then, now)
    if not difference:
        return True, f"matches to the bit: {n} metrics, status {then.status}"
    same = difference <= TOLERANCE
    verdict = "matches" if same else "does not match"
    return same, f"{verdict}: the largest difference is {difference:.3g} in {worst}"


def _largest(then: RunRecord, now: RunRecord) -> tuple[int, str, float]:
    """Return how many metrics there were, and which of them differs most, and by how much."""
    found = {
        f"{split} {name}": _distance(value, now.metrics.get(split, {}).get(name, math.inf))
        for split, scores in then.metrics.items()
        for name, value in scores.items()
    }
    worst = max(found, key=lambda name: found[name], default="")
    return len(found), worst, found.get(worst, 0.0)


def _within_spread(
    then: RunRecord, now: RunRecord, metric: str, seeds: Sequence[RunRecord]
) -> tuple[bool, str]:
    """Return whether the metric differs by no more, on any split, than two seeds would, and that in words.

    Of n seeds with standard deviation s (ddof 1) two more differ by up to t(n - 1) s √2 in 95 % of cases.
    """
    from scipy.special import stdtrit

    _, worst, most = _largest(then, now)
    all_of_them = f"of all metrics {worst} differs most, by {most:.3g}"
    found = []
    for split, scores in then.metrics.items():
        values = [run.metrics[split][metric] for run in seeds if metric in run.metrics.get(split, {})]
        if metric not in scores or len(values) < 2:
            continue
        limit = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * stdev(values) * math.sqrt(2)
        difference = _distance(scores[metric], now.metrics.get(split, {}).get(metric, math.inf))
        found.append((difference - max(limit, TOLERANCE), difference, limit, len(values), split))
    if not found:
        return (
            False,
            f"does not match, and no other seed of its configuration tells how much it may: {all_of_them}",
        )
    excess, difference, limit, n, split = max(found)
    verdict = "matches within the spread of seeds" if excess <= 0 else "does not match"
    return excess <= 0, (
        f"{verdict}: {metric} on {split} differs by {difference:.3g}, where two seeds of its configuration differ by up"
        f" to {limit:.3g} in 95 % of cases (n={n}); {all_of_them}"
    )


def _elsewhere(then: RunRecord, now: RunRecord) -> Iterator[str]:
    """Yield a sentence each if a run was computed on other hardware, or with other libraries, as far as is recorded."""
    if then.hardware and then.hardware != now.hardware:
        names = [name for name in {**then.hardware, **now.hardware} if _told(then, name) != _told(now, name)]
        told = "; ".join(f"{name} {_told(then, name)} then, {_told(now, name)} now" for name in names)
        yield f"other hardware: {told}"
    libraries = {
        text: [one for one in text.split() if one.startswith(COUNTED)]
        for text in (then.versions, now.versions)
    }
    if then.versions and libraries[then.versions] != libraries[now.versions]:
        yield f"other libraries: {' '.join(libraries[then.versions])} then, {' '.join(libraries[now.versions])} now"


def _told(record: RunRecord, name: str) -> str:
    return record.hardware.get(name, "none")


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
