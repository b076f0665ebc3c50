"""Whether the parts of a run fit together, told from what their classes say, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeper.models.errors import Misfit, choose
from sweeper.models.schema.entries import Entry, entries, entry
from sweeper.models.values import AXES, InputSpec

Named = Mapping[str, Any]  # {"name": …, options}


def chosen_encoders(
    inputs: Mapping[str, InputSpec], named: Mapping[str, Named], reads: str, dataset: str
) -> dict[str, Named]:
    """Return each modality's encoder: that of its own name in `named`, of its kind of input, or the kind's default.

    `reads` is how they are to be read. Raises Misfit for an encoder that does not take the input or cannot be read
    so, and where no encoder is the default.
    """
    for name in named:
        choose("modality", name, {*inputs, *AXES}, f"encoders (dataset {dataset!r})")
    found: dict[str, Named] = {}
    for m, spec in inputs.items():
        found[m] = named.get(m) or named.get(spec.kind) or {"name": _default(m, spec, reads, dataset)}
        chosen = entry("encoder", found[m]["name"])
        if spec.kind not in chosen.facts["takes"]:
            raise Misfit(
                f"encoder {chosen.name!r} takes {_or(chosen.facts['takes'])}, but modality {m!r} of dataset {dataset!r}"
                f" is a sample of kind {spec.kind} {AXES[spec.kind]}; encoders that fit:"
                f" {_fitting('encoder', lambda e, k=spec.kind: _offers(e, k, reads))}"
            )
        if reads not in chosen.facts["reads"]:
            raise Misfit(
                f"encoder {chosen.name!r} of modality {m!r} can be read as {_or(chosen.facts['reads'])}, but the fusion"
                f" reads {reads}; encoders that fit: {_fitting('encoder', lambda e, k=spec.kind: _offers(e, k, reads))}"
            )
    return found


def chosen_augmentations(
    inputs: Mapping[str, InputSpec], named: Mapping[str, Sequence[Named]], dataset: str
) -> dict[str, list[Named]]:
    """Return what is done to training rows of each modality that `named` has, by its name or its kind of input.

    Raises Misfit for an augmentation that does not take the input.
    """
    for name in named:
        choose("modality", name, {*inputs, *AXES}, f"augment (dataset {dataset!r})")
    found: dict[str, list[Named]] = {}
    for m, spec in inputs.items():
        chosen = named.get(m, named.get(spec.kind, ()))
        for own in chosen:
            takes = entry("augmentation", own["name"]).facts["takes"]
            if spec.kind not in takes:
                raise Misfit(
                    f"augmentation {own['name']!r} takes {_or(takes)}, but modality {m!r} of dataset {dataset!r} is of"
                    f" kind {spec.kind}; augmentations that fit:"
                    f" {_fitting('augmentation', lambda e, k=spec.kind: k in e.facts['takes'])}"
                )
        if chosen:
            found[m] = list(chosen)
    return found


def check_fusion(fusion: Entry, task: str, dataset: str) -> None:
    """Raise Misfit unless a fusion gives the logits of the task that the dataset poses."""
    if task not in fusion.facts["tasks"]:
        raise Misfit(
            f"fusion {fusion.name!r} is for {_or(fusion.facts['tasks'])}, but dataset {dataset!r} poses {task};"
            f" fusions that fit: {_fitting('fusion', lambda e: task in e.facts['tasks'])}"
        )


def check_method(method: Entry, fusion: Entry) -> None:
    """Raise Misfit unless a method can work on what a fusion reads."""
    if fusion.facts["reads"] not in method.facts["reads"]:
        raise Misfit(
            f"method {method.name!r} needs a fusion that reads {_or(method.facts['reads'])}, but {fusion.name!r} reads"
            f" {fusion.facts['reads']}; fusions that fit:"
            f" {_fitting('fusion', lambda e: e.facts['reads'] in method.facts['reads'])}"
        )


def _default(modality: str, spec: InputSpec, reads: str, dataset: str) -> str:
    for name, found in entries("encoder").items():
        if spec.kind in found.facts["default_for"] and reads in found.facts["reads"]:
            return name
    raise Misfit(
        f"modality {modality!r} of dataset {dataset!r} is a sample of kind {spec.kind}, for which no encoder is the"
        f" default where a fusion reads {reads}; name one that fits:"
        f" {_fitting('encoder', lambda e: _offers(e, spec.kind, reads))}"
    )


def _offers(encoder: Entry, kind: str, reads: str) -> bool:
    return kind in encoder.facts["takes"] and reads in encoder.facts["reads"]


def _fitting(kind: str, fits: Callable[[Entry], bool]) -> str:
    return ", ".join(name for name, found in entries(kind).items() if fits(found)) or "none"


def _or(words: tuple[str, ...]) -> str:
    return " or ".join(words)
