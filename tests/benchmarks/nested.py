"""A run on workers of its own under Ray Train: what it costs from one run's start to the next, beside bare Ray's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from tests.benchmarks.orchestration import carry_out, study

WORKERS, CONFIGURATIONS, NAP = 2, 2, 0.5
BARE = f"""
import time
import ray
from ray import train, tune
from ray.train.torch import TorchConfig, TorchTrainer

def rank(config):
    import torch
    if train.get_context().get_world_rank() == 0:
        with open(config["starts"], "a") as starts:
            starts.write(f"{{time.time()}} ")
    time.sleep({NAP})

def trial(config):
    scaling = train.ScalingConfig(num_workers={WORKERS}, resources_per_worker={{"CPU": config["cpus"]}})
    TorchTrainer(rank, train_loop_config=config, torch_config=TorchConfig("gloo"), scaling_config=scaling,
                 run_config=train.RunConfig(storage_path=config["folder"])).fit()

def main():
    import os, sys, tempfile
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        config = {{"starts": folder + "/starts", "folder": folder, "cpus": (os.cpu_count() or 1) / {WORKERS}}}
        free = tune.with_resources(trial, tune.PlacementGroupFactory([{{"memory": 1}}]))
        settings = tune.TuneConfig(num_samples={CONFIGURATIONS + 2}, max_concurrent_trials=1)
        tune.Tuner(free, param_space=config, tune_config=settings,
                   run_config=tune.RunConfig(storage_path=folder, verbose=0)).fit()
        print("starts", open(folder + "/starts").read())

main()
"""


def pace(starts: Sequence[float]) -> float:
    """Return the median seconds from one start to the next."""
    ordered = sorted(starts)
    return median(after - before for before, after in pairwise(ordered))


def ours(workers: int) -> float:
    """Return the pace of a study that does one run at a time."""
    raw = study("nested", NAP, CONFIGURATIONS)
    raw["resources"] = {"workers": workers, "cpus": (os.cpu_count() or 1) / workers}
    return pace([run["started"] for run in carry_out(raw)[0]])


def bare() -> float:
    """Return the pace of Ray Train inside Ray Tune by themselves."""
    from sweeper.running.address import DEFAULTS

    told = subprocess.run(
        [sys.executable, "-c", BARE],
        check=True,
        capture_output=True,
        text=True,
        env={**DEFAULTS, **os.environ},
    )
    return pace([float(start) for start in re.search(r"starts (.*)", told.stdout)[1].split()])


def main() -> None:
    """Print the paces and ours over bare Ray's."""
    one, nested, plain = ours(1), ours(WORKERS), bare()
    print(f"runs that sleep {NAP} s, one at a time, from start to start: {one:.2f} s on one worker, ", end="")
    print(
        f"{nested:.1f} s on {WORKERS} under Ray Train, {nested / plain:.2f} × Ray Tune and Train by themselves"
    )
