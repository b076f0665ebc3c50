"""A run on several workers: a Ray Train `TorchTrainer` inside the run's Tune trial. The one user of ray.train."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import train
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from sweeper import bridge


class RankFailed(Exception):
    """A rank's run failed; the message is its result. Raised, it ends the ranks that wait for this one."""


def execute_on_workers(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a run on `workers` ranks (gloo on CPU, NCCL on GPU) and return its result.

    Rank 0's result is read from the run's folder. Where a rank fails, its failure is the result; where one dies,
    Ray Train's error is raised.
    """
    gpu = order["gpus"] > 0
    per_worker = {"CPU": order["cpus"]} | ({"GPU": order["gpus"]} if gpu else {})
    result = Path(order["folder"]) / "result.json"
    with tempfile.TemporaryDirectory(prefix="sweeper-train-") as folder:
        trainer = TorchTrainer(
            _rank,
            train_loop_config=dict(order),
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=order["workers"], use_gpu=gpu, resources_per_worker=per_worker
            ),
            run_config=train.RunConfig(name="run", storage_path=folder),
        )
        try:
            trainer.fit()
        except train.WorkerGroupError as error:
            failures = list(error.worker_failures.values())
            if not all(isinstance(failure, RankFailed) for failure in failures):
                raise
            bridge.write_json(result, json.loads(str(failures[0])))
    return json.loads(result.read_text())


def _rank(order: dict[str, Any]) -> None:
    result = bridge.execute(**bridge.arguments(order), device=str(get_device()))
    if result["status"] == "failed":
        raise RankFailed(json.dumps(result))
