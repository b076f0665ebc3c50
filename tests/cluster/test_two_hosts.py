"""`cluster/local.yaml`, filled in, on two hosts by its own set-up, as docs/cluster.md says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper import ROOT
from tests.cluster.hosts import BIN, NETWORK, Host, copied, installed, lacking, two_hosts
from tests.cluster.studies import RUNS, STUDY, runs, table

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """A head and a worker, and how the calling machine reaches them."""

    folder: Path
    head: Host
    worker: Host

    @property
    def project(self) -> Path:
        """The project's folder on the calling machine, which `ray up` copies."""
        return self.folder / "project"

    @property
    def file(self) -> Path:
        """The cluster's file: the project's own, filled in."""
        return self.project / "cluster" / "local.yaml"

    def command(self, *words: str) -> tuple[list[str], dict]:
        env = {
            **os.environ,
            "HOME": str(self.folder / "caller"),
            "PATH": f"{BIN}:/usr/sbin:/sbin:{os.environ['PATH']}",
            "RAY_UP_enable_autoscaler_v2": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        return [str(BIN / "ray"), *words], {"cwd": self.project, "env": env, "text": True}

    def ray(self, *words: str) -> str:
        """Run `ray …` on the calling machine and return what it prints."""
        command, options = self.command(*words)
        done = subprocess.run(command, capture_output=True, timeout=400, **options)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def submit(self, storage: Path) -> str:
        """Submit the study as the documentation says."""
        return self.ray("submit", str(self.file), "sweeper/launch.py", *self.study(storage))

    def study(self, storage: Path, name: str = STUDY[0]) -> tuple[str, ...]:
        """The arguments of launch.py."""
        return ("--", name, *STUDY[1:], "--storage", str(storage))

    def wait_for(self, nodes: int) -> None:
        """Wait until as many nodes are in the cluster."""
        for _ in range(120):
            told = self.head.run(". ~/sweeper/cluster/environment.sh; ray status", check=False).stdout
            if f" {nodes} local.cluster.node" in told:
                return
            time.sleep(1)
        raise AssertionError(told)


def prepare(host: Host, storage: Path) -> None:
    """Do what a network would: pip finds all that is pinned, as it is installed on this machine."""
    installed(host.home / "sweeper")
    python = os.path.realpath(sys.executable)
    (host.home / ".bashrc").write_text(f"export PIP_NO_INDEX=1 PIP_NO_BUILD_ISOLATION=0 PYTHON={python}\n")
    options = '"--num-cpus=1 --object-store-memory=300000000"'
    (host.home / "sweeper.env").write_text(f"export SWEEPER_STORAGE={storage} RAY_START_OPTIONS={options}\n")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if reason := lacking():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="sweeper-hosts-", dir="/var/tmp"))
    try:
        with two_hosts(folder) as (head, worker):
            own = Cluster(folder, head, worker)
            for host in (head, worker):
                prepare(host, folder / "first")
            (folder / "caller").mkdir()
            copied(own.project)
            study = (ROOT / "search_spaces" / "studies" / "quickstart.yaml").read_text()
            (own.project / "my.yaml").write_text(study.replace("study: quickstart", "study: mine"))
            own.ray("get-auth-token", "--generate")
            text = own.file.read_text()
            for name, value in {
                "head_ip": f"{NETWORK}.1",
                "worker_ips": f"[{NETWORK}.2]",
                "ssh_user": "root",
                "ssh_private_key": str(folder / "key"),
            }.items():
                text, count = re.subn(rf"(?m)^(  {name}: ).*$", rf"\g<1>{value}", text)
                assert count == 1
            own.file.write_text(text)
            own.ray("up", "--yes", str(own.file))
            own.wait_for(2)
            yield own
            own.ray("down", "--yes", str(own.file))
            assert not head.run("pgrep -x raylet", check=False).stdout
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def started(cluster: Cluster, storage: Path, least: int) -> subprocess.Popen:
    """Submit the study and return when it has done some runs."""
    command, options = cluster.command(
        "submit", str(cluster.file), "sweeper/launch.py", *cluster.study(storage)
    )
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )
    for _ in range(3000):
        if len(runs(storage)) >= least:
            return process
        time.sleep(0.1)
    raise AssertionError(process.communicate()[0])


def test_a_submitted_study_runs_on_both_hosts_and_gives_the_table_of_one_machine(cluster, undisturbed):
    storage = cluster.folder / "first"
    assert table(cluster.submit(storage)) == undisturbed
    hosts = Counter(run["host"] for run in runs(storage))
    assert sum(hosts.values()) == RUNS
    assert min(hosts["head"], hosts["worker"]) > 0
    asked = "sweeper report quickstart --from-mlflow http://127.0.0.1:5000"
    told = cluster.ray("exec", str(cluster.file), f". ~/sweeper/cluster/environment.sh; {asked}")
    assert table(told) == undisturbed


def test_a_study_of_the_copied_folder_goes_on_without_its_caller(cluster, undisturbed):
    storage = cluster.folder / "own"
    study = cluster.study(storage, "sweeper/my.yaml")
    cluster.ray("submit", "--tmux", str(cluster.file), "sweeper/launch.py", *study)
    written = storage / "studies" / "mine" / "table.md"
    assert not written.exists()
    for _ in range(3000):
        if written.exists():
            break
        time.sleep(0.1)
    assert table(written.read_text()) == undisturbed


def test_the_caller_opens_the_pages_of_mlflow_through_ssh(cluster):
    command, options = cluster.command("attach", str(cluster.file), "--port-forward", "5000")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, **options
    ) as session:
        try:
            assert b"<title>MLflow</title>" in page("http://localhost:5000")
        finally:
            os.killpg(session.pid, signal.SIGKILL)


def page(address: str) -> bytes:
    """What a browser gets, once somebody listens there."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(address, timeout=5) as told:
                return told.read()
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nobody answers at {address}")


def test_nothing_listens_beyond_the_cluster_without_the_token(cluster):
    """MLflow and the dashboard are on loopback; what else listens is ssh and Ray, which asks for the token."""
    for host in (cluster.head, cluster.worker):
        lines = host.run("ss -Hltnp").stdout.splitlines()
        outside = [line for line in lines if not line.split()[3].startswith("127.0.0.1:")]
        names = {re.search(r'users:\(\("([^"]+)"', line)[1] for line in outside}
        assert {name for name in names if not name.startswith("ray::")} <= {"sshd", "gcs_server", "raylet"}
    told = cluster.head.run(
        ". ~/sweeper/cluster/environment.sh; unset RAY_AUTH_MODE; HOME=/nonexistent ray status", check=False
    )
    assert told.returncode != 0


def test_a_study_whose_session_is_dropped_goes_on_when_the_same_line_is_given_again(cluster, undisturbed):
    storage = cluster.folder / "dropped"
    process = started(cluster, storage, 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(100):  # until the driver has noticed
        if not cluster.head.run("pgrep -f [l]aunch.py", check=False).stdout:
            break
        time.sleep(0.2)
    before = {run["key"] for run in runs(storage)}
    assert len(before) < RUNS
    assert table(cluster.submit(storage)) == undisturbed
    keys = Counter(run["key"] for run in runs(storage))
    assert len(keys) == RUNS
    assert all(keys[key] == 1 for key in before)


def test_a_study_survives_the_loss_of_a_host(cluster, undisturbed):
    storage = cluster.folder / "lost"
    process = started(cluster, storage, 3)
    cluster.worker.off()
    told, _ = process.communicate(timeout=400)
    assert process.returncode == 0, told
    assert table(told) == undisturbed
    assert len({run["key"] for run in runs(storage)}) == RUNS
