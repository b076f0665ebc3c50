"""`twitter2015`: tweets with an image, and the sentiment towards a target that each names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find_one
from sweeper.models.data.lines import by_split, contents
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import (
    Form,
    Row,
    files_of,
    gathered,
    loaded,
    readers,
    targeted,
    tweets,
)
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count

CITE = "Yu and Jiang: Adapting BERT for Target-Oriented Multimodal Sentiment Classification. IJCAI 2019"
LICENCE = "none is known; the tweets are their authors'"
GET = (
    "https://github.com/jefferyYu/TomBERT (tables in absa_data; its README links the archive with the images)"
)
FLAWS = (
    "the header of test.tsv is shifted by one column and names two columns alike; columns are read by position",
    "a tweet with several targets is several samples that differ in the target alone; its image stands in each",
)
PUBLISHED = Published(
    cite=CITE,
    licence=LICENCE,
    get=GET,
    layout="""\
IJCAI2019_data/twitter2015/train.tsv, dev.tsv, test.tsv    index, label, image file, tweet with $T$, target
IJCAI2019_data/twitter2015_images/<image file>
(or absa_data/ in place of IJCAI2019_data/; or .txt in place of .tsv, four lines each: tweet, target, label, image)""",
    counts={"train": 3179, "validation": 1122, "test": 1037},
    flaws=FLAWS,
)
CLASSES = ("0", "1", "2")  # negative, neutral, positive
TOPS = ("IJCAI2019_data", "absa_data", ".")


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    text: Form = "tokens",
    tokenizer: str = "bert-base-uncased",
    length: Count = 64,
    size: Count = 224,
    missing: Missing = "refuse",
) -> Dataset:
    """Return the tweets, `text`, their target filled in and once more at the end, with their `image`.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks. Raises
    UserError for missing tables and lines that cannot be read.
    """
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    return loaded(samples(root), PUBLISHED, own, cache, missing=missing)


def files(*, root: Path | None = None, **options: object) -> list[Path]:
    """Return the tables and the files that they name."""
    return files_of(tables(folder(root)), samples(root), **options)


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    place = folder(root)
    return gathered("twitter2015", rows(place, "twitter2015"), CITE, CLASSES)


def folder(root: Path | None) -> Path:
    """Return the folder of the tables."""
    places = [f"{top}/twitter2015" for top in TOPS]
    return find_one("twitter2015", root, places, "train.tsv, dev.tsv and test.tsv")


def tables(folder: Path) -> Sequence[Path]:
    """Return the table of each split; raise UserError if there is none."""
    found = by_split(folder, "{}.tsv") or by_split(folder, "{}.txt")
    if not found:
        raise UserError(f"{folder} has no train.tsv and test.tsv; put the published tables there")
    return list(found.values())


def rows(folder: Path, name: str) -> list[Row]:
    """Return the rows of all splits; images are in <name>_images beside the folder, or in it."""
    images = folder.parent / f"{name}_images"
    images = images if images.is_dir() or not (folder / images.name).is_dir() else folder / images.name
    if tables(folder)[0].suffix == ".tsv":
        return list(tweets(folder, images))
    return [row for split, path in by_split(folder, "{}.txt").items() for row in _fours(path, split, images)]


def _fours(path: Path, split: str, images: Path) -> Iterator[Row]:
    """Yield the rows of a table of four lines to a sample: tweet with $T$, target, -1 to 1, image file."""
    lines = [line.strip() for line in contents(path).rstrip("\n").split("\n")]
    if len(lines) % 4:
        raise UserError(
            f"{path} has {len(lines)} lines; four to a sample are needed: tweet, target, label, image file"
        )
    for at in range(0, len(lines), 4):
        said, target, label, image = lines[at : at + 4]
        if label not in ("-1", "0", "1"):
            raise UserError(f"{path} line {at + 3} is {label!r}; a label -1, 0 or 1 is needed")
        yield Row(f"{split}-{at // 4}", split, str(int(label) + 1), targeted(said, target), images / image)
