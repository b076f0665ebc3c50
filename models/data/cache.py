"""Datasets that a process has loaded, kept while they fit in a number of bytes: runs of several take turns in it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.models.data import load_dataset
from sweeper.models.data.dataset import Dataset

KEPT_BYTES = 4 * 2**30


class Datasets:
    """The datasets used last, the least recently used given up first; the one asked for is always kept."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self.most = most
        self.kept: OrderedDict[str, Dataset] = OrderedDict()

    def get(
        self, name: str, options: Mapping[str, Any], root: Path | None = None, cache: Path | None = None
    ) -> Dataset:
        """Return a dataset, loaded if it is not kept; raises as `load_dataset`."""
        key = json.dumps([name, dict(options), str(root)], sort_keys=True, default=str)
        if key not in self.kept:
            self.kept[key] = load_dataset(name, options, root=root, cache=cache)
        self.kept.move_to_end(key)
        while len(self.kept) > 1 and sum(dataset.bytes for dataset in self.kept.values()) > self.most:
            self.kept.popitem(last=False)
        return self.kept[key]
