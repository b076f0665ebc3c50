"""The second metric that a search goes by: which it may be, and which arms have it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sweeper.models.errors import UserError
from sweeper.study.samplers import OF_ONE_METRIC, OPTIONS, name_of

if TYPE_CHECKING:
    from sweeper.study.schema import Study

OF_SEVERAL = ("gap", "acc_upper", "acc_lower")  # modalities
OF_SOME = ("correlation", "coverage", "rejected_error", "modality_distance", "weight")  # methods


def check(study: Study, where: str) -> None:
    """Raise UserError where a study cannot be searched by the two metrics that it names; none if it names one."""
    search, metric, beside = study.search, study.select.metric, study.select.beside
    if not beside:
        return
    if beside == metric:
        raise UserError(f"{where}: select.metric and select.beside are both {metric!r}; name two metrics")
    if beside.partition("/")[0] in OF_SOME:
        raise UserError(
            f"{where}: select.beside is {beside!r}, which some methods alone have; name a metric that all have"
        )
    sampler = name_of(search.sampler)
    if sampler in OF_ONE_METRIC:
        able = ", ".join(name for name in OPTIONS if name not in OF_ONE_METRIC)
        raise UserError(
            f"{where}: sampler {sampler!r} searches by one metric, and select.beside is a second; admissible: {able}"
        )
    if search.early_stopping != "none":
        raise UserError(
            f"{where}: search.early_stopping is {search.early_stopping!r}, which ends runs by {metric} alone;"
            " with select.beside it must be 'none'"
        )


def has(metric: str, modalities: Collection[str]) -> bool:
    """Say whether runs that use these modalities have a metric on validation."""
    name, alone, modality = metric.partition("/")
    if alone:
        return modality in modalities
    return name not in OF_SEVERAL or len(modalities) > 1
