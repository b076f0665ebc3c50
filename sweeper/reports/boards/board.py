"""The board: each number of a published table beside ours, what of the protocol differs, and by how much they do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import median

from sweeper.bridge import is_share
from sweeper.reports.boards.published import Data, Number, Paper, PublishedTable, numbers
from sweeper.reports.cells import Cell, Result
from sweeper.reports.statistics import equal
from sweeper.reports.tables import cell_of
from sweeper.study.schema import Select

ASPECTS = {"data": "D", "encoders": "E", "selection": "S", "seeds": "N"}  # of a protocol, and their marks
LEAST_ROWS = 4  # of fewer, an order says nothing


@dataclass(frozen=True)
class Pair:
    """A published number and our cell, or `why` there is none; `same` {aspect: None where the paper does not say}.

    `scale` brings our metric to the paper's unit.
    """

    number: Number
    cell: Cell | None = None
    why: str = ""
    same: dict[str, bool | None] | None = None
    scale: float = 1.0

    @cached_property
    def ours(self) -> tuple[float, float | None, int] | None:
        """Our mean, std (ddof 1) and n in the paper's unit; None if there is none or the cell is not complete."""
        if self.cell is None or not self.cell.shown:
            return None
        mean, std, n = self.cell.summary
        return mean * self.scale, None if std is None else std * self.scale, n

    @property
    def difference(self) -> float | None:
        """Ours less theirs."""
        return None if self.ours is None or self.number.value is None else self.ours[0] - self.number.value

    @property
    def z(self) -> float | None:
        """The difference over its standard error by seeds; None where ours is of one seed or the same under all.

        √(s²/n + p²/m) of our std s over n seeds and the paper's p over m; where the paper has none of them, it is
        taken to be one more seed of ours: s √(1 + 1/n).
        """
        if self.difference is None:
            return None
        mean, std, n = self.ours
        if std is None or equal(mean + std, mean):
            return None
        theirs = self.number.std**2 / self.number.n if self.number.std and self.number.n else std**2
        return self.difference / math.sqrt(std**2 / n + theirs)

    @property
    def comparable(self) -> bool:
        """Whether data and encoders are the paper's."""
        return bool(self.same and self.same["data"] and self.same["encoders"])

    @property
    def marks(self) -> str:
        """The aspects of the protocol that differ, and with a question mark those that the paper does not state."""
        found = self.same or {}
        told = {True: "", False: "{}", None: "{}?"}
        return " ".join(
            filter(None, (told[found[a]].format(mark) for a, mark in ASPECTS.items() if a in found))
        )


@dataclass(frozen=True)
class Board:
    """A published table with its pairs."""

    paper: Paper
    table: PublishedTable
    pairs: list[Pair]

    @property
    def compared(self) -> list[Pair]:
        """The pairs that have a difference."""
        return [pair for pair in self.pairs if pair.difference is not None]

    @property
    def apart(self) -> float | None:
        """The median absolute difference where data and encoders are the paper's, of shares if there are any.

        None if they are the paper's nowhere.
        """
        alike = [pair for pair in self.compared if pair.comparable]
        unit = max((pair.scale for pair in alike), default=None)
        return median(abs(pair.difference) for pair in alike if pair.scale == unit) if alike else None

    @cached_property
    def orders(self) -> list[tuple[str, float, int]]:
        """Of methods alike in all else: (what that is, Kendall's τ between their order and ours, how many)."""
        groups: dict[str, list[Pair]] = {}
        varying = [axis for axis in (*self.table.rows, *self.table.columns) if axis != "method"]
        for pair in self.compared:
            groups.setdefault(" ".join(pair.number.labels[axis] for axis in varying), []).append(pair)
        found = [(name, _tau(own), len(own)) for name, own in groups.items() if len(own) >= LEAST_ROWS]
        return [(name, tau, n) for name, tau, n in found if tau is not None]


def build(
    paper: Paper, table: PublishedTable, results: Sequence[Result] | None, *, partial: bool = False
) -> Board:
    """Return the board of a table and the results of the study that follows it; None if that was never begun."""
    if results is None:
        return Board(
            paper, table, [Pair(number, why="the study is not in this storage") for number in numbers(table)]
        )
    return Board(paper, table, [_pair(paper, table, number, results, partial) for number in numbers(table)])


def counterpart(
    paper: Paper, table: PublishedTable, number: Number, datasets: Iterable[str]
) -> dict[str, str] | str:
    """Return the axes {dataset, method, condition, metric} of what stands beside a number, or why there is none.

    `datasets` are the labels of the study's: the paper's own, if it is among them, comes before one that stands in.
    """
    ours, labels = table.ours, number.labels
    label = labels["dataset"]
    data, datasets = paper.datasets[label], list(dict.fromkeys(datasets))
    own = [dataset for dataset in datasets if _is_own(data, label, dataset)]
    stand_in = ours.stand_ins.get(label)
    absent = [
        ours.missing[x] for axis, x in labels.items() if x in ours.missing and not (own and axis == "dataset")
    ]
    if absent:
        return absent[0]
    if own:
        dataset, modalities = own[0], ours.modalities.get(label, data.modalities)
    elif stand_in and stand_in.dataset in datasets:
        dataset, modalities = stand_in.dataset, stand_in.modalities
    else:
        return f"the study has no dataset for {label}"
    named: dict[str, str] = {}
    for axis, fixed in (("method", ours.fixed), ("modality", {"modality": ""})):
        try:
            named[axis] = _named(getattr(ours, axis), number, axis, fixed).format("", *modalities)
        except IndexError:
            return f"{dataset} has nothing like {labels[axis]} of {label}"
    method, modality = named["method"], named["modality"]
    metric = _named(ours.metric, number, "metric", {}, paper.metrics)
    condition = _named(ours.condition, number, "condition", {})
    return {
        "dataset": dataset,
        "method": method,
        "condition": condition,
        "metric": f"{metric}/{modality}" if modality else metric,
    }


def _named(
    own: dict[str, str],
    number: Number,
    axis: str,
    fixed: dict[str, str],
    general: dict[str, str] | None = None,
) -> str:
    """Return what we call a number's label of an axis: by the table's map, for all alike, or by the paper's map."""
    found = next((own[label] for label in number.labels.values() if label in own), None)
    if found is not None:
        return found
    label = number.labels.get(axis)
    return fixed[axis] if label is None else (general or {}).get(label, label)


def _pair(
    paper: Paper, table: PublishedTable, number: Number, results: Sequence[Result], partial: bool
) -> Pair:
    wanted = counterpart(paper, table, number, [result.axes["dataset"] for result in results])
    if isinstance(wanted, str):
        return Pair(number, why=wanted)
    metric = wanted.pop("metric")
    found = [result for result in results if wanted.items() <= result.axes.items()]
    if len(found) != 1:
        what = f"{wanted['method']} on {wanted['dataset']} under {wanted['condition']}"
        return Pair(number, why=f"the study has {'several' if found else 'no'} {what}")
    cell = cell_of(found[0], metric, partial)
    measured = {name for values in found[0].values.values() for name in values}
    if measured and metric not in measured:
        return Pair(number, why=f"{metric} is not measured there")
    same = _same(paper, table, number, found[0])
    return Pair(number, cell, "", same, 100.0 if table.percent and is_share(metric) else 1.0)


def _same(paper: Paper, table: PublishedTable, number: Number, result: Result) -> dict[str, bool | None]:
    """Return which aspects of the protocol are the paper's; None for those that it does not state."""
    label = number.labels["dataset"]
    data = paper.datasets[label]
    nets = table.nets or data.nets
    return {
        "data": _is_own(data, label, result.axes["dataset"]),
        "encoders": all(net in result.axes["encoders"] for net in nets) if nets else None,
        "selection": None if table.selection == "unstated" else table.selection == Select().on,
        "seeds": None if number.n is None else number.n == len(result.planned),
    }


def _is_own(data: Data, label: str, dataset: str) -> bool:
    """Say whether a study's dataset is the paper's: by the paper's label, or by its name before any options."""
    return dataset == label or (bool(data.name) and dataset.split(" (")[0] == data.name)


def _tau(pairs: Sequence[Pair]) -> float | None:
    """Return Kendall's τ-b between published and our numbers: 1 the same order, -1 the reverse; None if one is flat.

    (C - D) / √((C + D + T)(C + D + U)) over pairs of pairs: concordant, discordant, tied in one or in the other.
    """
    score, here, there = 0, 0, 0
    for a, b in combinations(pairs, 2):
        ours, theirs = _sign(a.ours[0], b.ours[0]), _sign(a.number.value, b.number.value)
        score, here, there = score + ours * theirs, here + abs(ours), there + abs(theirs)
    return score / math.sqrt(here * there) if here and there else None


def _sign(a: float, b: float) -> int:
    """Return 1, 0 or -1 as a is above, equal to or below b."""
    return 0 if equal(a, b) else 1 if a > b else -1
