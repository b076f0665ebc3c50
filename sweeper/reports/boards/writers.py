"""Boards as text: a table of pairs with the sentences that say how to read it, and an overview of all tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import median
from typing import Any

from sweeper.reports import writers
from sweeper.reports.boards.board import ASPECTS, LEAST_ROWS, Board, Pair
from sweeper.reports.cells import NOTHING, Cell
from sweeper.reports.tables import Table

COLUMNS = ("published", "here", "difference", "z", "differs")
OVERVIEW = ("study", "numbers", "followed", "here", "same data and encoders", "median difference", "order")
MARKS = ", ".join(f"{mark} {aspect}" for aspect, mark in ASPECTS.items())
Z = (
    "z is the difference over its standard error. Our spread is over seeds alone; the paper's is used where it gives"
    " std and n, else its number is taken for one more seed of ours. A faithful repetition stays within 4.3 in 95 of"
    " 100 cases with three seeds, within 2.8 with five. In brackets where data or encoders are not the paper's: there"
    " z, like the difference, measures these, and is no evidence of an error on either side."
)


def write(board: Board, format: str) -> str:
    """Return a board as md, latex, csv or html."""
    if format == "csv":
        return _long_form(board)
    axes = (*board.table.rows, *board.table.columns)
    rows = [tuple(pair.number.labels[axis] for axis in axes) for pair in board.pairs]
    return writers.render(
        _table(axes, rows, COLUMNS, [_shown(pair) for pair in board.pairs]), format, _caption(board)
    )


def overview(boards: Sequence[Board], format: str) -> str:
    """Return a line for each published table, as md, latex, csv or html."""
    rows = [(board.paper.paper, board.table.where, board.table.shows) for board in boards]
    lines = [_line(board) for board in boards]
    axes = ("paper", "where", "what")
    if format == "csv":
        return _csv([[*axes, *OVERVIEW], *([*row, *line] for row, line in zip(rows, lines, strict=True))])
    return writers.render(_table(axes, rows, OVERVIEW, lines), format, _about_overview(boards))


def facts(board: Board) -> dict[str, Any]:
    """Return a board as plain data: what the table is, its cells in the paper's unit, and the sentences below it."""
    return {
        **_about(board),
        "rows": list(board.table.rows),
        "columns": list(board.table.columns),
        "percent": board.table.percent,
        "cells": [_cell(pair) for pair in board.pairs],
        "orders": [{"of": name, "tau": tau, "methods": n} for name, tau, n in board.orders],
        "caption": _caption(board),
    }


def overview_facts(boards: Sequence[Board]) -> list[dict[str, Any]]:
    """Return for each published table what it is, and how far it is followed, as plain data."""
    return [{**_about(board), **_counted(board), "why": board.table.why} for board in boards]


def _about(board: Board) -> dict[str, Any]:
    paper, table = board.paper, board.table
    about = {"paper": paper.paper, "cite": paper.cite, "where": table.where, "shows": table.shows}
    return {**about, "study": table.ours.study if table.ours else None}


def _cell(pair: Pair) -> dict[str, Any]:
    """Return a published number, ours, and what differs; what is not there is None."""
    number = pair.number
    mean, std, n = pair.ours or (None, None, None)
    return {
        "labels": number.labels,
        "published": {"text": number.text, "value": number.value, "std": number.std, "n": number.n},
        "here": {"mean": mean, "std": std, "n": n, "planned": len(pair.cell.planned) if pair.cell else None},
        "difference": pair.difference,
        "z": pair.z,
        "same": pair.same,
        "why_missing": pair.why or None,
    }


def _table(
    axes: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
) -> Table:
    """Return a table of plain texts, none of them ranked."""
    cells = {
        (row, (column,)): Cell("", {}, text=text)
        for row, line in zip(rows, texts, strict=True)
        for column, text in zip(columns, line, strict=True)
    }
    heads = tuple((column,) for column in columns)
    return Table(tuple(axes), ("",), tuple(rows), heads, cells, (), (), frozenset())


def _shown(pair: Pair) -> list[str]:
    """Return what a line says: their number, ours, the difference, z, and what differs."""
    number, places = pair.number, pair.number.places
    published = number.text + (f" (n={number.n})" if number.n else "")
    difference = NOTHING if pair.difference is None else _signed(pair.difference, places)
    z = NOTHING
    if pair.z is not None:
        z = _signed(pair.z, 1) if pair.comparable else f"({_signed(pair.z, 1)})"
    return [published, _ours(pair, places), difference, z, pair.marks]


def _ours(pair: Pair, places: int) -> str:
    if pair.cell is None:
        return NOTHING
    done, planned = len(pair.cell.values), len(pair.cell.planned)
    if pair.ours is None:
        return f"failed {len(pair.cell.failed)}/{planned}" if pair.cell.failed else f"n={done}/{planned}"
    mean, std, n = pair.ours
    spread = "" if std is None else f" ± {std:.{places}f}"
    return f"{mean:.{places}f}{spread} (n={n if done == planned else f'{n}/{planned}'})".replace("-", "−")


def _signed(value: float, places: int) -> str:
    return f"{value:+z.{places}f}".replace("-", "−")


def _caption(board: Board) -> list[str]:
    """Return the sentences below a board: what it is, both protocols, how to read it, and what has no counterpart."""
    paper, table = board.paper, board.table
    return [
        f"{paper.cite}; {table.where}: {table.shows}.",
        *_protocol(board),
        f"Differs: {MARKS}; with ? the paper does not say.",
        *([Z] if any(pair.z is not None for pair in board.pairs) else []),
        *_order(board),
        *_absent(board),
        *(f"Note: {note}" for note in table.notes),
    ]


def _protocol(board: Board) -> list[str]:
    """Return what data, encoders, selection and seeds are there and here."""
    matched = [pair for pair in board.pairs if pair.cell]
    if not matched:
        return []
    places = {
        pair.number.labels["dataset"]: (pair.cell.axes["dataset"], pair.same["data"]) for pair in matched
    }
    own = [label for label, (_, same) in places.items() if same]
    other: dict[str, list[str]] = {}
    for label, (dataset, same) in places.items():
        if not same:
            other.setdefault(dataset, []).append(label)
    data = [f"the paper's {', '.join(own)}"] * bool(own)
    data += [f"{dataset} in place of {', '.join(labels)}" for dataset, labels in other.items()]
    encoders = sorted({pair.cell.axes["encoders"] for pair in matched})
    nets = sorted({net for label in places for net in board.table.nets or board.paper.datasets[label].nets})
    planned = sorted({len(pair.cell.planned) for pair in matched})
    theirs = sorted({pair.number.n or 0 for pair in matched})
    stated = ", ".join(str(n) if n else "not stated" for n in theirs)
    return [
        f"Data: {'; '.join(data)}.",
        f"Encoders: {', '.join(encoders)}; the paper's: {', '.join(nets) or 'not stated'}.",
        f"Selected on validation; the paper: {board.table.selection.replace('unstated', 'not stated')}.",
        f"Seeds: {', '.join(map(str, planned))}; the paper's: {stated}.",
    ]


def _order(board: Board) -> list[str]:
    found = [f"{name or 'all'} {_signed(tau, 2)} ({n})" for name, tau, n in board.orders]
    if not found:
        return []
    what = f"1 the same, −1 the reverse, near 0 neither; of at least {LEAST_ROWS}"
    return [f"Order of methods, Kendall's τ (how many), {what}: {'; '.join(found)}."]


def _absent(board: Board) -> list[str]:
    """Return why numbers have no counterpart, and of how many that is so."""
    reasons: dict[str, int] = {}
    for pair in board.pairs:
        if pair.why:
            reasons[pair.why] = reasons.get(pair.why, 0) + 1
    told = "; ".join(f"{why} ({count})" for why, count in reasons.items())
    return [f"Without counterpart here, of {len(board.pairs)} cells: {told}."] if told else []


def _counted(board: Board) -> dict[str, Any]:
    """Return how far a table is followed; None where there is nothing to say."""
    taus = [tau for _, tau, _ in board.orders]
    return {
        "numbers": sum(pair.number.value is not None for pair in board.pairs),
        "followed": sum(pair.number.value is not None and pair.cell is not None for pair in board.pairs),
        "here": len(board.compared),
        "same_data_and_encoders": sum(pair.comparable for pair in board.compared),
        "median_difference": board.apart,
        "median_tau": median(taus) if taus else None,
        "orders": len(taus),
    }


def _line(board: Board) -> list[str]:
    """Return what the overview says of a table."""
    counted = _counted(board)
    tau = counted["median_tau"]
    return [
        board.table.ours.study if board.table.ours else NOTHING,
        str(counted["numbers"]),
        str(counted["followed"] or NOTHING),
        str(counted["here"] or NOTHING),
        str(counted["same_data_and_encoders"]) if counted["here"] else NOTHING,
        NOTHING if board.apart is None else f"{board.apart:.2f}",
        NOTHING if tau is None else f"{_signed(tau, 2)} ({counted['orders']})",
    ]


def _about_overview(boards: Sequence[Board]) -> list[str]:
    lines = [
        "Numbers: how many the paper prints. Followed: those for which the study in this storage has a cell; here:"
        " those whose cell is complete.",
        "Median difference: of the absolute differences where data and encoders are the paper's, of shares in % if"
        " there are any. Elsewhere a difference says nothing.",
        "Order: the median of Kendall's τ between the published and our order of methods, over so many groups of at"
        f" least {LEAST_ROWS} methods that differ in nothing else.",
    ]
    why: dict[str, list[str]] = {}
    for board in boards:
        if board.table.why:
            why.setdefault(board.table.why, []).append(f"{board.paper.paper}, {board.table.where}")
    lines += [f"No study: {'; '.join(places)}, because {reason}." for reason, places in why.items()]
    idle = [
        board.table.ours.study
        for board in boards
        if board.table.ours and not any(p.cell for p in board.pairs)
    ]
    return lines + ([f"Not in this storage: {', '.join(dict.fromkeys(idle))}."] if idle else [])


def _long_form(board: Board) -> str:
    """Return CSV with one line per number, in the paper's unit and full precision; `same_…` is empty if not stated."""
    axes = (*board.table.rows, *board.table.columns)
    head = [
        "paper",
        "where",
        *axes,
        "published",
        "published_std",
        "published_n",
        "mean",
        "std",
        "n",
        "difference",
        "z",
    ]
    lines: list[Sequence[object]] = [[*head, *(f"same_{aspect}" for aspect in ASPECTS), "why_missing"]]
    for pair in board.pairs:
        number = pair.number
        printed = number.text if number.value is None else number.value
        same = [(pair.same or {}).get(aspect) for aspect in ASPECTS]
        row = [
            board.paper.paper,
            board.table.where,
            *(number.labels[axis] for axis in axes),
            printed,
            number.std,
        ]
        lines.append([*row, number.n, *(pair.ours or (None,) * 3), pair.difference, pair.z, *same, pair.why])
    return _csv(lines)


def _csv(lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(["" if x is None else x for x in line] for line in lines)
    return out.getvalue()
