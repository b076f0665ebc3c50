"""What datasets of texts with an image each share: a row, the split files that papers pass on, the readers."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sweeper.models.data import reading
from sweeper.models.data.dataset import Dataset
from sweeper.models.data.lines import by_split, fields, objects
from sweeper.models.data.published import Published, tell
from sweeper.models.data.readers.base import Cell, Reader
from sweeper.models.data.readers.image import Image, picture
from sweeper.models.data.readers.text import Text
from sweeper.models.data.samples import Samples
from sweeper.models.errors import UserError, choose

# of texts: a tokenizer's tokens, or what needs no model (readers/text.py)
Form = Literal["tokens", "words", "bag"]
MARGIN = 8 / 7  # Resize(256) before CenterCrop(224)


class Row(NamedTuple):
    """One sample: its label, or labels where it has several; a text or an image that lacks is "" or None."""

    id: str
    split: str
    label: str | tuple[str, ...]
    text: str
    image: Path | None
    group: str = ""


def gathered(
    name: str, rows: Sequence[Row], cite: str, classes: Sequence[str] = (), *, grouped: bool = False
) -> Samples:
    """Return rows as Samples; classes are those of `rows` in alphabetical order unless given.

    Labels in tuples make the task multilabel. Raises UserError for a label that is none of `classes`.
    """
    if not rows:
        raise UserError(f"dataset {name!r}: its tables have no rows; download them again")
    several = [row.label if isinstance(row.label, tuple) else (row.label,) for row in rows]
    found = sorted({label for own in several for label in own})
    known = {label: number for number, label in enumerate(classes or found)}
    for label in found:
        choose("label", label, known, f"dataset {name!r}")
    multilabel = isinstance(rows[0].label, tuple)
    if multilabel:
        target = np.array([[label in own for label in known] for own in several], np.int64)
    else:
        target = np.array([known[own[0]] for own in several])
    return Samples(
        name=name,
        ids=tuple(row.id for row in rows),
        cells={
            "text": [row.text.strip() or None for row in rows],
            "image": [None if row.image is None else (row.image,) for row in rows],
        },
        split=tuple(row.split for row in rows),
        target=target,
        task="multilabel" if multilabel else "classification",
        cite=cite,
        classes=tuple(known),
        group=np.array([row.group for row in rows]) if grouped else None,
    )


def listed(folder: Path) -> list[Row]:
    """Return the rows of {train,dev,test}.jsonl with id, label, text and img or image, as MMBT and QMF pass them on.

    Images are named from the file's folder. No rows where the files are not there; raises as `objects`.
    """
    return [
        Row(
            str(found["id"]),
            split,
            tuple(found["label"]) if isinstance(found["label"], list) else str(found["label"]),
            str(found["text"] or ""),
            image_of(path, found),
        )
        for split, path in by_split(folder, "{}.jsonl").items()
        for found in objects(path, "id", "label", "text")
    ]


def image_of(path: Path, found: Mapping[str, Any]) -> Path | None:
    """Return the file that an object of the table at `path` names as `img` or `image`, None for none."""
    name = found.get("img") or found.get("image")
    return path.parent / str(name) if name else None


def first_folder(parent: Path, *names: str) -> Path:
    """Return the first of some folders in `parent` that is there, the first one where none is."""
    return next((parent / name for name in names if (parent / name).is_dir()), parent / names[0])


def tweets(folder: Path, images: Path) -> Iterator[Row]:
    """Yield the rows of {train,dev,test}.tsv: label, image file and text, perhaps an index before, a target behind.

    Columns are told by their number, since the header of test.tsv is shifted by one and names two of them alike.
    """
    for split, path in by_split(folder, "{}.tsv").items():
        for number, found in fields(path, least=3):
            if found[0].strip().casefold() in ("index", "label", "#1 label"):
                continue
            label, image, said, *target = found[len(found) > 3 :]
            yield Row(
                f"{split}-{number}", split, label.strip(), targeted(said, *target[:1]), images / image.strip()
            )


def targeted(said: str, target: str = "") -> str:
    """Return a tweet with its target in the place of $T$, and the target again, since a tweet may stand for several."""
    return f"{said.replace('$T$', target)} {target}".strip() if target else said


class Centre(Image):
    """The middle of an image: 7/8 of its shorter side, as MMBT's family crops 224 pixels of 256."""

    def read(self, cell: Cell) -> np.ndarray:
        """Return the pixels (3, size, size)."""
        whole = round(self.size * MARGIN)
        begin = (whole - self.size) // 2
        within = slice(begin, begin + self.size)
        return picture(cell[0], (3, whole, whole), self.fit)[:, within, within]


def readers(*, text: Form, tokenizer: str, length: int, size: int, **_: object) -> dict[str, Reader]:
    """Return the readers of both modalities."""
    form = {"tokenizer": tokenizer} if text == "tokens" else {"form": text}
    return {"text": Text(**form, length=length), "image": Centre(size=size)}


def loaded(
    samples: Samples,
    published: Published,
    own: Mapping[str, Reader],
    cache: Path | None,
    **how: Any,  # noqa: ANN401 - of reading.read
) -> Dataset:
    """Return the dataset of rows that are told apart from what is `published`; raises as reading.read."""
    compare(samples, published)
    return reading.read(samples, own, cache=cache, **how)


def files_of(tables: Iterable[Path], samples: Samples, **options: Any) -> list[Path]:  # noqa: ANN401 - of a dataset
    """Return the tables, the images and the tokenizer's files."""
    return [*tables, *reading.files(samples, readers(**options))]


def compare(samples: Samples, published: Published) -> None:
    """Say on stderr where the rows are not as many as published, and how many test rows repeat a train row."""
    found = Counter(split or "all" for split in samples.split)
    tell(samples.name, replace(published, counts=uncarved(published.counts, found)), found)
    if sentence := repeated(samples):
        print(f"dataset {samples.name!r}: {sentence}", file=sys.stderr)


def uncarved(counts: Mapping[str, int], found: Mapping[str, int]) -> dict[str, int]:
    """Return `counts` where a split that is not `found` stands among the rows that it is carved from."""
    whole = "train" if "train" in found else "all"
    wanted: Counter[str] = Counter()
    for split, count in counts.items():
        wanted[split if split in found else whole] += count
    return dict(wanted)


def repeated(samples: Samples) -> str:
    """Return a sentence on test rows with a cell, such as a text or an image file, that a train row has; "" if none."""
    rows = {split: [i for i, s in enumerate(samples.split) if s == split] for split in ("train", "test")}
    told = []
    for modality, cells in samples.cells.items():
        seen = {cells[i] for i in rows["train"]} - {None}
        count = sum(cells[i] in seen for i in rows["test"])
        told += [f"{count:,} in {modality}"] if count else []
    return f"of {len(rows['test']):,} test rows some repeat a train row: {', '.join(told)}" if told else ""
