"""The bridge to models/: the one module of the service that knows it. Nothing here imports torch but `execute`."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from models import settings
from models.data import fingerprint, load_dataset, modalities
from models.errors import Diverged, UserError, choose
from models.metrics import direction
from models.registry import KINDS, REQUIRED, Entry, Parameter, code_digest, describe, entries, entry

__all__ = [
    "KINDS",
    "REQUIRED",
    "Entry",
    "Parameter",
    "UserError",
    "arguments",
    "choose",
    "code_digest",
    "describe",
    "direction",
    "entries",
    "entry",
    "execute",
    "fingerprint",
    "load_dataset",
    "modalities",
    "settings",
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
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Carry out one run and return its result; whatever it raises becomes part of the result.

    `folder` gets result.json (last, atomically), curve.json, predictions.npz and, by the policy `checkpoints`
    (none | best | all), best.pt and checkpoint.pt; a checkpoint found there is resumed. With several ranks every
    rank calls this and rank 0 writes. `threads` is how many torch uses, since they can change a sum's last digit.
    """
    import torch

    from models import parallel

    import_module("models.trainer")  # before the clock starts: what a process imports once is no run's time
    if threads:
        torch.set_num_threads(threads)
    folder, started = Path(folder), time.time()
    result: dict[str, Any] = {"started": started, "host": os.uname().nodename}
    try:
        result |= _train(
            payload, folder, data_root, cache, limits or {}, plugins, checkpoints, device, on_epoch
        )
    except Diverged as error:
        result |= {"status": "diverged", "error": {"class": "diverged", "message": str(error)}}
    except Exception as error:  # the boundary: any failure of a run is a record, and the actor stays warm
        result |= {"status": "failed", "error": {"class": _error_class(error), "message": _one_line(error)}}
        result["trace"] = traceback.format_exc(limit=-12)
    if device != "cpu":
        torch.cuda.empty_cache()  # others may share the GPU while this process waits for its next run
    result["seconds"] = time.time() - started
    result["bytes"] = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    result["memory_mb"] = _peak_memory_mb()
    if parallel.rank() == 0:
        write_json(folder / "result.json", result)
    return result


def arguments(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an order of the service says to `execute`."""
    names = ("payload", "folder", "data_root", "cache", "limits", "plugins", "checkpoints")
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
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> dict[str, Any]:
    import numpy as np

    from models import checkpoint, parallel
    from models.build import build_method
    from models.data.feed import Feed
    from models.evaluation import all_scores, evaluate
    from models.trainer import splits_of, train

    dataset = _dataset(payload["dataset"], data_root, cache)
    seed = payload["seed"]
    method = build_method(
        dataset.spec, payload["encoders"], payload["fusion"], payload["method"], seed, plugins
    ).to(device)
    splits = splits_of(dataset, method, seed, device)
    resume = folder / "checkpoint.pt"
    outcome = train(
        method,
        splits,
        settings.Settings(**payload["train"]),
        seed,
        metric=payload["metric"],
        limits={int(epoch): value for epoch, value in limits.items()},
        resume=resume,
        save_every=SAVE_EVERY_SECONDS,
        on_epoch=on_epoch,
    )
    found = evaluate(method, splits.validation)
    scores = {"validation": all_scores(method.task, found)}
    if payload["stage"] == "final":
        test = Feed(dataset, dataset.rows["test"], device, next(method.parameters()).dtype)
        for condition in payload["conditions"]:
            found = evaluate(method, test)
            scores[f"test/{condition}"] = all_scores(method.task, found)
    if parallel.rank() == 0:
        write_json(folder / "curve.json", outcome.curve)
        np.savez_compressed(
            folder / "predictions.npz",
            predicted=found.predicted.astype(np.float32),
            target=found.target,
            index=found.index,
            **{f"unimodal_{m}": p.astype(np.float32) for m, p in found.unimodal.items()},
            **{name.replace("/", "_"): value.astype(np.float32) for name, value in found.extra.items()},
        )
        if checkpoints in ("best", "all"):
            checkpoint.save(folder / "best.pt", method.state_dict())
        if checkpoints != "all":
            resume.unlink(missing_ok=True)
    metric = payload["metric"]
    return {
        "status": "pruned" if outcome.stopped else "done",
        "metrics": scores,
        "curve": [epoch[f"validation/{metric}"] for epoch in outcome.curve],
        "epochs": len(outcome.curve),
        "best_epoch": outcome.best_epoch,
    }


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
