"""A study disturbed at a random moment and started again as a user would, against the same study undisturbed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.running.address import listens
from sweeper.running.processes import processes
from tests.sweeper.running.place import Place, small_disk, wait

NOTED = '''
import os, time
from pathlib import Path
from sweeper.models.method import Method


class Noted(Method):
    """Joint training that notes every time it begins."""

    def on_epoch_start(self, ctx):
        if ctx.epoch == 0:
            with (Path(os.environ["MARKS"]) / "begun").open("a") as mark:
                mark.write("1\\n")
        time.sleep(0.02)
'''
STUDY = {
    "study": "chaos",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48, "signal": 3.0},
    "methods": ["noted"],
    "plugins": ["noted"],
    "fusion": ["concat", "sum", "mean"],
    "search": {"configurations": 10, "seeds": [0, 1, 2], "ahead": 2},
    "final": {"seeds": [100, 101, 102]},
    "train": {"epochs": 4},
    "resources": {"cpus": (os.cpu_count() or 1) / 2},  # two runs at once, wherever this is
}
STARTS = 6  # of a round's command, at most
ADDS = "the next start of the study adds it"  # what MLflow lacks
PATIENCE = 150.0
FILL_FREE = 64 * 2**10
FORGETFUL = (
    "import sweeper.service.session as s; s.left_behind = lambda *_: None\n"
    "from sweeper.cli import program; program()"
)


@dataclass(frozen=True)
class Found:
    """What a storage holds when all is over."""

    table: list[str]
    from_mlflow: list[str]
    runs: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a round came to."""

    fault: str
    moment: float
    starts: int
    lost: int
    twice: int
    repeated: int
    same: bool
    seconds: float
    said: str

    @property
    def passed(self) -> bool:
        """Whether nothing is lost, nothing is done twice, and the tables are the undisturbed study's."""
        return self.same and not self.lost and not self.twice


class Chaos(Place):
    """A folder of its own for a round; `forgetful` drivers do not look for the results that workers left."""

    def __init__(self, root: Path, *, forgetful: bool = False) -> None:
        root.mkdir(parents=True)
        super().__init__(root)
        (root / "noted.py").write_text(NOTED)
        self.file, self.forgetful = self.study(), forgetful
        self.storage, self.disk = root / "store", ExitStack()
        self.server: subprocess.Popen[bytes] | None = None
        self.output: list[str] = []

    def study(self, **_: Any) -> Path:
        """Write the study."""
        path = self.root / "study.yaml"
        path.write_text(json.dumps(STUDY))
        return path

    def begin(self) -> subprocess.Popen[str]:
        """Start the study, or what is left of it."""
        if not self.forgetful:
            return self.start(self.storage, self.file)
        words = [sys.executable, "-c", FORGETFUL, "run", str(self.file), "--storage", str(self.storage)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        driver = subprocess.Popen(
            words, cwd=self.root, env=self.environment, text=True, start_new_session=True, **pipes
        )
        self.started.append(driver)
        return driver

    def end(self, driver: subprocess.Popen[str]) -> int:
        """Wait until a command is over; return its exit code."""
        try:
            _, err = driver.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            driver.kill()
            _, err = driver.communicate()
            err += f"\nnot over after {PATIENCE:.0f} s"
        self.output.append(err)
        return driver.returncode

    def done(self) -> dict[str, float]:
        """Return {run: when it began} of the runs whose results are whole."""
        found = {}
        for path in self.storage.glob("runs/*/result.json"):
            try:
                result = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            if result["status"] == "done":
                found[path.parent.name] = result["started"]
        return found

    def found(self, seconds: float) -> Found:
        """Return what the storage holds now."""
        uri = self.environment.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.storage}/mlflow.db"
        words = [sys.executable, "-m", "sweeper.cli", "report", "chaos", "--from-mlflow", uri]
        told = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        table = (self.storage / "studies" / "chaos" / "table.md").read_text()
        runs = {r["key"]: r["status"] for r in records(self.storage)}
        return Found(_rows(table), _rows(told.stdout), runs, seconds)

    def pick(self, pattern: str, chance: random.Random) -> int | None:
        """Return one of the processes started here whose name is like the pattern."""
        alive = processes()
        mine = sorted(pid for pid in self.processes() if pid in alive and re.match(pattern, alive[pid].name))
        return chance.choice(mine) if mine else None

    def leave(self) -> None:
        """End all that is left, and forget the folder."""
        for pid in self.processes():
            _kill(pid)
        self.disk.close()
        shutil.rmtree(self.root, ignore_errors=True)


def records(storage: Path) -> list[dict[str, Any]]:
    """Return the ledger's records of runs; a line that was torn, or is being written, is none."""
    path, found = storage / "ledger.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return [record for record in found if record["kind"] == "run"]


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def _kill(pid: int | None) -> None:
    try:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


Undo = Callable[[], None]
Fault = Callable[
    [Chaos, subprocess.Popen[str], random.Random], Undo
]  # inflict it; what mends it before the next start


def process(pattern: str) -> Fault:
    """Kill a process by its name."""

    def inflict(chaos: Chaos, driver: subprocess.Popen[str], chance: random.Random) -> Undo:
        end = time.monotonic() + 10
        while (pid := chaos.pick(pattern, chance)) is None and time.monotonic() < end:
            time.sleep(0.05)
        _kill(pid)
        return lambda: None

    return inflict


def driver(_: Chaos, driver: subprocess.Popen[str], chance: random.Random) -> Undo:
    """Kill the driver."""
    driver.kill()
    return lambda: None


def torn_line(chaos: Chaos, driver: subprocess.Popen[str], chance: random.Random) -> Undo:
    """Kill the driver, and leave a part of the ledger's last line."""
    driver.kill()
    driver.wait()
    ledger = chaos.storage / "ledger.jsonl"
    if ledger.exists() and (lines := ledger.read_bytes().splitlines(keepends=True)):
        cut = chance.randrange(1, len(lines[-1]))
        ledger.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
    return lambda: None


def no_database(chaos: Chaos, driver: subprocess.Popen[str], chance: random.Random) -> Undo:
    """Kill the driver, and delete MLflow's database."""
    driver.kill()
    driver.wait()
    for path in chaos.storage.glob("mlflow.db*"):
        path.unlink()
    return lambda: None


def full_disk(chaos: Chaos, driver: subprocess.Popen[str], chance: random.Random) -> Undo:
    """Fill the disk."""
    filler = chaos.storage / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"0" * FILL_FREE)
                file.flush()
        except OSError:
            pass
    return lambda: filler.unlink(missing_ok=True)


def no_server(chaos: Chaos, driver: subprocess.Popen[str], chance: random.Random) -> Undo:
    """Stop MLflow's server."""
    stop_server(chaos)
    return lambda: start_server(chaos)


FAULTS: dict[str, Fault] = {
    "worker": process(r"ray::(Resource|_Work)"),
    "driver": driver,
    "raylet": process("raylet"),
    "gcs": process("gcs_server"),
    "torn line": torn_line,
    "mlflow database": no_database,
    "mlflow server": no_server,
    "full disk": full_disk,
}
if os.geteuid():
    del FAULTS["full disk"]  # a small file system needs root


def start_server(chaos: Chaos) -> None:
    """Start an MLflow server for this round, where it was before."""
    uri = chaos.environment.get("MLFLOW_TRACKING_URI")
    if uri is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            uri = chaos.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        uri.rpartition(":")[2],
    ]
    words += ["--workers", "1", "--backend-store-uri", f"sqlite:///{chaos.root}/server.db"]
    words += ["--artifacts-destination", str(chaos.root / "artifacts")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    chaos.server = subprocess.Popen(words, env=chaos.environment, start_new_session=True, **quiet)
    wait(lambda: listens(uri.partition("//")[2]), "MLflow's server", PATIENCE)


def stop_server(chaos: Chaos) -> None:
    """Kill the server."""
    os.killpg(chaos.server.pid, signal.SIGKILL)
    chaos.server.wait()


def undisturbed(root: Path) -> Found:
    """Carry the study out; nothing happens to it."""
    chaos = Chaos(root)
    try:
        began = time.monotonic()
        code = chaos.end(chaos.begin())
        assert code == 0, chaos.output
        return chaos.found(time.monotonic() - began)
    finally:
        chaos.leave()


def disturbed(root: Path, fault: str, seed: int, expected: Found, *, forgetful: bool = False) -> Outcome:
    """Carry the study out with a fault at a random moment of it, starting it again until it says it is done."""
    chance = random.Random(f"{seed} {fault}")
    chaos = Chaos(root, forgetful=forgetful)
    try:
        if fault == "mlflow server":
            start_server(chaos)
        if fault == "full disk":
            chaos.disk.enter_context(small_disk(chaos.storage, "200m"))
        began, moment = time.monotonic(), chance.uniform(0.1, 0.95)
        running = chaos.begin()
        after = int(moment * len(expected.runs))
        wait(
            lambda: len(records(chaos.storage)) >= after or running.poll() is not None,
            f"{after} runs",
            PATIENCE,
        )
        mend = FAULTS[fault](chaos, running, chance)
        code, starts, before = chaos.end(running), 1, chaos.done()
        mend()
        # once more in any case, as the next morning, and where it is said that a start would add something
        while (code != 0 or starts == 1 or ADDS in chaos.output[-1]) and starts < STARTS:
            code, starts = chaos.end(chaos.begin()), starts + 1
        now = chaos.found(time.monotonic() - began)
        whole = Counter(r["key"] for r in records(chaos.storage) if r["status"] == "done")
        again = {key for key, started in chaos.done().items() if before.get(key, started) != started}
        begun = len((chaos.marks / "begun").read_text().split())
        same = (code, now.table, now.from_mlflow) == (0, expected.table, expected.from_mlflow)
        return Outcome(
            fault=fault,
            moment=moment,
            starts=starts,
            lost=len(expected.runs.keys() - now.runs.keys()),
            twice=len(again | {key for key, n in whole.items() if n > 1}),
            repeated=begun - len(expected.runs),
            same=same and now.runs == expected.runs,
            seconds=now.seconds - expected.seconds,
            said=" | ".join(err.strip().splitlines()[-1] for err in chaos.output if err.strip()),
        )
    finally:
        chaos.leave()
