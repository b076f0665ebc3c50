"""A folder with plug-ins and studies, commands run in processes of their own, and what they left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sweeper import ROOT

PATIENCE = 180.0  # on a machine that others use too
PROGRESS = re.compile(r"runs \d+/\d+( · .*)?")
STOPPING = (
    "sweeper: stopping; runs under way save their state at the end of their epoch; Ctrl-C again ends at once"
)

SLOW = '''
import os, threading, time
from pathlib import Path
from sweeper.models.method import Method


class Slow(Method):
    """Joint training that takes its time and says which process and thread it is in."""

    def on_epoch_start(self, ctx):
        with (Path(os.environ["MARKS"]) / str(os.getpid())).open("a") as mark:
            mark.write(f"{threading.get_ident()} {threading.get_native_id()}\\n")
        time.sleep(0.2)
'''
BROKEN = '''
import os
from pathlib import Path
from sweeper.models.method import Method


class Broken(Method):
    """A method with a bug, until it is mended."""

    def loss(self, output, batch, ctx):
        if not (Path(os.environ["MARKS"]) / "mended").exists():
            raise ValueError("no such thing as 7")
        return super().loss(output, batch, ctx)
'''
DIVERGING = '''
from sweeper.models.method import Method


class Diverging(Method):
    """A loss that is never finite."""

    def loss(self, output, batch, ctx):
        return super().loss(output, batch, ctx) / 0
'''
HUNGRY = '''
import torch
from sweeper.models.method import Method


class Hungry(Method):
    """A method that wants more memory than there is."""

    def loss(self, output, batch, ctx):
        return torch.empty(10**15).sum()
'''

STUDY = {
    "study": "faults",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48, "signal": 3.0},
    "methods": ["joint", "slow"],
    "plugins": ["slow"],
    "search": {"configurations": 3, "seeds": [0, 1], "ahead": 2},
    "final": {"seeds": [100, 101]},
    "train": {"epochs": 4},
    "resources": {"cpus": (os.cpu_count() or 1) / 2},  # two runs at once, wherever this is
}


class Place:
    """A folder with plugins, studies and storages, and commands run in processes of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marks = root / "marks"
        self.marks.mkdir()
        for name, text in {"slow": SLOW, "broken": BROKEN, "diverging": DIVERGING, "hungry": HUNGRY}.items():
            (root / f"{name}.py").write_text(text)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(root)]),
            "MARKS": str(self.marks),
        }
        self.started: list[subprocess.Popen[str]] = []
        self.threads: dict[str, list[str]] = {}

    def study(self, **changes: Any) -> Path:
        path = self.root / "study.yaml"
        path.write_text(yaml.safe_dump({**STUDY, **changes}))
        return path

    def start(self, storage: Path, study: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sweeper.cli", "run", str(study), "--storage", str(storage)]
        driver = subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(driver)
        return driver

    def run(self, storage: Path, study: Path, patience: float = PATIENCE) -> tuple[int, str, str]:
        driver = self.start(storage, study)
        out, err = driver.communicate(timeout=patience)
        return driver.returncode, out, err

    def owns(self, pid: int) -> bool:
        """Say whether a process was started from here."""
        try:
            return f"MARKS={self.marks}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def processes(self) -> dict[int, str]:
        """Return {pid: command line} of what was started from here and lives, but for Ray's two agents."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue
            if (
                command
                and not re.search(r"DashboardAgent|RuntimeEnvAgent", command)
                and self.owns(int(folder.name))
            ):
                found[int(folder.name)] = command
        return found


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Let a new folder be a file system of its own, of so many bytes, until it is left."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:  # a process that was killed has its files open for a moment more
        unmount = ["umount", folder]
        wait(lambda: subprocess.run(unmount, check=False).returncode == 0, "the last who uses the disk", 60)


def wait(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return what `condition` gives once it is true; fail if it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


def records(storage: Path) -> list[dict[str, Any]]:
    """Return the ledger's records of runs; a line that is being written is left out."""
    path = storage / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return [record for record in whole if record["kind"] == "run"]


def keys(storage: Path) -> dict[str, str]:
    return {record["key"]: record["status"] for record in records(storage)}


def table(storage: Path) -> list[str]:
    """Return the table's rows; what stands below them tells of seconds, too."""
    lines = (storage / "studies" / "faults" / "table.md").read_text().splitlines()
    return [line for line in lines if line.startswith("|")]


def assert_quiet(err: str, hurried: bool = False) -> None:
    """Progress alone is said; a hurried end may add that MLflow was not given the time for all."""
    said = [line for line in err.splitlines() if not PROGRESS.fullmatch(line)]
    if hurried and said and "lacks a part" in said[-1]:
        said.pop()
    assert said == []
