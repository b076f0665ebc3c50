"""The cluster files: what Ray admits, and the same commands on premise and on AWS."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import pytest
import yaml

from sweeper import ROOT

FILES = {name: ROOT / "cluster" / f"{name}.yaml" for name in ("local", "gpu")}
SHARED = (
    "file_mounts",
    "rsync_exclude",
    "setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_ray_admits_the_file(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own imports
        from ray.autoscaler._private.util import prepare_config, validate_config

        validate_config(prepare_config(read(FILES[name])))


def test_what_is_tested_on_premise_is_what_aws_runs():
    local, gpu = map(read, FILES.values())
    assert {name: local[name] for name in SHARED} == {name: gpu[name] for name in SHARED}


def test_the_head_of_aws_trains_nothing_and_workers_come_when_they_are_needed():
    gpu = read(FILES["gpu"])
    types = gpu["available_node_types"]
    assert types["head"]["resources"] == {"GPU": 0}
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]["node_config"]


def test_an_image_leaves_out_what_nodes_do_not_get_either():
    ignored = {line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    assert ignored == set(read(FILES["local"])["rsync_exclude"])


def instructions(kind: str) -> list[str]:
    """The arguments of the Dockerfile's instructions of a kind."""
    whole = (ROOT / "cluster" / "Dockerfile").read_text().replace("\\\n", " ")
    return [rest for line in whole.splitlines() for name, _, rest in [line.partition(" ")] if name == kind]


def test_an_image_is_set_up_as_a_node_is():
    """The step that is not of the system is the one that CI takes on a clean checkout."""
    system, own = instructions("RUN")
    assert system.startswith("apt-get update")
    assert own.split(" && ")[0] == "make .venv/ready"
    assert "make --silent .venv/ready" in (ROOT / "cluster" / "node.sh").read_text()
    assert instructions("COPY") == [". ."]


@pytest.mark.parametrize("script", ["node.sh", "environment.sh", "slurm.sh"])
def test_scripts_are_whole(script):
    subprocess.run(["bash", "-n", ROOT / "cluster" / script], check=True)


def test_a_word_that_is_no_command_of_a_node_is_told():
    told = subprocess.run(["bash", ROOT / "cluster" / "node.sh", "headd"], capture_output=True, text=True)
    assert told.returncode == 2
    assert "node.sh setup" in told.stderr
