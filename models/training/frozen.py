"""Encoders that never train run once: what they give is kept in a cache, and every run of a sweep trains on that."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from sweeper.models.data.dataset import Dataset, Encoding
from sweeper.models.data.feed import Feed
from sweeper.models.data.files import blocks, readable, used
from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.encoders.base import Encoder
from sweeper.models.schema.entries import entry
from sweeper.models.schema.fit import Named
from sweeper.models.values import InputSpec, Tokens

ROWS_AT_ONCE = 32  # always the same ones together: what stands beside a row moves its features by 1e-6
CODE = [Path(__file__).parents[1] / folder for folder in ("data", "encoders")]
LIBRARIES = ("torch", "transformers")
WAIT_SECONDS = 5.0


def once(
    dataset: Dataset,
    encoders: Mapping[str, Named],
    *,
    reads: str,
    every_time: Collection[str],
    fingerprint: str,
    cache: Path | None,
    device: str,
    pulse: Callable[[], object],
) -> tuple[Dataset, dict[str, Named]]:
    """Return the dataset with the features of modalities whose encoder never trains, and the encoders that are left.

    `reads` is how a fusion reads encoders. Those of `every_time` stay as they are, and so does all where there is no
    cache, or no fingerprint of the data or the weights to name its entries by.
    """
    encodings, left = {}, dict(encoders)
    read = "tokens" if reads == "tokens" else "pooled"
    for m, named in encoders.items():
        remaining = entry("encoder", named["name"]).load().remaining(named)
        if not (remaining and cache and fingerprint and named.get("fingerprint")) or m in every_time:
            continue
        words = [fingerprint, m, read, _told(named, remaining), *_tools()]
        frozen = Frozen(dataset, m, named, read, words, cache, device, pulse)
        train = dataset.rows["train"]
        values, _ = frozen(dataset, train, np.zeros(len(train), bool), "")
        kind = "sequence" if values.ndim == 3 else "vector"
        encodings[m], left[m] = Encoding(InputSpec(kind, values.shape[1:]), frozen), remaining
    return replace(dataset, encodings=encodings), left


def _told(named: Named, remaining: Named) -> dict[str, Any]:
    """Return what a study says of an encoder but where its weights lie and what is left to train."""
    chosen = entry("encoder", named["name"])
    told = {**chosen.defaults(), **named}
    return {k: v for k, v in told.items() if k not in chosen.locations and (k, v) not in remaining.items()}


def _tools() -> list[str]:
    """Return what decides features beside data and weights: libraries, and the code that makes inputs and features."""
    files = sorted({Path(__file__), *(path for folder in CODE for path in folder.rglob("*.py"))})
    return [*map(version, LIBRARIES), fingerprint_files(files)]


@dataclass(frozen=True)
class Frozen:
    """A modality's encoder, built when features are asked for that are not kept yet."""

    dataset: Dataset
    modality: str
    named: Named
    read: str
    words: list[Any]
    cache: Path
    device: str
    pulse: Callable[[], object]

    def __call__(
        self, dataset: Dataset, rows: np.ndarray, hit: np.ndarray, draw: str
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the features (n, …) of rows (n,), memory-mapped, and their steps, as `Encoding` says.

        Of several processes one computes them and the others wait.
        """
        contents = [*self.words, hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest(), draw]
        key = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:16]
        folder = self.cache / f"features-{key}"
        if not folder.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            with self._locked(folder.with_suffix(".lock")):
                if not folder.exists():
                    self._build(folder, dataset, rows, hit, draw)
        used(folder)
        with readable(f"features of {self.modality!r}", folder):
            steps = folder / "steps.npy"
            values = np.load(folder / "values.npy", mmap_mode="r")
            return values, np.load(steps) if steps.exists() else None

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold a lock; show that the process lives while it waits for it."""
        lock = FileLock(path)
        while True:
            try:
                lock.acquire(timeout=WAIT_SECONDS)
                break
            except Timeout:
                self.pulse()
        try:
            yield
        finally:
            lock.release()

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder as it is built for the modality; no random number is taken for it."""
        spec = self.dataset.spec.modalities[self.modality]
        with torch.random.fork_rng(devices=[]):
            return entry("encoder", self.named["name"]).build(self.named, spec).to(self.device).eval()

    def _build(self, folder: Path, dataset: Dataset, rows: np.ndarray, hit: np.ndarray, draw: str) -> None:
        """Write the features of rows, where something hit some of them beside the clean ones of the others."""
        m, part = self.modality, folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        present = dataset.present[m][rows] if m in dataset.present else np.ones(len(rows), bool)
        first = self._given(torch.zeros(1, *dataset.spec.modalities[m].shape, device=self.device))
        shape = first.values.shape[1:] if isinstance(first, Tokens) else first.shape[1:]
        values = np.lib.format.open_memmap(part / "values.npy", "w+", np.float32, (len(rows), *shape))
        steps = np.zeros(len(rows), np.int64)
        if draw:
            clean, kept = self(self.dataset, rows, np.zeros(len(rows), bool), "")
            steps = steps if kept is None else kept.copy()
            for places, block in blocks(clean, np.arange(len(rows))):
                values[places] = block
        wanted = np.flatnonzero(hit if draw else present)
        own = replace(dataset.spec, modalities={m: dataset.spec.modalities[m]})
        alone = replace(dataset, spec=own, inputs={m: dataset.inputs[m]}, present={}, encodings={})
        alone = replace(alone, lengths={k: n for k, n in dataset.lengths.items() if k == m})
        feed = Feed(alone, rows[wanted], self.device)
        parts = (wanted[i : i + ROWS_AT_ONCE] for i in range(0, len(wanted), ROWS_AT_ONCE))
        for places, batch in zip(parts, feed.batches(ROWS_AT_ONCE), strict=True):
            self.pulse()
            found = self._given(batch.inputs[m], batch.mask.get(m))
            if isinstance(found, Tokens):
                steps[places] = found.mask.sum(1).cpu()
                values[places] = 0
                values[places, : found.values.shape[1]] = found.values.cpu()
            else:
                values[places] = found.cpu()
        values.flush()
        if isinstance(first, Tokens):
            np.save(part / "steps.npy", steps)
        part.replace(folder)

    @torch.no_grad()
    def _given(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor | Tokens:
        tokens = self.dataset.spec.modalities[self.modality].kind == "tokens"
        return self.encoder.given(x.long() if tokens else x, mask, self.read)
