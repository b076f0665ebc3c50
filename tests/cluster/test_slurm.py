"""`cluster/slurm.sh` under a real Slurm whose two nodes are hosts in one machine, as docs/cluster.md says."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.hosts import Host, copied, installed, lacking, two_hosts
from tests.cluster.studies import RUNS, STUDY, runs, table

pytestmark = pytest.mark.slow
TOOLS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
CONF = """
ClusterName=lab
SlurmctldHost=head
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
KillWait=60
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=head,worker CPUs=2 RealMemory=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""


@dataclass
class Lab:
    """Slurm on two hosts, and the project's folder, which both see."""

    folder: Path
    head: Host

    def slurm(self, command: str) -> str:
        """Run one of Slurm's commands where a user would, in the project's folder."""
        there = f"cd {self.folder}/sweeper && SLURM_CONF={self.folder}/slurm.conf"
        done = self.head.run(f"{there} {command}", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, storage: Path, *options: str) -> str:
        """Submit the study and return the job's number."""
        self.head.run(f"echo export SWEEPER_STORAGE={storage} > ~/sweeper.env")
        study = " ".join(f"'{word}'" for word in STUDY)
        words = f"sbatch --parsable --nodes=2 --cpus-per-task=1 {' '.join(options)} cluster/slurm.sh {study}"
        return self.slurm(words).strip()

    def state(self, job: str) -> str:
        """Return what Slurm says of a job: PENDING, RUNNING, COMPLETED, FAILED, …"""
        return re.search(r"JobState=(\w+)", self.slurm(f"scontrol show job {job}"))[1]

    def output(self, job: str) -> str:
        """Return what a job has printed."""
        return (self.folder / "sweeper" / f"slurm-{job}.out").read_text()

    def wait(self, job: str) -> str:
        """Wait until a job has ended and return its state."""
        for _ in range(240):
            if (state := self.state(job)) not in ("PENDING", "RUNNING", "COMPLETING"):
                return state
            time.sleep(1)
        raise AssertionError(self.output(job))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if reason := lacking(TOOLS):
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="sweeper-slurm-", dir="/var/tmp"))
    try:
        with two_hosts(folder) as (head, worker):
            copied(folder / "sweeper")
            installed(folder / "sweeper")
            (folder / "slurm.conf").write_text(CONF.format(folder=folder))
            (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
            (folder / "state").mkdir()
            head.run(f"slurmctld -f {folder}/slurm.conf")
            for host in (head, worker):
                host.run(f"slurmd -f {folder}/slurm.conf")
            yield Lab(folder, head)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left(lab: Lab) -> str:
    """What of Ray and MLflow runs on the head."""
    return lab.head.run("pgrep -fl '[r]aylet|[g]cs_server|[m]lflow'", check=False).stdout


def test_a_job_at_its_time_limit_ends_in_order_and_the_same_line_goes_on_on_both_nodes(lab, undisturbed):
    """Slurm's warning, as --signal=B:TERM@120 asks for it, is sent by hand."""
    storage = lab.folder / "store"
    job = lab.submit(storage)
    for _ in range(1200):
        if len(runs(storage)) >= 3:
            break
        time.sleep(0.1)
    lab.slurm(f"scancel --batch --signal=TERM {job}")
    assert lab.wait(job) == "FAILED", lab.output(job)
    assert "ExitCode=130:0" in lab.slurm(f"scontrol show job {job}")
    assert not left(lab)
    before = {run["key"] for run in runs(storage)}
    assert 3 <= len(before) < RUNS
    job = lab.submit(storage)
    assert lab.wait(job) == "COMPLETED", lab.output(job)
    assert not left(lab)
    assert table(lab.output(job)) == undisturbed
    keys = Counter(run["key"] for run in runs(storage))
    assert len(keys) == RUNS
    assert all(keys[key] == 1 for key in before)
    hosts = Counter(run["host"] for run in runs(storage))
    assert min(hosts["head"], hosts["worker"]) > 0
