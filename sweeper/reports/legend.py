"""The sentences under a table: what it does not show, how its cells are read, what its marks mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sweeper.reports.cells import Cell, Result, varying
from sweeper.reports.differences.verdicts import ALPHA, LEAST_SEEDS, span


def about(results: Sequence[Result], axes: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return sentences about the axes that the table does not show and the notes of the results."""
    apart = varying(results)
    fixed = [f"{axis} {label}" for axis, label in results[0].axes.items() if axis not in {*axes, *apart}]
    if "metric" not in axes:
        fixed.append(f"metric {metrics[0]}")
    lines = [f"Fixed: {', '.join(fixed)}."] if fixed else []
    for axis in sorted(apart.keys() - set(axes)):
        lines.append(f"Differs between cells: {axis} ({', '.join(apart[axis])}).")
    notes: dict[str, set[str]] = {}
    for result in results:
        arm = " / ".join(result.axes.get(axis, "") for axis in sorted(apart) if axis != "condition")
        notes.setdefault(result.note, set()).add(arm)
    return lines + [
        ": ".join(filter(None, [", ".join(sorted(notes[note])), note])) for note in sorted(notes) if note
    ]


def how_to_read(cells: Collection[Cell], sizes: set[int], percent: list[str], partial: bool) -> list[str]:
    """Return sentences that say how to read the cells."""
    lines = []
    if sizes == {1}:
        lines.append("One report seed per cell (n = 1), so there is no std.")
    elif sizes or partial:
        lines.append(
            f"Mean ± std (ddof 1) over {f'n = {min(sizes)}' if len(sizes) == 1 else 'n'} report seeds."
        )
    if percent:
        lines.append(f"In %: {', '.join(percent)}.")
    if any(cell.status in ("incomplete", "failed") for cell in cells):
        what = "a mean over the finished seeds only" if partial else "no mean"
        lines.append(f"Cells with n=finished/planned or failed/planned are incomplete: {what}, no rank.")
    return lines


def how_ranked(
    cells: Collection[Cell],
    along: str,
    metrics: Sequence[str],
    directions: Mapping[str, str | None],
    percent: Collection[str],
) -> list[str]:
    """Return sentences that explain bold, underlined and tied cells, if there are any."""
    if not any(cell.rank for cell in cells):
        return []
    arrows = {"max": "↑", "min": "↓"}
    better = ", ".join(
        f"{metric} {arrows[directions[metric]]}" for metric in metrics if directions.get(metric)
    )
    place = f"complete cells of a {along} with equal dataset, condition and metric"
    lines = [f"Bold: best, underlined: second, among the {place} ({better})."]
    seeds = {len(cell.planned) for cell in cells if cell.rank}
    if max(seeds) >= LEAST_SEEDS:
        ranked = dict.fromkeys(cell.metric in percent for cell in cells if cell.rank)
        near = " or, of what is not in %, ".join(span(share) for share in sorted(ranked, reverse=True))
        lines.append(
            f"†: not found different from the best, and at most {near} from it; ?: too few seeds to tell; no mark:"
            f" worse (paired t-tests over at least {LEAST_SEEDS} common seeds, α = {ALPHA}, uncorrected)."
        )
    else:
        lines.append(f"Differences are not tested: that needs {LEAST_SEEDS} report seeds.")
    return lines
