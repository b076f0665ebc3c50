"""From names to a method ready to train: the five names of a run (dataset, encoders, fusion, method, seed)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from sweeper.models.data.augment.base import Augmenter
from sweeper.models.data.statistics import Number
from sweeper.models.encoders.base import Encoder, Projected
from sweeper.models.errors import UserError
from sweeper.models.fusions.base import Fusion
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.entries import Entry, entry
from sweeper.models.schema.fit import Named, check_fusion, check_method, chosen_encoders
from sweeper.models.streams import stream_seed
from sweeper.models.tasks.base import Task
from sweeper.models.values import DataSpec


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
) -> Method:
    """Return the method on a fresh net; each part draws its weights from a stream of its own.

    `encoders` {modality or kind of input: {"name": …, options}}, of which a modality's own name counts first; a
    modality without an encoder gets the default of its kind. `fusion` and `method` are {"name": …, options}, `fusion`
    None for methods that do not fuse. Encoders of other widths than the widest get a learned projection where the
    method needs one width. Raises UserError for unknown names or options, a task or a number of modalities that the
    method does not support, and parts that do not fit together.
    """
    chosen = entry("method", method["name"])
    wanted = entry("fusion", fusion["name"]) if fusion else None
    named = encoders_of(spec, encoders, wanted, chosen)
    parts = {m: _encoder(m, own, spec, seed) for m, own in named.items()}
    if chosen.facts["equal_widths"]:
        parts = _aligned(parts, seed)
    task: Task = entry("task", spec.task).load()(spec)
    head = _fusion(wanted, fusion or {}, parts, task, seed) if wanted else None
    with seeded(seed, "init", "method"):
        return chosen.build(method, Net(spec, parts, head), task)


def encoders_of(
    spec: DataSpec, encoders: Mapping[str, Named], fusion: Entry | None, method: Entry
) -> dict[str, Named]:
    """Return each modality's encoder, {} for a method that reads inputs themselves; raises as `build_method`."""
    method.check_modalities(spec.modalities, spec.name)
    method.check_task(spec.task, spec.name)
    if fusion:
        check_fusion(fusion, spec.task, spec.name)
        check_method(method, fusion)
    if not method.facts["encodes"]:
        return {}
    return chosen_encoders(spec.modalities, encoders, reads_of(fusion), spec.name)


def reads_of(fusion: Entry | None) -> str:
    """Return how encoders are read: as the fusion does, pooled without one."""
    return fusion.facts["reads"] if fusion else "pooled"


def _encoder(modality: str, named: Named, spec: DataSpec, seed: int) -> Encoder:
    if hasattr(nn.ModuleDict(), modality):
        raise UserError(
            f"dataset {spec.name!r}: modality {modality!r} is called like an attribute that torch's modules have;"
            " give it another name"
        )
    chosen = entry("encoder", named["name"])
    with seeded(seed, "init", "encoder", modality):
        return chosen.build(named, spec.modalities[modality])


def _aligned(parts: Mapping[str, Encoder], seed: int) -> dict[str, Encoder]:
    """Return the encoders, those narrower than the widest with a learned projection to its width."""
    width = max(encoder.dim for encoder in parts.values())
    found: dict[str, Encoder] = {}
    for m, encoder in parts.items():
        with seeded(seed, "init", "projection", m):
            found[m] = encoder if encoder.dim == width else Projected(encoder, width)
    return found


def _fusion(wanted: Entry, named: Named, parts: Mapping[str, Encoder], task: Task, seed: int) -> Fusion:
    stages = {m: encoder.stages for m, encoder in parts.items()}
    if wanted.facts["reads"] == "stages" and len({len(own) for own in stages.values()}) > 1:
        counts = ", ".join(f"{m} {len(own)}" for m, own in stages.items())
        raise UserError(f"fusion {wanted.name!r} needs encoders of equally many stages; found: {counts}")
    given = {k: v for k, v in {"size": task.size, "stages": stages}.items() if k in wanted.given}
    dims = {m: encoder.dim for m, encoder in parts.items()}
    with seeded(seed, "init", "fusion"):
        return wanted.build(named, dims, task.n_outputs, **given)


def augmenter(
    chosen: Mapping[str, Sequence[Named]],
    spec: DataSpec,
    seed: int,
    scale: Mapping[str, tuple[Number, Number]] | None = None,
) -> Augmenter:
    """Return what augments the batches of a run; raises UserError for unknown names or options.

    `scale` is that of modalities whose batches are not standardised.
    """
    steps = {
        m: [entry("augmentation", named["name"]).build(named) for named in own] for m, own in chosen.items()
    }
    return Augmenter(steps, spec.rows, seed, scale)
