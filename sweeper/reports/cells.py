"""What a table is made of: results of arms, and cells, each one metric of a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sweeper.reports.differences.verdicts import EQUAL, UNCLEAR
from sweeper.reports.statistics import mean_std

NOTHING = "—"


@dataclass(frozen=True)
class Result:
    """One arm under one condition, told apart by `axes` {axis: label}; its `note` goes to the caption.

    Of the report seeds `planned`, `values` {seed: {metric: value}} are finished and `failed` {seed: reason}.
    """

    axes: dict[str, str]
    planned: tuple[int, ...]
    values: dict[int, dict[str, float]]
    failed: dict[int, str]
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One metric of one result: `shown` says whether it may show a mean, `text` what it says without marks.

    `rank` is 1 (best), 2 (second) or 0 (others); `standing` is the verdict on it against the best, empty for the best
    itself and where none was asked for. What stands by seed stands by dataset where the cell is a mean rank.
    """

    metric: str
    axes: dict[str, str]
    planned: tuple[int, ...] | tuple[str, ...] = ()
    values: dict[int, float] | dict[str, float] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    note: str = ""
    shown: bool = False
    text: str = NOTHING
    rank: int = 0
    standing: str = ""

    @property
    def status(self) -> str:
        """One of complete, failed, incomplete, missing; only complete cells are ranked."""
        if self.planned and len(self.values) == len(self.planned):
            return "complete"
        return "failed" if self.failed else "incomplete" if self.values else "missing"

    @property
    def tied(self) -> bool:
        """Whether it is as good as the best, as far as that matters."""
        return self.standing == EQUAL

    @property
    def unclear(self) -> bool:
        """Whether its seeds do not tell if it is."""
        return self.standing == UNCLEAR

    @cached_property
    def summary(self) -> tuple[float, float | None, int]:
        """Mean, std (ddof 1, None for one seed) and n of the finished seeds, in the metric's own unit."""
        return mean_std(self.values.values())


def varying(found: Sequence[Result | Cell]) -> dict[str, list[str]]:
    """Return the sorted labels of every axis that is not the same over all."""
    axes = dict.fromkeys(axis for one in found for axis in one.axes)
    labels = {axis: sorted({one.axes.get(axis, "") for one in found}) for axis in axes}
    return {axis: names for axis, names in labels.items() if len(names) > 1}
