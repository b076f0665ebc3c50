"""Payloads: the JSON of everything that can change a run's result, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sweeper import bridge
from sweeper.bridge import Entry

Payload = dict[str, Any]


def digest(value: object) -> str:
    """Return a 16-digit hash of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def identity(payload: Payload) -> Payload:
    """Return the payload without what changes no weight: places on disk, the dataset's label, the test conditions."""
    own = {k: v for k, v in payload.items() if k != "conditions"}
    dataset = _placeless("dataset", own["dataset"])
    dataset.pop("label", None)
    encoders = {m: _placeless("encoder", named) for m, named in own["encoders"].items()}
    return {**own, "dataset": dataset, "encoders": encoders}


def modules(payload: Payload) -> list[str]:
    """Return the modules of other packages that bring something of what a payload names: they stand in full names."""
    augmentations = [named for own in payload["augment"].values() for named in own]
    parts = [payload["dataset"], payload["method"], *payload["encoders"].values(), *augmentations]
    names = [named["name"] for named in [*parts, payload["fusion"]] if named]
    names += [entry.full for entry in added(payload)]
    return sorted({name.rpartition(".")[0] for name in names if "." in name})


def added(payload: Payload) -> list[Entry]:
    """Return the metrics and the noise of other modules that a run is scored by and tested under."""
    metrics = [metric.partition("/")[0] for metric in (payload["metric"], *payload.get("metrics", ()))]
    noise = [bridge.parse_condition(label).kind for label in payload["conditions"]]
    found = [("metric", name) for name in metrics] + [("condition", name) for name in noise]
    return [bridge.entry(kind, name) for kind, name in found if "." in name]


def _placeless(kind: str, named: Mapping[str, Any]) -> Payload:
    """Return a part's name and options without those that say where something lies."""
    places = bridge.entry(kind, named["name"]).locations
    return {k: v for k, v in named.items() if k not in places}
