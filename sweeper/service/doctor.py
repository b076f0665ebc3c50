"""Checks of what a sweep needs: versions, resources, writable storage, data, MLflow within reach."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlparse

from sweeper import ROOT
from sweeper.ledger.uris import open_storage
from sweeper.models.errors import UserError, masked
from sweeper.running.address import address

Check = tuple[bool, str]
CONSTRAINTS = ROOT / "constraints.txt"
OPTIONAL = {
    "boto3": "storage in a bucket",
    **dict.fromkeys(("hypothesis", "moto", "pytest", "ruff"), "the tests"),
}


def checks(storage: str, data_root: Path | None) -> Iterator[Check]:
    """Yield (whether all is well, a sentence) for every check."""
    yield sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed)"
    yield from _versions()
    yield from _resources()
    try:
        place = open_storage(storage)
        free = shutil.disk_usage(place.root).free / 2**30
        yield (
            free > 1,
            f"storage {place.address(place.root)} is writable, {free:.0f} GiB free (1 GiB is needed)",
        )
    except UserError as error:
        yield False, str(error)
    if data_root is None:
        yield True, "no data folder is named (--data-root or SWEEPER_DATA); the embedded datasets need none"
    else:
        yield (
            data_root.is_dir(),
            f"data folder {data_root} {'exists' if data_root.is_dir() else 'does not exist'}",
        )
    yield _mlflow(os.environ.get("MLFLOW_TRACKING_URI"))


def _versions() -> Iterator[Check]:
    if not CONSTRAINTS.exists():
        return
    differ = False
    for line in CONSTRAINTS.read_text().splitlines():
        name, equals, pinned = line.partition("==")
        if not equals:
            continue
        try:
            found = version(name)
        except PackageNotFoundError:
            use = OPTIONAL.get(name)
            differ |= use is None
            yield use is not None, f"{name} is not installed" + (f" (needed for {use} only)" if use else "")
            continue
        if found.split("+")[0] != pinned:
            differ = True
            yield False, f"{name} {found} is installed, {pinned} is pinned in constraints.txt"
    if not differ:
        yield True, "what is installed has the versions of constraints.txt"


def _resources() -> Iterator[Check]:
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield (
        memory > 2,
        f"{os.cpu_count()} CPU cores, {memory:.0f} GiB of memory, GPUs: {', '.join(gpus) or 'none'}",
    )
    yield True, f"Ray cluster: {address() or 'one is started on this machine when a study runs'}"


def _mlflow(uri: str | None) -> Check:
    if uri is None:
        return True, "MLflow: the embedded database in the storage (MLFLOW_TRACKING_URI is not set)"
    told = masked(uri)
    try:
        parts = urlparse(uri)
        if parts.scheme not in ("http", "https"):
            return True, f"MLflow: {told}"
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=3):
            return True, f"MLflow at {told} answers"
    except (OSError, ValueError) as error:  # ValueError: of a host or a port that is none
        return (
            False,
            f"MLflow at {told} does not answer ({error}); a study would run and be shown when it is back",
        )
