"""From names to a method ready to train: the five names of a run (dataset, encoders, fusion, method, seed)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from sweeper.models.encoders.all import DEFAULTS, DENSE, TAKES
from sweeper.models.errors import UserError, choose
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.entries import Entry, entries, entry
from sweeper.models.streams import stream_seed
from sweeper.models.tasks.all import task_of
from sweeper.models.values import INPUT_KINDS, DataSpec

Named = Mapping[str, Any]


@contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Draw from torch's global generator as a named stream, and leave the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, *purpose))
        yield


def build_method(
    spec: DataSpec,
    encoders: Mapping[str, Named],
    fusion: Named | None,
    method: Named,
    seed: int,
    plugins: tuple[str, ...] = (),
) -> Method:
    """Return the method on a fresh net; each part draws its weights from a stream of its own.

    `encoders` {modality or kind of input: {"name": …, options}}, of which a modality's own name counts first; a
    modality without an encoder gets the default of its kind. `fusion` and `method` are {"name": …, options}, `fusion`
    None for methods that do not fuse. Raises UserError for unknown names or options, a task or a number of modalities
    the method does not support, and where segmentation does not meet with maps.
    """
    chosen = entry("method", method["name"], plugins)
    cls = chosen.load()
    chosen.check_modalities(spec.modalities, spec.name)
    chosen.check_task(spec.task, spec.name)
    for name in encoders:
        choose("modality", name, {*spec.modalities, *INPUT_KINDS}, f"encoders (dataset {spec.name!r})")
    parts = {}
    for modality, shape in spec.modalities.items():
        default = DENSE[0] if spec.task == "segmentation" else DEFAULTS[shape.kind]
        named = encoders.get(modality) or encoders.get(shape.kind) or {"name": default}
        encoder = entry("encoder", named["name"])
        _check_dense(
            encoder, spec, {name: name in DENSE for name, kinds in TAKES.items() if shape.kind in kinds}
        )
        with seeded(seed, "init", "encoder", modality):
            parts[modality] = encoder.load()(shape, **encoder.check(_options(named)))
    task = task_of(spec)
    head = None
    if fusion is not None:
        wanted = entry("fusion", fusion["name"])
        _check_dense(wanted, spec, {e.name: e.facts.get("dense", False) for e in entries("fusion").values()})
        dims = {m: e.dim for m, e in parts.items()}
        with seeded(seed, "init", "fusion"):
            head = wanted.load()(dims, task.n_outputs, *task.size, **wanted.check(_options(fusion)))
    with seeded(seed, "init", "method"):
        return cls(Net(parts, head), task, **chosen.check(_options(method)))


def _check_dense(part: Entry, spec: DataSpec, dense: Mapping[str, bool]) -> None:
    """Raise UserError unless `part`, by what `dense` says of each name, works on maps just where the task does."""
    wanted = spec.task == "segmentation"
    if dense.get(part.name, wanted) != wanted:
        words = ("vectors", "maps")
        fit = ", ".join(name for name, maps in dense.items() if maps == wanted)
        raise UserError(
            f"{part.kind} {part.name!r} works on {words[not wanted]}, but dataset {spec.name!r} poses {spec.task},"
            f" which needs {words[wanted]}; admissible: {fit}"
        )


def _options(named: Named) -> dict[str, Any]:
    return {k: v for k, v in named.items() if k != "name"}
