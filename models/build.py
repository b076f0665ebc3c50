"""From names to a method ready to train: the five names of a run (dataset, encoders, fusion, method, seed)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from models.encoders import DEFAULTS
from models.errors import UserError, choose
from models.method import Method
from models.net import Net
from models.registry import entry
from models.streams import stream_seed
from models.tasks import task_of
from models.values import DataSpec

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

    `encoders` {modality: {"name": …, options}}, `fusion` and `method` {"name": …, options}; a modality without
    an encoder gets the default of its kind, `fusion` is None for methods that do not fuse. Raises UserError for
    unknown names or options, a task or a number of modalities the method does not support.
    """
    chosen = entry("method", method["name"], plugins)
    cls = chosen.load()
    chosen.check_modalities(spec.modalities, spec.name)
    if spec.task not in cls.tasks:
        raise UserError(
            f"method {chosen.name!r} supports {', '.join(cls.tasks)}; dataset {spec.name!r} poses {spec.task}"
        )
    for modality in encoders:
        choose("modality", modality, spec.modalities, f"encoders (dataset {spec.name!r})")
    parts = {}
    for modality, shape in spec.modalities.items():
        named = encoders.get(modality) or {"name": DEFAULTS[shape.kind]}
        encoder = entry("encoder", named["name"])
        with seeded(seed, "init", "encoder", modality):
            parts[modality] = encoder.load()(shape, **encoder.check(_options(named)))
    task = task_of(spec)
    head = None
    if fusion is not None:
        wanted = entry("fusion", fusion["name"])
        with seeded(seed, "init", "fusion"):
            head = wanted.load()(
                {m: e.dim for m, e in parts.items()}, task.n_outputs, **wanted.check(_options(fusion))
            )
    with seeded(seed, "init", "method"):
        return cls(Net(parts, head), task, **chosen.check(_options(method)))


def _options(named: Named) -> dict[str, Any]:
    return {k: v for k, v in named.items() if k != "name"}
