"""The second metric that a search goes by: which it may be."""

from __future__ import annotations

from sweeper.models.errors import UserError
from sweeper.study.samplers import OF_ONE_METRIC, OPTIONS, Named, name_of

OF_SOME = (
    "correlation",
    "coverage",
    "rejected_error",
    "modality_distance",
    "weight",
    "dependency",
)  # methods


def check(metric: str, beside: str, sampler: Named, early_stopping: str, where: str) -> None:
    """Raise UserError where a study cannot be searched by both metrics; without a second nothing is checked."""
    if not beside:
        return
    if beside == metric:
        raise UserError(f"{where}: select.metric and select.beside are both {metric!r}; name two metrics")
    if beside.partition("/")[0] in OF_SOME:
        raise UserError(
            f"{where}: select.beside is {beside!r}, which some methods alone have; name a metric that all have"
        )
    name = name_of(sampler)
    if name in OF_ONE_METRIC:
        able = ", ".join(other for other in OPTIONS if other not in OF_ONE_METRIC)
        raise UserError(
            f"{where}: sampler {name!r} searches by one metric, and select.beside is a second; admissible: {able}"
        )
    if early_stopping != "none":
        raise UserError(
            f"{where}: search.early_stopping is {early_stopping!r}, which ends runs by {metric} alone;"
            " with select.beside it must be 'none'"
        )
