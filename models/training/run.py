"""One run: from its value, the payload, to its result and files; whatever goes wrong is part of the result."""

from __future__ import annotations

import gc
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.models import memory
from sweeper.models.atomic import raise_if_full, written
from sweeper.models.data.cache import Datasets
from sweeper.models.errors import Diverged, Left, UserError, masked, one_line
from sweeper.models.schema.entries import entry

if TYPE_CHECKING:
    import numpy as np

    from sweeper.models.data.dataset import Dataset
    from sweeper.models.method import Method
    from sweeper.models.schema.fit import Named
    from sweeper.models.values import DataSpec

SAVE_EVERY_SECONDS = 30.0
OF_DATA = ("name", "fingerprint", "label")  # what a payload says of its dataset beside the options
_datasets = Datasets()


@dataclass(frozen=True)
class Order:
    """A run to carry out: its payload, and where and how.

    `folder` gets result.json (last, atomically), curve.json, predictions.npz (one for each corruption too) and, by
    the policy `checkpoints` (none | best | all), best.pt and checkpoint.pt. `training` is a checkpoint that outlives
    the run, for those that differ only in what is fitted after training. `limits` {epoch: worst admissible value}
    may end the run early. `threads` is how many torch uses, since they can change a sum's last digit.
    `channels_last` and `compile` say how a net is computed on a GPU.
    """

    payload: Mapping[str, Any]
    folder: Path
    data_root: Path | None = None
    cache: Path | None = None
    limits: Mapping[str, float] | None = None
    checkpoints: str = "best"
    training: Path | None = None
    threads: int | None = None
    channels_last: bool = False
    compile: bool = False


def execute(
    order: Order,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    pulse: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Carry out one run and return its result; whatever it raises becomes part of the result, but Left is raised.

    `pulse` is called at every step; where it says so at the end of an epoch, the run saves its state and leaves.
    A checkpoint found in its folder is resumed, a finished run with its best.pt is only evaluated under the conditions
    it lacks. With several ranks every rank calls this and rank 0 writes.
    """
    warm()  # before the clock starts: what a process imports once is no run's time
    import torch

    from sweeper.models import parallel
    from sweeper.models.training.hardware import hardware

    if order.threads:
        torch.set_num_threads(order.threads)
    started = time.time()
    where = {"host": os.uname().nodename, "hardware": hardware(device)}
    result: dict[str, Any] = {"started": started, **where}
    try:
        result |= _carried_out(order, device, on_epoch, pulse)
    except Left:
        raise
    except Diverged as error:
        result |= {"status": "diverged", "error": {"class": "diverged", "message": str(error)}}
    except Exception as error:  # the boundary: any failure of a run is a record, and the worker stays warm
        raise_if_full(order.folder, error)  # no failure of the run, and no place for its record
        result |= {
            "status": "failed",
            "error": {"class": _error_class(error), "message": one_line(error)[:500]},
        }
        result["trace"] = masked(traceback.format_exc(limit=-12))
    if device != "cpu":
        torch.cuda.empty_cache()  # others may share the GPU while this process waits for its next run
    memory.trim()
    result["seconds"] = result.get("seconds", 0.0) + time.time() - started
    result["bytes"] = sum(path.stat().st_size for path in order.folder.glob("*") if path.is_file())
    result |= {"memory_mb": memory.peak_mb(), **memory.gpu_mb(device)}
    if parallel.rank() == 0:
        write_json(order.folder / "result.json", result)
    return result


def check_builds(spec: DataSpec, payload: Mapping[str, Any]) -> None:
    """Build a run's net and method once; raise UserError if its parts do not fit together or cannot be loaded."""
    from sweeper.models.training.build import build_method

    name = payload["method"]["name"].rpartition(".")[2]
    try:
        parts = (payload["encoders"], payload["fusion"], payload["method"])
        method = build_method(spec, *parts, payload["seed"])
    except UserError:
        raise
    except Exception as error:  # of a plugin, say
        raise UserError(
            f"method {name!r} cannot be built ({type(error).__name__}: {one_line(error)[:500]})"
        ) from error
    for condition in payload["conditions"]:
        if method.conditions is not None and condition not in method.conditions:
            raise UserError(
                f"method {name!r} cannot be tested under {condition!r}; admissible: {', '.join(method.conditions)}"
            )


@cache
def warm() -> None:
    """Import what every run needs and leave it out of all later searches for garbage."""
    with memory.uncollected():
        import_module("sweeper.models.training.trainer")
        gc.freeze()


def uncovered(result: Mapping[str, Any], payload: Mapping[str, Any]) -> list[str]:
    """Return the conditions that a run should be tested under and a finished result of it does not hold."""
    if result["status"] != "done":
        return []
    return [c for c in payload["conditions"] if f"test/{c}" not in result["metrics"]]


def write_json(path: Path, value: object) -> None:
    """Write JSON to a file, whole or not at all."""
    with written(path) as new:
        new.write_text(json.dumps(value, default=str))


def options_of(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a payload's dataset."""
    return {name: value for name, value in named.items() if name not in OF_DATA}


def _carried_out(
    order: Order,
    device: str,
    on_epoch: Callable[[dict[str, float]], None] | None,
    pulse: Callable[[], bool],
) -> dict[str, Any]:
    import numpy as np

    from sweeper.models import parallel
    from sweeper.models.training import checkpoint
    from sweeper.models.training.conditions import under
    from sweeper.models.training.device import place

    memory.forget_peaks(device)
    payload, folder = order.payload, order.folder
    method, dataset = built(order, device, pulse)
    place(method, device, channels_last=order.channels_last, compile=order.compile)
    predictions: dict[str, dict[str, np.ndarray]] = {}
    earlier = _finished(folder)
    if earlier and (best := checkpoint.load(folder / "best.pt", device)):
        method.load_state_dict(best)
        result = earlier
    else:
        result, predictions["predictions"] = _trained(order, method, dataset, device, on_epoch, pulse)
        # what other studies tested it under stays: the same run gives the same weights
        result["metrics"] = {**(earlier["metrics"] if earlier else {}), **result["metrics"]}
        if "test/clean" in result["metrics"]:
            del predictions["predictions"]  # those on clean test rows are there already
    for condition in uncovered(result, payload):
        name = "predictions" if condition == "clean" else f"predictions-{condition}"
        rows = dataset.rows["test"]
        result["metrics"][f"test/{condition}"], predictions[name] = under(
            method, dataset, rows, condition, device, _metrics(payload)
        )
    if parallel.rank() == 0:
        for name, kept in predictions.items():
            path = folder / f"{name}.npz"
            path.unlink(missing_ok=True)
            np.savez_compressed(path, **kept)
    return result


def dataset_of(order: Order) -> Dataset:
    """Return the dataset of a run, as it is."""
    named = order.payload["dataset"]
    return _datasets.get(named["name"], options_of(named), order.data_root, order.cache)


def built(
    order: Order, device: str = "cpu", pulse: Callable[[], bool] = lambda: False
) -> tuple[Method, Dataset]:
    """Return the method of a run with the weights that its seed draws, and the dataset as its encoders want it."""
    from sweeper.models.data.encoded import spec_of_nets
    from sweeper.models.training.build import build_method

    dataset, encoders = _encoded(order, dataset_of(order), device, pulse)
    parts = (encoders, order.payload["fusion"], order.payload["method"])
    return build_method(spec_of_nets(dataset), *parts, order.payload["seed"]), dataset


def _encoded(
    order: Order, dataset: Dataset, device: str, pulse: Callable[[], bool]
) -> tuple[Dataset, Mapping[str, Named]]:
    """Return the dataset as encoders want it, with the features of those that never train, and the encoders left."""
    from sweeper.models.training import frozen
    from sweeper.models.training.build import encoders_of, reads_of

    payload, spec = order.payload, dataset.spec
    method = entry("method", payload["method"]["name"])
    fusion = entry("fusion", payload["fusion"]["name"]) if payload["fusion"] else None
    encoders = encoders_of(spec, payload["encoders"], fusion, method)
    own = (m for m, named in encoders.items() if entry("encoder", named["name"]).facts["normalizes"])
    dataset = replace(dataset, unscaled=frozenset(own))
    augmented = {m for m, s in spec.modalities.items() if {m, s.kind} & {*payload.get("augment", {})}}
    return frozen.once(
        dataset,
        encoders,
        reads=reads_of(fusion),
        every_time=set(encoders) if method.facts["changes_inputs"] else augmented,
        fingerprint=payload["dataset"].get("fingerprint", ""),
        cache=order.cache,
        device=device,
        pulse=pulse,
    )


def _trained(
    order: Order,
    method: Method,
    dataset: Dataset,
    device: str,
    on_epoch: Callable[[dict[str, float]], None] | None,
    pulse: Callable[[], bool],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train the method and return the result and its predictions on validation."""
    from sweeper.models import parallel
    from sweeper.models.training import checkpoint
    from sweeper.models.training.build import augmenter
    from sweeper.models.training.conditions import columns
    from sweeper.models.training.evaluation import all_scores, evaluate
    from sweeper.models.training.settings import settings_of
    from sweeper.models.training.splits import splits_of
    from sweeper.models.training.trainer import train

    payload, folder = order.payload, order.folder
    seed, metric = payload["seed"], payload["metric"]
    splits = splits_of(dataset, method, seed, device)
    scale = {m: dataset.scale[m] for m in dataset.unscaled if m in dataset.scale}
    resume = order.training or folder / "checkpoint.pt"
    outcome = train(
        method,
        splits,
        settings_of(payload["train"]),
        seed,
        metric=metric,
        augmenter=augmenter(payload.get("augment", {}), dataset.spec, seed, scale),
        limits={int(epoch): value for epoch, value in (order.limits or {}).items()},
        resume=resume,
        save_every=SAVE_EVERY_SECONDS,
        on_epoch=on_epoch,
        pulse=pulse,
    )
    found = evaluate(method, splits.validation)
    result = {
        "status": "pruned" if outcome.stopped else "done",
        "metrics": {"validation": all_scores(method.task, found, _metrics(payload))},
        "curve": [epoch[f"validation/{metric}"] for epoch in outcome.curve],
        "epochs": len(outcome.curve),
        "best_epoch": outcome.best_epoch,
        "kept": outcome.kept,
    }
    if parallel.rank() == 0:
        write_json(folder / "curve.json", outcome.curve)
        if order.checkpoints in ("best", "all"):
            checkpoint.save(folder / "best.pt", method.state_dict())
        if order.checkpoints != "all" and not order.training:
            resume.unlink(missing_ok=True)
    return result, columns(found)


def _metrics(payload: Mapping[str, Any]) -> list[str]:
    """Return the metrics that a run is asked for by name; those of its task it has anyhow."""
    return [payload["metric"], *payload.get("metrics", ())]


def _finished(folder: Path) -> dict[str, Any] | None:
    """Return what a finished run found, and what trained it if that is told; a damaged result counts as none."""
    names = ("status", "metrics", "curve", "epochs", "best_epoch", "kept", "seconds")
    try:
        result = json.loads((folder / "result.json").read_text())
        found = {name: result[name] for name in names}
        found["hardware"] = {
            str(what): str(which) for what, which in dict(result.get("hardware", {})).items()
        }
        sound = found["status"] == "done" and float(found["seconds"]) >= 0 and dict(found["metrics"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if sound else None


def _error_class(error: Exception) -> str:
    text = str(error).lower()
    if "out of memory" in text or "can't allocate memory" in text or isinstance(error, MemoryError):
        return "OOM"
    return "MissingFile" if isinstance(error, FileNotFoundError) else type(error).__name__
