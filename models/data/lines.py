"""Tables as people have them, row by row: tsv and csv by position, jsonl and json lists by key, BOM or not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.models.data.files import POINTER
from sweeper.models.data.splits import SPLITS, WORDS
from sweeper.models.errors import UserError, one_line

# how published files name the splits
NAMES = {
    split: [word for word, number in WORDS.items() if SPLITS[number] == split and not word.isdigit()]
    for split in SPLITS
}


def by_split(folder: Path, pattern: str) -> dict[str, Path]:
    """Return the files `pattern`, such as "{}.tsv", of each split that `folder` has: none, or train and test at least.

    Raises UserError where only one of train and test is there.
    """
    named = {split: [folder / pattern.format(word) for word in words] for split, words in NAMES.items()}
    found = {split: next((p for p in paths if p.is_file()), None) for split, paths in named.items()}
    if bool(found["train"]) != bool(found["test"]):
        there, lacking = ("train", "test") if found["train"] else ("test", "train")
        raise UserError(
            f"{found[there]} is there, but {named[lacking][0].name} beside it is not; put it there"
        )
    return {split: path for split, path in found.items() if path and found["train"]}


def contents(path: Path, fallback: str | None = None) -> str:
    """Return what a file says in UTF-8, without its BOM; where it is no UTF-8, in the encoding `fallback`.

    Raises UserError for a file that cannot be read, another encoding, a Git-LFS pointer.
    """
    try:
        found = path.read_bytes()
        said = found.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); put the published file there") from error
    except UnicodeDecodeError as error:
        if fallback is None:
            raise UserError(f"{path} is no UTF-8 text ({one_line(error)}); convert it") from error
        said = found.decode(fallback)
    if found.startswith(POINTER):
        raise UserError(f"{path} is a Git-LFS pointer, not the file itself; fetch it by git lfs pull")
    return said


def fields(path: Path, least: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each line of a tab-separated file, its header included, empty lines left out.

    Quotes are letters like any other. Raises UserError for a line of fewer than `least` fields.
    """
    for number, line in lines(path):
        found = line.split("\t")
        if len(found) < least:
            raise UserError(
                f"{path} line {number} has {len(found)} tab-separated fields; at least {least} are needed"
            )
        yield number, found


def commas(path: Path, least: int) -> Iterator[list[str]]:
    """Yield the fields of each row of a comma-separated file, quoted or not; raises as `fields`."""
    rows = csv.reader(io.StringIO(contents(path), newline=""))
    for found in filter(None, rows):
        if len(found) < least:
            raise UserError(
                f"{path} line {rows.line_num} has {len(found)} comma-separated fields; at least {least} are needed"
            )
        yield found


def pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the first word of each line and the rest of it; raise UserError for a line of one word."""
    for number, line in lines(path):
        first, *rest = line.split(maxsplit=1)
        if not rest:
            raise UserError(
                f"{path} line {number} is {one_line(line)!r}; a name, a space and a label are needed"
            )
        yield first, rest[0].strip()


def objects(path: Path, *needed: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a jsonl file or of a json list; raise UserError where one lacks a `needed` key."""
    texts = [contents(path)] if path.suffix == ".json" else [line for _, line in lines(path)]
    try:
        found = [json.loads(text) for text in texts]
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({one_line(error)}); download it again") from error
    if path.suffix == ".json" and isinstance(found[0], list):
        found = found[0]
    for number, row in enumerate(found, 1):
        lacking = [key for key in needed if not isinstance(row, dict) or key not in row]
        if lacking:
            raise UserError(f"{path} object {number} has no {lacking[0]!r}; {', '.join(needed)} are needed")
        yield row


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of each line that is not empty; separators of Unicode end no line."""
    for number, line in enumerate(io.StringIO(contents(path)), 1):
        if line.strip():
            yield number, line.rstrip("\r\n")
