"""A cluster that begins without a place for a run and grows: Ray's own autoscaler, whose nodes are processes here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from sweeper import ROOT

pytestmark = pytest.mark.slow

LAUNCH = (sys.executable, str(ROOT / "sweeper" / "launch.py"))
HEAD_ID = "f" * 51 + "00000"
STUDY = {
    "study": "growing",
    "dataset": {"name": "synthetic", "train": 64, "validation": 48, "test": 48},
    "methods": ["joint"],
    "search": {"configurations": 4, "seeds": [0, 1]},
    "final": {"seeds": [100, 101]},
    "train": {"epochs": 1500},
}


class Cluster:
    """A head without CPUs and an autoscaler that may start two nodes with one each, in an environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = Path(
            tempfile.mkdtemp(prefix="grow", dir="/tmp")
        )  # the paths of Ray's sockets must be short
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1] % 5000 + 5000  # below the ports of Ray's workers
        self.address = f"127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "MARK": str(folder),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.temporary),
        }
        self.environment.pop("PYTHONPATH", None)

    def start(self) -> None:
        """Start the head."""
        provider = {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
            "gcs_address": self.address,
        }
        types = {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        }
        lists = (
            "cluster_synced_files",
            "rsync_exclude",
            "rsync_filter",
            "initialization_commands",
            "setup_commands",
        )
        lists += (
            "head_setup_commands",
            "worker_setup_commands",
            "head_start_ray_commands",
            "worker_start_ray_commands",
        )
        config = {
            "cluster_name": "growing",
            "max_workers": 2,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 1,
            "provider": provider,
            "available_node_types": types,
            "head_node_type": "ray.head.default",
            "file_mounts_sync_continuously": False,
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in lists},
        }
        path = self.folder / "autoscaling.yaml"
        path.write_text(yaml.safe_dump(config))
        self.environment["SWEEPER_AUTOSCALING"] = str(path)
        fake = {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
        }
        ray = Path(sys.executable).parent / "ray"
        words = [ray, "start", "--head", f"--port={self.port}", "--node-ip-address=127.0.0.1", "--num-cpus=0"]
        words += [f"--autoscaling-config={path}", "--include-dashboard=false", f"--temp-dir={self.temporary}"]
        command = [*words, "--object-store-memory=100000000"]
        environment = self.environment | fake
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, study: dict, program: Sequence[str] = LAUNCH) -> subprocess.CompletedProcess[str]:
        """Run a study on the cluster."""
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump(study))
        words = [*program, str(path), "--storage", str(self.folder / "store")]
        environment = self.environment | {"RAY_ADDRESS": self.address}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=240
        )

    def end(self) -> None:
        """Kill all that was started here."""
        for _ in range(3):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if f"MARK={self.folder}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                        os.kill(int(folder.name), signal.SIGKILL)
                except OSError:
                    continue
            time.sleep(0.5)
        shutil.rmtree(self.temporary, ignore_errors=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.end()


def test_a_cluster_grows_to_what_a_study_needs(cluster):
    cluster.start()
    done = cluster.run(STUDY)
    assert done.returncode == 0, done.stderr
    lines = (cluster.folder / "store" / "ledger.jsonl").read_text().splitlines()
    runs = sorted((r["started"], r["seconds"]) for r in map(json.loads, lines) if r["kind"] == "run")
    assert len(runs) == 8
    assert any(start + seconds > later for (start, seconds), (later, _) in pairwise(runs))


def test_what_the_cluster_can_never_have_is_refused(cluster):
    cluster.start()
    done = cluster.run({**STUDY, "resources": {"cpus": 2}})
    assert done.returncode == 2
    assert "the cluster has 0 CPU and 0 GPU and cannot grow so far" in done.stderr
    assert not (cluster.folder / "store" / "ledger.jsonl").exists()


def test_nodes_that_have_another_version_are_refused(cluster):
    cluster.start()
    pretended = "import sweeper.ledger.provenance as p; p.package = lambda: '0.0.9 (beef)'\n"
    done = cluster.run(
        STUDY, [sys.executable, "-c", f"{pretended}from sweeper.cli import program; program()", "run"]
    )
    assert done.returncode == 2, done.stderr
    assert re.match(r"sweeper: node [\d.]+ has sweeper 0\.1\.0 \(", done.stderr)
    assert "this one has sweeper 0.0.9 (beef); install the same on every node" in done.stderr
    assert not (cluster.folder / "store" / "ledger.jsonl").exists()
