"""A run on several workers: a Ray Train `TorchTrainer` inside the run's Tune trial. The one user of ray.train."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ray
from ray import train
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.placement_group import PlacementGroup, get_current_placement_group, remove_placement_group

from sweeper.ledger.storage import Storage
from sweeper.ledger.uris import locate
from sweeper.models.errors import Left
from sweeper.running import leaving
from sweeper.running.orders import execute_here

SCRATCH = "train"  # in the run's folder while Ray Train is at work
RESERVED = f"{SCRATCH}/placement_group.json"


class RankFailed(Exception):
    """A rank's run failed; the message is its result. Raised, it ends the ranks that wait for this one."""


def execute_on_workers(order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a run on `workers` ranks (gloo on CPU, NCCL on GPU) and return its result.

    Rank 0's result is read from where the run lies. Where a rank fails, its failure is the result; where one dies,
    Ray Train's error is raised.
    """
    gpu = order["gpus"] > 0
    per_worker = {"CPU": order["cpus"]} | ({"GPU": order["gpus"]} if gpu else {})
    place = locate(order["folder"])
    result = place.root / "result.json"
    _clear(place)  # what a killed driver left
    trainer = TorchTrainer(
        _rank,
        train_loop_config=dict(order),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=order["workers"], use_gpu=gpu, resources_per_worker=per_worker
        ),
        run_config=train.RunConfig(name=SCRATCH, storage_path=str(place.root)),
    )
    try:
        trainer.fit()
    except train.WorkerGroupError as error:
        failures = list(error.worker_failures.values())
        if left := next((failure for failure in failures if isinstance(failure, Left)), None):
            raise left from None
        if not all(isinstance(failure, RankFailed) for failure in failures):
            raise
        place.write(result, json.loads(str(failures[0])))
    finally:
        _clear(place)
    return place.read(result)


def release(order: Mapping[str, Any]) -> None:
    """Free what the ranks of a run had reserved whose trial was killed; Ray Train does so only with a dashboard."""
    place = locate(order["folder"])
    if reserved := place.read(place.root / RESERVED):
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(reserved))))
    _clear(place)


def _clear(place: Storage) -> None:
    """Remove what Ray Train wrote; of ranks that are just dying, some may write yet."""
    with suppress(OSError):
        place.remove(place.root / SCRATCH)


def _rank(order: dict[str, Any]) -> None:
    if train.get_context().get_world_rank() == 0:
        place = locate(order["folder"])
        place.write(place.root / RESERVED, get_current_placement_group().id.hex())
    with leaving.Pulse(order) as pulse:
        result = execute_here(order, str(get_device()), pulse)
    if result["status"] == "failed":
        raise RankFailed(json.dumps(result))
