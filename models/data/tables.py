"""Tables of samples as people have them: csv, tsv, jsonl or parquet, or a folder of one for each split."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.models.data.files import readable
from sweeper.models.data.splits import SPLITS, WORDS
from sweeper.models.errors import UserError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
METADATA = "metadata"  # what the table of a folder is called in Hugging Face's layout

Column = list[object]  # of N cells, None where empty


@dataclass(frozen=True)
class Table:
    """Columns {name: N cells}, the folder (N,) that each row's paths start at, and its split (N,), "" for none."""

    columns: dict[str, Column]
    folders: list[Path]
    split: list[str]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.folders)


def read(name: str, source: Path) -> Table:
    """Return the table of a file or a folder, the rows of all splits below each other; raises UserError."""
    columns: dict[str, Column] = {}
    folders: list[Path] = []
    splits: list[str] = []
    for split, path in found(name, source):
        with readable(name, path):
            names, cells = _read(name, path)
        own = dict(zip(_checked(name, path, names), cells, strict=True))
        count = len(next(iter(own.values()), []))
        for column in {**columns, **own}:
            before = columns.setdefault(column, [None] * len(folders))
            before += own.get(column, [None] * count)
        folders += [path.parent] * count
        splits += [split] * count
    if not folders:
        raise UserError(f"dataset {name!r}: {source} has no row below its header; give a row to each sample")
    return Table(columns, folders, splits)


def found(name: str, source: Path) -> list[tuple[str, Path]]:
    """Return (split, file) of a table, the split "" where the file does not say it.

    A folder holds metadata.csv (or another ending), or for each split train.csv or train/metadata.csv, where `train`
    is any of the words for it. Raises UserError for another file, a folder without, and one with two for a split.
    """
    with readable(name, source):
        folder, there = source.is_dir(), source.exists()
    if not folder:
        if there and source.suffix.lower() in SUFFIXES:
            return [("", source)]
        what = f"is no table ({', '.join(SUFFIXES)})" if there else "does not exist"
        raise UserError(
            f"dataset {name!r}: {source} {what}; give the path of a table or of a folder with one"
        )
    places = {"": [source / METADATA]}
    for word, number in WORDS.items():
        places.setdefault(SPLITS[number], []).extend([source / word, source / word / METADATA])
    tables = {
        split: [path for p in own for s in SUFFIXES if (path := p.with_name(p.name + s)).is_file()]
        for split, own in places.items()
    }
    for paths in tables.values():
        if len(paths) > 1:
            raise UserError(
                f"dataset {name!r}: {paths[0]} and {paths[1]} are tables of the same rows; keep one"
            )
    every = [(split, paths[0]) for split, paths in tables.items() if paths]
    if not every:
        raise UserError(
            f"dataset {name!r}: {source} has no table; {METADATA}.csv, or train.csv or train/{METADATA}.csv and one for"
            f" each other split is needed ({', '.join(SUFFIXES)})"
        )
    return every[:1] if not every[0][0] else every


def word_of(value: object, between: str = " ") -> str:
    """Return what a cell holds as text, "" where it is empty, with `between` the items of a list."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return between.join(word_of(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, dict | bytes):
        raise UserError(
            f"a cell holds {type(value).__name__}, like {str(value)[:40]!r}; texts, numbers, lists of"
            " them and paths are admissible"
        )
    return str(value).strip()


def _read(name: str, path: Path) -> tuple[list[str], list[Column]]:
    """Return the names of a file's columns, and their cells."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        return table.column_names, [column.to_pylist() for column in table.columns]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if suffix == ".jsonl":
                return _json_lines(name, path, file)
            return _separated(name, path, csv.reader(file, delimiter=SEPARATORS[suffix], strict=True))
    except UnicodeDecodeError as error:
        raise UserError(
            f"dataset {name!r}: {path} is not UTF-8 ({error.reason}, byte {error.object[error.start]:#04x}); save it so"
        ) from error
    except csv.Error as error:
        raise UserError(
            f"dataset {name!r}: {path} is no table of its ending ({error}); write it anew"
        ) from error


def _separated(name: str, path: Path, lines: Iterator[list[str]]) -> tuple[list[str], list[Column]]:
    """Return the columns of a csv or tsv; raise UserError for rows that are not as long as the header."""
    header = next(lines, [])
    own = SEPARATORS[path.suffix.lower()]
    other = [s for s in (",", ";", "\t", "|") if s != own and len(header) == 1 and s in header[0]]
    if other:
        raise UserError(
            f"dataset {name!r}: {path} has one column, {header[0]!r}; it seems to be separated by {other[0]!r},"
            f" but a {path.suffix} is by {own!r}"
        )
    columns: list[Column] = [[] for _ in header]
    for line in lines:
        if not line:
            continue
        number = len(columns[0]) + 1 if columns else 1
        if len(line) != len(header):
            raise UserError(
                f"dataset {name!r}: row {number} of {path} has {len(line)} cells but the header {len(header)}; put"
                " a cell that holds the separator in double quotes"
            )
        if own == "\t" and any("\t" in cell and "\n" in cell for cell in line):
            raise UserError(
                f"dataset {name!r}: row {number} of {path} runs over lines with tabs in them; a double quote that"
                " begins a cell is not closed, write it twice within double quotes"
            )
        for column, cell in zip(columns, line, strict=True):
            column.append(cell.strip() or None)
    return header, columns


def _json_lines(name: str, path: Path, lines: Iterator[str]) -> tuple[list[str], list[Column]]:
    """Return the columns that the objects of a jsonl have together; where one lacks a key the cell is empty."""
    rows: list[dict[str, object]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"dataset {name!r}: line {number} of {path} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f"dataset {name!r}: line {number} of {path} is no object {{…}}; each line is one")
        rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return keys, [[row.get(key) for row in rows] for key in keys]


def _checked(name: str, path: Path, names: list[str]) -> list[str]:
    """Return the names of columns in one line each; raise UserError where none has one or two have the same."""
    names = [" ".join(str(word).split()) for word in names]
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice or not any(names):
        what = f"names {twice[0]!r} twice" if twice else "names no column"
        raise UserError(f"dataset {name!r}: the header of {path} {what}; give each column a name of its own")
    return names
