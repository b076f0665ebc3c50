"""Runs on several workers through Ray Train, and which cluster a study runs on."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import yaml

from sweeper import ROOT, bridge
from sweeper.models.errors import UserError
from sweeper.running import cluster
from sweeper.running.address import closed
from sweeper.running.orders import execute_here
from sweeper.study.runs import Run
from sweeper.study.schema import Resources, parse
from sweeper.study.unfold import unfold
from tests.sweeper.running.place import DIVERGING

WITNESS = '''
import os, signal
from pathlib import Path
from types import SimpleNamespace
from sweeper.models import parallel
from sweeper.models.method import Method

MARKS = Path(os.environ["MARKS"])


class Witness(Method):
    """Joint training that leaves word of its rank's environment, and at first kills the trial that waits for it."""

    def on_epoch_start(self, ctx):
        if parallel.rank() == 0 and not (MARKS / "killed").exists():
            for folder in Path("/proc").glob("[0-9]*"):
                if (folder / "cmdline").read_bytes().startswith((b"ray::_Worker", b"ray::ResourceTrainable")):
                    if str(MARKS).encode() in (folder / "environ").read_bytes():
                        (MARKS / "killed").write_text("a trial")
                        os.kill(int(folder.name), signal.SIGKILL)

    def on_phase_end(self, ctx):
        (MARKS / str(parallel.rank())).write_text(os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"])
'''
BROKEN = '''
from sweeper.models import parallel
from sweeper.models.method import Method


class Broken(Method):
    """A method that fails on the second rank alone, while the first waits for it."""

    def loss(self, output, batch, ctx):
        if parallel.rank() == 1:
            raise ValueError("rank 1 alone")
        return super().loss(output, batch, ctx)
'''
FIXED = {"train.optimizer": "sgd", "train.lr": 0.05, "train.weight_decay": 0.0, "train.batch_size": 32}
STUDY = {
    "study": "workers",
    "dataset": {
        "name": "synthetic",
        "train": 90,
        "validation": 49,
        "test": 51,
    },  # divided by two, a row is left
    "methods": [{"name": name, "space": FIXED} for name in ("witness", "broken", "diverging")],
    "plugins": ["witness", "broken", "diverging"],
    "final": {"seeds": [100]},
    "train": {"epochs": 3},
    # together all of the machine, so that a reservation that one run left behind would hold up the next for ever
    "resources": {"workers": 2, "cpus": (os.cpu_count() or 1) / 2},
}


@pytest.mark.slow
def test_a_study_on_two_workers(tmp_path, monkeypatch):
    for name, text in {"witness": WITNESS, "broken": BROKEN, "diverging": DIVERGING}.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "marks").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
        "MARKS": str(tmp_path / "marks"),
        "TMPDIR": str(tmp_path / "tmp"),
        "RAY_TMPDIR": "/tmp",  # the paths of Ray's sockets must be short
    }
    command = [sys.executable, "-m", "sweeper.cli", "run", "study.yaml", "--storage", "store"]
    told = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, timeout=400
    )
    assert told.returncode == 1, told.stderr
    noise = [line for line in told.stderr.splitlines() if not re.fullmatch(r"runs \d+/3( · .*)?", line)]
    assert noise == []
    assert told.stdout.startswith("| method")
    lines = (tmp_path / "store" / "ledger.jsonl").read_text().splitlines()
    records = {r["axes"]["method"]: r for r in map(json.loads, lines) if r["kind"] == "run"}
    assert records["broken"]["status"] == "failed"
    assert records["broken"]["error"] == {"class": "ValueError", "message": "rank 1 alone"}
    assert records["diverging"]["status"] == "diverged"
    assert "epoch 1" in records["diverging"]["error"]["message"]
    marks = {p.name: p.read_text() for p in (tmp_path / "marks").iterdir()}
    assert marks == {"0": "0.2", "1": "0.2", "killed": "a trial"}
    assert list((tmp_path / "tmp").glob("sweeper-*")) == []
    folder = tmp_path / "store" / "runs" / records["witness"]["key"]
    names = {p.name for p in folder.iterdir()}
    assert names == {"run.json", "result.json", "curve.json", "predictions.npz", "best.pt"}

    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    monkeypatch.syspath_prepend(tmp_path)
    order = json.loads((folder / "run.json").read_text())
    alone = execute_here({**order, "folder": str(tmp_path / "alone")})
    shared = records["witness"]["metrics"]
    assert shared.keys() == alone["metrics"].keys() == {"validation", "test/clean"}
    for split, scores in alone["metrics"].items():
        assert shared[split] == pytest.approx(scores, abs=1e-4)
    assert records["witness"]["curve"] == pytest.approx(alone["curve"], abs=1e-4)


def test_the_key_of_a_run_does_not_depend_on_resources():
    def keys(**changes: object) -> list[str]:
        study = {**STUDY, "methods": ["joint", "lfm"], "plugins": [], **changes}
        return [Run(arm, 0, arm.defaults(), "final", 100).key for arm in unfold(parse(study))]

    alone = keys(resources={})
    assert keys(resources={"workers": 2}) == alone
    assert keys(resources={"cpus": 4, "gpus": 0.5}) == alone
    assert keys(train={"epochs": 4}) != alone


def test_a_run_with_a_gpu_trains_on_it(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(bridge, "execute", lambda order, device, **_: seen.append(device) or {})
    order = {
        **dict.fromkeys(("data_root", "cache", "training", "payload", "limits", "checkpoints")),
        "folder": str(tmp_path),
        "plugins": [],
        "cpus": 1.0,
    }
    for gpus in (0.0, 0.25, 1.0):
        execute_here({**order, "gpus": gpus})
    assert seen == ["cpu", "cuda", "cuda"]


def test_how_a_net_is_computed_reaches_the_run_and_is_as_ever_where_an_order_is_old(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(bridge, "execute", lambda order, device, **_: seen.append(order) or {})
    order = dict.fromkeys(("data_root", "cache", "training", "payload", "limits", "checkpoints")) | {
        "folder": str(tmp_path),
        "plugins": [],
        "cpus": 1.0,
        "gpus": 1.0,
    }
    execute_here({**order, **Resources(channels_last=True, compile=True).model_dump()})
    execute_here(order)
    assert [(made.channels_last, made.compile) for made in seen] == [(True, True), (False, False)]


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which `ray start` leaves the address of its cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_a_cluster_that_listens_is_used_and_one_that_is_dead_is_not(marker, monkeypatch):
    assert cluster.address() is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        marker.write_text(address)
        assert cluster.address() == address
    assert cluster.address() is None  # it was killed and left its marker
    marker.write_text("not an address")
    assert cluster.address() is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.address() == "10.0.0.1:6379"


def test_a_ray_of_ones_own_is_closed_to_others(marker, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    own = closed()
    assert own["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert own["RAY_AUTH_MODE"] == "token"
    assert own["RAY_AUTH_TOKEN"] != closed()["RAY_AUTH_TOKEN"]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # as its user wishes; it stays on loopback
    assert closed() == {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # somebody else's
    assert closed() == {}


def test_a_cluster_is_joined_and_otherwise_one_started(marker, monkeypatch):
    calls, looked = [], []
    monkeypatch.setattr(ray, "init", lambda **given: calls.append(given))
    monkeypatch.setattr(cluster.watch, "begin", lambda _: None)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr(cluster.nodes, "check", looked.append)
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    cluster.start()
    assert calls[-1]["address"] == "local"
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/elsewhere"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        cluster.start(["a_plugin"])
        assert calls[-1]["address"] == os.environ["RAY_ADDRESS"]
    assert looked == [["a_plugin"]]
    with pytest.raises(UserError, match=r"no Ray cluster answers at 127\.0\.0\.1:\d+; start it, or unset"):
        cluster.start()  # it is gone
    assert len(calls) == 2
