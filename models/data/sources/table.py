"""`table`: your own files, named by a table (csv, tsv, jsonl, parquet) or a folder in Hugging Face's layout."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sweeper.models.data import reading, tables
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.labels import Task, target_of, task_of
from sweeper.models.data.readers.base import Cell, Reader
from sweeper.models.data.readers.vector import numbers
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.splits import SPLITS, numbered
from sweeper.models.data.tables import word_of
from sweeper.models.errors import UserError, choose
from sweeper.models.schema import entries as registry
from sweeper.models.schema.ranges import ShareWithin

NAME = "table"
# what columns are called, in lower case; of several the first is taken
SPECIAL = {
    "target": ("label", "labels", "class", "category", "target", "y", "mask"),
    "id": ("id", "sample_id", "index", "guid", "uid"),
    "split": ("split", "mode", "subset"),
    "group": ("group", "speaker", "subject", "patient", "person"),
}
# modality and reader of columns by their name; a film is a video before it is its sound track
MODALITIES = {
    "text": (
        "text",
        ("text", "sentence", "caption", "question", "title", "tweet", "utterance", "transcript"),
    ),
    "image": ("image", ("image", "img", "image_path", "img_path", "image_file", "picture", "photo")),
    "video": ("video", ("video", "clip", "video_path", "video_file")),
    "audio": ("sound", ("audio", "sound", "wav", "audio_path", "audio_file", "speech")),
    "vector": ("vector", ("vector", "features", "embedding")),
}
FILES = ("file_name", "filename", "file", "path", "file_path", "filepath")  # modality by the files' endings
Named = str | dict[str, Any]  # a reader's name, or {name: …, options}


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    path: Path,
    target: str | None = None,
    split: str | None = None,
    group: str | None = None,
    columns: dict[str, Named] | None = None,
    task: Task | None = None,
    missing: Missing = "refuse",
    standardize: Literal["feature", "modality", "none"] = "feature",
    validation_fraction: ShareWithin = 0.15,
    test_fraction: ShareWithin = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the samples of a table, one a row, or of a folder with one for each split (train.csv, train/metadata.csv).

    A relative `path` starts at `root`, without one at the working folder.

    - Modalities are the `columns` {column: reader, or {name: reader, options}}; without it, those that are called text
      (sentence, caption, question, …), image (img, image_path, …), audio, video, vector, or file_name, whose endings
      say what they are. Cells hold a text, numbers, or paths from the table's folder on, several with ; between them.
      An empty cell is a modality that the row lacks.
    - `target` names the column of labels; without it label, class, category, target, y or mask. The `task`
      is classification, or multilabel where a cell holds `a|b` (`|` alone: none), regression where numbers have
      fractions, segmentation where cells are paths of masks (one channel, class numbers, 255 void). Rows whose label
      is empty are left out.
    - `split` (mode, subset, …), optional: train, validation (valid, val, dev) or test.
    - `group` (speaker, subject, patient, …), optional: no group stands in two splits.

    Files that cannot be used are refused, or their rows left out (`missing: drop`), or their modality counts as
    lacking (`absent`). The splits not given are drawn, and `standardize` scales, as in `arrays`. Raises UserError for
    whatever does not fit this.
    """
    own = _samples(root, path, target, split, group, columns, task)
    return reading.read(
        *own,
        cache=cache,
        missing=missing,
        standardize=standardize,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
    )


def files(
    *, root: Path | None = None, path: Path, missing: Missing = "refuse", **options: object
) -> list[Path]:
    """Return the tables, the files that they name and the readers' code; raises UserError for files as `load`."""
    own = _samples(root, path, **_known(options))
    reading.check(*own, missing)
    code = {Path(inspect.getfile(type(reader))) for reader in own[1].values()}
    named = [table for _, table in tables.found(NAME, _source(root, path))]
    return [*named, *reading.files(*own), *sorted(code)]


def readers(*, root: Path | None = None, path: Path, **options: object) -> dict[str, Reader]:
    """Return those of the modalities in the order of the table's columns."""
    found, known = _samples(root, path, **_known(options))
    return {m: known[m] for m in found.cells}


def samples(*, root: Path | None = None, path: Path, **options: object) -> Samples:
    """Return the rows that have a label."""
    return _samples(root, path, **_known(options))[0]


def task(*, root: Path | None = None, path: Path, task: str | None = None, **options: object) -> str:
    """Return the task, named or read off the labels."""
    return task or _samples(root, path, **_known(options))[0].task


def _known(options: Mapping[str, object]) -> dict[str, Any]:
    """Return those options that say what the samples are."""
    return {name: options.get(name) for name in ("target", "split", "group", "columns", "task")}


def _source(root: Path | None, path: Path) -> Path:
    return Path(root or ".") / Path(path).expanduser()


def _samples(
    root: Path | None,
    path: Path,
    target: str | None,
    split: str | None,
    group: str | None,
    columns: Mapping[str, Named] | None,
    task: str | None,
) -> tuple[Samples, dict[str, Reader]]:
    """Return the rows that have a label, and the reader of each modality."""
    source = _source(root, path)
    table = tables.read(NAME, source)
    places = _places(table, source, columns or {}, target=target, split=split, group=group)
    named = _chosen(table, source, columns, set(places.values()))
    labels = [word_of(cell, "|") for cell in table.columns[places["target"]]]
    rows = [row for row, word in enumerate(labels) if word]
    if not rows:
        raise UserError(
            f"dataset {NAME!r}: column {places['target']!r} of {source} is empty; rows need a label"
        )
    task = task or task_of([labels[row] for row in rows])
    if task == "segmentation":
        found, classes = np.array([table.folders[row] / labels[row] for row in rows], dtype=object), ()
    else:
        found, classes = target_of(NAME, task, [labels[row] for row in rows])
    special = {key: [word_of(table.columns[column][row]) for row in rows] for key, column in places.items()}
    groups = [word or f"row {row}" for word, row in zip(special.get("group", []), rows, strict=False)]
    readers = {m: _reader(column, own, table) for m, (column, own) in named.items()}
    samples = Samples(
        name=NAME,
        ids=tuple(
            word or str(row) for word, row in zip(special.get("id", [""] * len(rows)), rows, strict=True)
        ),
        cells={
            m: [_cell(table, column, row, readers[m]) for row in rows] for m, (column, _) in named.items()
        },
        split=_splits(special.get("split"), [table.split[row] for row in rows]),
        target=found,
        task=task,
        cite=f"table {source.name}",
        classes=classes,
        group=np.array(groups) if groups else None,
    )
    return samples, readers


def _places(
    table: tables.Table, source: Path, columns: Collection[str], **said: str | None
) -> dict[str, str]:
    """Return the column of the label and, where there are, of id, split and group: as said, or by its name."""
    free = {column.strip().lower(): column for column in table.columns if column not in columns}
    found = {}
    for what, names in SPECIAL.items():
        if said.get(what) is not None:
            found[what] = choose("column", said[what], table.columns, f"{what} (dataset {NAME!r}, {source})")
        elif column := next((free[name] for name in names if name in free), None):
            found[what] = column
    if "target" not in found:
        raise UserError(
            f"dataset {NAME!r}: {source} has no column called {', '.join(SPECIAL['target'])}; say target:, one of"
            f" {', '.join(table.columns)}"
        )
    if found["target"] in columns:
        raise UserError(
            f"dataset {NAME!r}: column {found['target']!r} is the target and cannot be an input as well"
        )
    return found


def _chosen(
    table: tables.Table, source: Path, columns: Mapping[str, Named] | None, special: Collection[str]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return {modality: (column, its reader as {name: …, options})} in the order of the table."""
    for column, own in (columns or {}).items():
        choose("column", column, table.columns, f"columns (dataset {NAME!r}, {source})")
        if not isinstance(own, str) and not isinstance(own.get("name"), str):
            raise UserError(
                f"dataset {NAME!r}: columns: {column!r} is {own!r}; it needs the name of a reader"
            )
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for column in table.columns:
        if columns is None:
            modality, reader = (None, None) if column in special else _by_name(table, column)
        else:
            modality, reader = re.sub(r"\W+", "_", column), columns.get(column)
        if reader is None:
            continue
        if modality in found:
            raise UserError(
                f"dataset {NAME!r}: columns {found[modality][0]!r} and {column!r} of {source} are both {modality}; say"
                " columns: {column: reader} of those to be used"
            )
        found[modality] = (column, {"name": reader} if isinstance(reader, str) else dict(reader))
    if not found:
        raise UserError(
            f"dataset {NAME!r}: no column of {source} is called like a modality ({', '.join(MODALITIES)}, {FILES[0]});"
            f" say columns: {{column: reader}}, of {', '.join(table.columns)}"
        )
    return found


def _by_name(table: tables.Table, column: str) -> tuple[str | None, str | None]:
    """Return the modality and the reader that a column's name means, or the ending of the first file in it."""
    name = column.strip().lower()
    for modality, (reader, names) in MODALITIES.items():
        if name in names:
            return modality, reader
    if name in FILES or name.endswith("_file_name"):
        first = next((word for cell in table.columns[column] if (word := word_of(cell, ";"))), "")
        ending = Path(first.split(";")[0]).suffix.lower()
        for modality, (reader, _) in MODALITIES.items():
            if ending in registry.entry("reader", reader).facts["suffixes"]:
                return modality, reader
    return None, None


def _reader(column: str, named: dict[str, Any], table: tables.Table) -> Reader:
    """Return a column's reader; a vector's size is that of the first cell, unless it is said."""
    entry = registry.entry("reader", named["name"])
    if named["name"] == "vector" and "size" not in named:
        first = next((word for cell in table.columns[column] if (word := word_of(cell))), "")
        named = {**named, "size": max(1, len(numbers(first)))}
    return entry.build(named)


def _cell(table: tables.Table, column: str, row: int, reader: Reader) -> Cell | None:
    """Return a cell as its reader takes it: a text, or paths from the table's folder on."""
    value = table.columns[column][row]
    if not reader.suffixes:
        return word_of(value) or None
    return (
        tuple(table.folders[row] / part.strip() for part in word_of(value, ";").split(";") if part.strip())
        or None
    )


def _splits(words: Sequence[str] | None, of_files: list[str]) -> tuple[str, ...]:
    """Return the split of each row: as its cell says, else as its table's name does, "" where neither."""
    if words is None or not any(words):
        return tuple(of_files)
    return tuple(SPLITS[i] for i in numbered(NAME, np.array(words)))
