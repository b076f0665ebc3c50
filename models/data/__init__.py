"""Datasets, one file each; no torch here but in feed and augment.

A dataset's file offers `load(*, root, **options) -> Dataset`, and two functions of the same options that
load nothing: `files`, whose contents decide the data, and `inputs`, its modalities in order, or in place of that
`readers`, one for each, and `samples`, the rows that they read. One that derives something costly takes `cache`, a
folder for it; one that reads a published download says so in PUBLISHED.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.hashes import fingerprint_files
from sweeper.models.data.published import Published
from sweeper.models.errors import UserError, one_line
from sweeper.models.schema import entries as registry
from sweeper.models.values import InputSpec


def load_dataset(
    name: str, options: Mapping[str, Any], root: Path | None = None, cache: Path | None = None
) -> Dataset:
    """Return the dataset `name` with `options` from the folder `root`; derived files are kept in `cache`.

    Raises UserError for an unknown name or option, and for data that are missing or cannot be used.
    """
    entry = registry.entry("dataset", name)
    with _told(entry):
        load = entry.load()
        folders = {"root": root, "cache": cache}
        given = {key: folder for key, folder in folders.items() if key in inspect.signature(load).parameters}
        return load(**given, **entry.check(options))


def fingerprint(
    name: str, options: Mapping[str, Any], root: Path | None = None, cache: Path | None = None
) -> str:
    """Return a hash of name, options (defaults filled in, locations left out) and files' contents, loading nothing.

    With `cache`, hashes of contents are remembered there. Raises UserError as `load_dataset` does.
    """
    with _described(name, options) as (module, full):
        paths = module.files(root=root, **full)
    locations = registry.entry("dataset", name).locations
    told = {key: value for key, value in full.items() if key not in locations}
    text = json.dumps([name, told, fingerprint_files(paths, cache)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def inputs(name: str, options: Mapping[str, Any], root: Path | None = None) -> dict[str, InputSpec]:
    """Return the dataset's modalities in order, loading nothing; raises as `load_dataset`.

    Shapes and vocabularies may be those that reading the data would make larger.
    """
    with _described(name, options) as (module, full):
        if hasattr(module, "inputs"):
            return module.inputs(root=root, **full)
        return {m: reader.spec() for m, reader in module.readers(root=root, **full).items()}


def kept_bytes(name: str, options: Mapping[str, Any], root: Path | None = None) -> int:
    """Return how many bytes of disk the inputs take once they are read, 0 where no `readers` do that.

    Texts and sequences shorter than their reader's length may take less.
    """
    with _described(name, options) as (module, full):
        if not hasattr(module, "readers"):
            return 0
        rows = len(module.samples(root=root, **full).ids)
        return rows * sum(reader.sample_bytes for reader in module.readers(root=root, **full).values())


def task(name: str, options: Mapping[str, Any], root: Path | None = None) -> str:
    """Return the task the dataset poses, loading nothing: classification, unless its module says otherwise."""
    with _described(name, options) as (module, full):
        return module.task(root=root, **full) if hasattr(module, "task") else "classification"


def published(name: str) -> Published | None:
    """Return what is known of a dataset beside its rows, None for one that nobody published."""
    entry = registry.entry("dataset", name)
    return getattr(import_module(entry.source.module), "PUBLISHED", None)


@contextmanager
def _described(name: str, options: Mapping[str, Any]) -> Iterator[tuple[ModuleType, dict[str, Any]]]:
    """Yield the dataset's module and all its options, defaults filled in; what goes wrong within is told as `_told`."""
    entry = registry.entry("dataset", name)
    with _told(entry):
        yield import_module(entry.source.module), entry.defaults() | entry.check(options)


@contextmanager
def _told(entry: registry.Entry) -> Iterator[None]:
    """Turn whatever the code of another module's dataset raises into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of a plug-in, which may raise anything
        if entry.full == entry.name:
            raise
        said = f"{type(error).__name__}: {one_line(error)[:500]}"
        raise UserError(f"dataset {entry.full!r} cannot be read ({said})") from error
