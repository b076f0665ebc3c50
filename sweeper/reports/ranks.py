"""Methods compared over datasets by their mean ranks, as Demšar (JMLR 7, 2006) recommends: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from sweeper.reports.cells import Cell, Result
from sweeper.reports.differences.verdicts import ALPHA
from sweeper.reports.statistics import critical_difference, friedman, ranks
from sweeper.reports.tables import Labels, Table, cell_of
from sweeper.study.arms import short_names

MEAN_RANK = "mean rank"
Competitor = tuple[
    str, str, str
]  # (method, fusion, encoders); those are empty where they follow from the dataset


@dataclass(frozen=True)
class Ranking:
    """The `ranks` of each competitor on each of the `datasets`, best mean rank first.

    `left_out` {reason: names}; `values` are those of each seed, by dataset.
    """

    metric: str
    condition: str
    datasets: tuple[str, ...]
    ranks: dict[Competitor, tuple[float, ...]]
    left_out: dict[str, list[str]]
    values: dict[Competitor, dict[str, dict[int, float]]]

    @cached_property
    def means(self) -> dict[str, float]:
        """Each competitor's mean rank by its name, best first."""
        return dict(zip(names_of(list(self.ranks)).values(), map(fmean, self.ranks.values()), strict=True))

    @cached_property
    def test(self) -> str:
        """Friedman's test in words."""
        statistic, p = friedman(list(zip(*self.ranks.values(), strict=True)))
        return f"Friedman's test {statistic:.2f}, p = {p:.2g}"

    @cached_property
    def difference(self) -> float:
        """The critical difference of two mean ranks."""
        return critical_difference(len(self.ranks), len(self.datasets), ALPHA)

    @cached_property
    def groups(self) -> list[tuple[float, float]]:
        """The first and last mean rank of each largest group in which no two differ by the critical difference."""
        means = list(self.means.values())
        found: list[tuple[float, float]] = []
        for low in means:
            high = max(mean for mean in means if mean - low < self.difference)
            if high > max([low, *(last for _, last in found)]):
                found.append((low, high))
        return found

    def sentences(self) -> list[str]:
        """Return what a caption owes the reader of mean ranks."""
        said = [
            f"Mean rank: of {len(self.ranks)} methods over {len(self.datasets)} datasets, by {self.metric}"
            f" ({self.condition}); {self.test}; those that differ by less than {self.difference:.2f} are not told apart"
            f" (Nemenyi, α = {ALPHA})."
        ]
        left = [f"{', '.join(names)} ({reason})" for reason, names in self.left_out.items()]
        return said + [f"Without a mean rank: {'; '.join(left)}."] * bool(left)


def rank(results: Sequence[Result], metric: str, condition: str, direction: str) -> Ranking | None:
    """Rank the competitors on each dataset by their mean over seeds; None for fewer than two of either.

    Ranked is who has all report seeds on every dataset.
    """
    cells: dict[Competitor, dict[str, Cell]] = {}
    here = [result for result in results if result.axes["condition"] == condition]
    several = len({(r.axes["dataset"], *competitor(r.axes, several=False)) for r in here}) < len(here)
    for result in here:
        own = cells.setdefault(competitor(result.axes, several=several), {})
        own[result.axes["dataset"]] = cell_of(result, metric)
    datasets = tuple(dict.fromkeys(dataset for own in cells.values() for dataset in own))
    missing = {one: _missing(own, datasets) for one, own in cells.items()}
    ranked = [one for one, reason in missing.items() if not reason]
    if len(datasets) < 2 or len(ranked) < 2:
        return None
    by_dataset = [ranks([cells[one][d].summary[0] for one in ranked], direction) for d in datasets]
    found = dict(zip(ranked, zip(*by_dataset, strict=True), strict=True))
    left_out: dict[str, list[str]] = {}
    for one, name in names_of(list(cells)).items():
        if missing[one]:
            left_out.setdefault(missing[one], []).append(name)
    best_first = sorted(found.items(), key=lambda item: fmean(item[1]))
    values = {one: {d: cells[one][d].values for d in datasets} for one in ranked}
    return Ranking(metric, condition, datasets, dict(best_first), left_out, values)


def beside(table: Table, ranking: Ranking | None) -> Table:
    """Return the table with the mean ranks as those of a further dataset, wherever datasets stand."""
    if ranking is None:
        return table
    cells: dict[tuple[Labels, Labels], Cell] = {}
    several = any(encoders for *_, encoders in ranking.ranks)
    for (row, column), cell in table.cells.items():
        own = ranking.ranks.get(competitor(cell.axes, several=several))
        if own and (cell.metric, cell.axes["condition"]) == (ranking.metric, ranking.condition):
            axes = {**cell.axes, "dataset": MEAN_RANK} | ({} if several else {"encoders": ""})
            place = (_moved(table.row_axes, row), _moved(table.column_axes, column))
            by_dataset = dict(zip(ranking.datasets, own, strict=True))
            text = f"{fmean(own):.2f}"
            cells[place] = Cell(MEAN_RANK, axes, ranking.datasets, by_dataset, shown=True, text=text)
    rows = dict.fromkeys((*table.rows, *(row for row, _ in cells)))
    columns = dict.fromkeys((*table.columns, *(column for _, column in cells)))
    return replace(table, rows=tuple(rows), columns=tuple(columns), cells=table.cells | cells)


def competitor(axes: Mapping[str, str], *, several: bool) -> Competitor:
    """Return what a cell is of; by the encoders too where there are `several` sets of them."""
    return axes["method"], axes["fusion"], axes["encoders"] if several else ""


def names_of(competitors: Sequence[Competitor]) -> dict[Competitor, str]:
    """Return a name for each: its method, and fusion and encoders too where methods have several."""
    axes = [dict(zip(("method", "fusion", "encoders"), one, strict=True), dataset="") for one in competitors]
    return dict(zip(competitors, short_names(axes), strict=True))


def _missing(own: Mapping[str, Cell], datasets: Sequence[str]) -> str:
    """Return why a competitor is not ranked, empty if it is."""
    if len(own) < len(datasets):
        return "not on every dataset"
    unfinished = [dataset for dataset in datasets if own[dataset].status != "complete"]
    return f"incomplete on {', '.join(unfinished)}" if unfinished else ""


def _moved(axes: Labels, labels: Labels) -> Labels:
    """Return the labels with the mean rank in the dataset's place."""
    return tuple(MEAN_RANK if axis == "dataset" else own for axis, own in zip(axes, labels, strict=True))
