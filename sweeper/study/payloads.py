"""Payloads: the JSON of everything that can change a run's result, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sweeper import bridge

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


def _placeless(kind: str, named: Mapping[str, Any]) -> Payload:
    """Return a part's name and options without those that say where something lies."""
    places = bridge.entry(kind, named["name"]).locations
    return {k: v for k, v in named.items() if k not in places}
