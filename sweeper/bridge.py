"""The bridge to models/: the one module of the service that knows it. torch is imported when a run is carried out."""

from __future__ import annotations

import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sweeper.models.data import fingerprint, load_dataset, modalities
from sweeper.models.data import task as task_of
from sweeper.models.data.noise.conditions import check as check_condition
from sweeper.models.data.noise.conditions import parse as parse_condition
from sweeper.models.errors import Diverged, UserError
from sweeper.models.maths.metrics import check_metric, direction, is_share
from sweeper.models.memory import uncollected
from sweeper.models.schema.entries import (
    KINDS,
    REQUIRED,
    Entry,
    Parameter,
    code_digest,
    describe,
    entries,
    entry,
)
from sweeper.models.training import settings
from sweeper.models.values import INPUT_KINDS, DataSpec

__all__ = [
    "INPUT_KINDS",
    "KINDS",
    "REQUIRED",
    "Entry",
    "Parameter",
    "arguments",
    "check_builds",
    "check_condition",
    "check_metric",
    "code_digest",
    "describe",
    "direction",
    "entries",
    "entry",
    "execute",
    "fingerprint",
    "is_share",
    "load_dataset",
    "modalities",
    "parse_condition",
    "settings",
    "task_of",
    "uncovered",
]

SAVE_EVERY_SECONDS = 30.0
_datasets: dict[str, Any] = {}


def execute(
    payload: Mapping[str, Any],
    folder: Path,
    *,
    data_root: Path | None = None,
    cache: Path | None = None,
    limits: Mapping[str, float] | None = None,
    plugins: tuple[str, ...] = (),
    checkpoints: str = "best",
    device: str = "cpu",
    threads: int | None = None,
    trunk: Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Carry out one run and return its result; whatever it raises becomes part of the result.

    `folder` gets result.json (last, atomically), curve.json, predictions.npz (one for each corruption too) and, by
    the policy `checkpoints` (none | best | all), best.pt and checkpoint.pt. A checkpoint found there is resumed, a
    finished run with its best.pt is only evaluated under the conditions it lacks. `trunk` is a checkpoint that
    outlives the run, for those that differ only in what is fitted after training. With several ranks every rank
    calls this and rank 0 writes. `threads` is how many torch uses, since they can change a sum's last digit.
    """
    warm()  # before the clock starts: what a process imports once is no run's time
    import torch

    from sweeper.models import parallel

    if threads:
        torch.set_num_threads(threads)
    folder, started = Path(folder), time.time()
    result: dict[str, Any] = {"started": started, "host": os.uname().nodename}
    try:
        result |= _train(
            payload, folder, data_root, cache, limits or {}, plugins, checkpoints, device, trunk, on_epoch
        )
    except Diverged as error:
        result |= {"status": "diverged", "error": {"class": "diverged", "message": str(error)}}
    except Exception as error:  # the boundary: any failure of a run is a record, and the actor stays warm
        result |= {"status": "failed", "error": {"class": _error_class(error), "message": _one_line(error)}}
        result["trace"] = traceback.format_exc(limit=-12)
    if device != "cpu":
        torch.cuda.empty_cache()  # others may share the GPU while this process waits for its next run
    result["seconds"] = result.get("seconds", 0.0) + time.time() - started
    result["bytes"] = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    result["memory_mb"] = _peak_memory_mb()
    if parallel.rank() == 0:
        write_json(folder / "result.json", result)
    return result


def check_builds(spec: DataSpec, payload: Mapping[str, Any], plugins: tuple[str, ...]) -> None:
    """Build a run's net and method once; raise UserError if its parts do not fit together or cannot be loaded."""
    from sweeper.models.training.build import build_method

    try:
        parts = (payload["encoders"], payload["fusion"], payload["method"])
        build_method(spec, *parts, payload["seed"], plugins)
    except UserError:
        raise
    except Exception as error:  # of a plugin, say
        name = payload["method"]["name"]
        raise UserError(
            f"method {name!r} cannot be built ({type(error).__name__}: {_one_line(error)})"
        ) from error


@cache
def warm() -> None:
    """Import what every run needs and leave it out of all later searches for garbage."""
    with uncollected():
        import_module("sweeper.models.training.trainer")
        gc.freeze()


def arguments(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an order of the service says to `execute`."""
    names = ("payload", "folder", "data_root", "cache", "limits", "plugins", "checkpoints", "trunk")
    return {name: order[name] for name in names} | {"threads": max(1, int(order["cpus"]))}


def write_json(path: Path, value: object) -> None:
    """Write JSON through a temporary file and a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, default=str))
    temporary.replace(path)


def _train(
    payload: Mapping[str, Any],
    folder: Path,
    data_root: Path | None,
    cache: Path | None,
    limits: Mapping[str, float],
    plugins: tuple[str, ...],
    checkpoints: str,
    device: str,
    trunk: Path | None,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> dict[str, Any]:
    import numpy as np

    from sweeper.models import parallel
    from sweeper.models.training import checkpoint
    from sweeper.models.training.build import build_method
    from sweeper.models.training.conditions import columns, under
    from sweeper.models.training.evaluation import all_scores, evaluate
    from sweeper.models.training.trainer import splits_of, train

    dataset = _dataset(payload["dataset"], data_root, cache)
    seed, metric = payload["seed"], payload["metric"]
    method = build_method(
        dataset.spec, payload["encoders"], payload["fusion"], payload["method"], seed, plugins
    ).to(device)
    predictions: dict[str, dict[str, np.ndarray]] = {}
    earlier = finished(folder)
    if earlier and (best := checkpoint.load(folder / "best.pt", device)):
        method.load_state_dict(best)
        result = earlier
    else:
        splits = splits_of(dataset, method, seed, device)
        resume = trunk or folder / "checkpoint.pt"
        outcome = train(
            method,
            splits,
            settings.Settings(**payload["train"]),
            seed,
            metric=metric,
            limits={int(epoch): value for epoch, value in limits.items()},
            resume=resume,
            save_every=SAVE_EVERY_SECONDS,
            on_epoch=on_epoch,
        )
        found = evaluate(method, splits.validation)
        predictions["predictions"] = columns(found)
        result = {
            "status": "pruned" if outcome.stopped else "done",
            # what other studies tested it under stays: the same run gives the same weights
            "metrics": {
                **(earlier["metrics"] if earlier else {}),
                "validation": all_scores(method.task, found),
            },
            "curve": [epoch[f"validation/{metric}"] for epoch in outcome.curve],
            "epochs": len(outcome.curve),
            "best_epoch": outcome.best_epoch,
        }
        if parallel.rank() == 0:
            write_json(folder / "curve.json", outcome.curve)
            if checkpoints in ("best", "all"):
                checkpoint.save(folder / "best.pt", method.state_dict())
            if checkpoints != "all" and not trunk:
                resume.unlink(missing_ok=True)
    for condition in uncovered(result, payload):
        name = "predictions" if condition == "clean" else f"predictions-{condition}"
        result["metrics"][f"test/{condition}"], predictions[name] = under(
            method, dataset, dataset.rows["test"], condition, device
        )
    if parallel.rank() == 0:
        for name, kept in predictions.items():
            np.savez_compressed(folder / f"{name}.npz", **kept)
    return result


def finished(folder: Path) -> dict[str, Any] | None:
    """Return what a finished run found, without when and where."""
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        return None
    if result["status"] != "done":
        return None
    return {k: result[k] for k in ("status", "metrics", "curve", "epochs", "best_epoch", "seconds")}


def uncovered(result: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    """Return the conditions that a run should be tested under and a finished result of it does not hold."""
    if result["status"] != "done":
        return []
    return [c for c in payload["conditions"] if f"test/{c}" not in result["metrics"]]


def _dataset(named: Mapping[str, Any], data_root: Path | None, cache: Path | None) -> Any:  # noqa: ANN401 - models' Dataset
    """Return the dataset, loaded once per process: warm actors share it between runs."""
    key = json.dumps([dict(named), str(data_root)], sort_keys=True)
    if key not in _datasets:
        options = {k: v for k, v in named.items() if k not in ("name", "fingerprint")}
        _datasets.clear()
        _datasets[key] = load_dataset(named["name"], options, root=data_root, cache=cache)
    return _datasets[key]


def _error_class(error: Exception) -> str:
    text = str(error).lower()
    short = "out of memory" in text or "can't allocate memory" in text
    return "OOM" if short or isinstance(error, MemoryError) else type(error).__name__


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _peak_memory_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
