"""A run on several workers: a Ray Train `TorchTrainer` inside the run's Tune trial. The one user of ray.train."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from typing import Any

from ray import train
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from sweeper import bridge


def execute_on_workers(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a run on `workers` ranks (gloo on CPU, NCCL on GPU) and return rank 0's result."""
    gpu = order["gpus"] > 0
    per_worker = {"CPU": order["cpus"]} | ({"GPU": order["gpus"]} if gpu else {})
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
        return json.loads(trainer.fit().metrics["result"])


def _rank(order: dict[str, Any]) -> None:
    from sweeper.executor import arguments

    result = bridge.execute(**arguments(order), device=str(get_device()))
    train.report({"result": json.dumps(result)})
