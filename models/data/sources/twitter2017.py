"""`twitter2017`: `twitter2015`'s kind of tweets of two years later."""

from __future__ import annotations

from pathlib import Path

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find_one
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.sources import twitter2015
from sweeper.models.data.text_image import Form, files_of, gathered, loaded, readers
from sweeper.models.schema.ranges import Count

PUBLISHED = Published(
    cite=twitter2015.CITE,
    licence=twitter2015.LICENCE,
    get=twitter2015.GET,
    layout="""\
IJCAI2019_data/twitter2017/train.tsv, dev.tsv, test.tsv    index, label, image file, tweet with $T$, target
IJCAI2019_data/twitter2017_images/<image file>
(or absa_data/twitter/ for the tables; or .txt in place of .tsv, four lines each: tweet, target, label, image)""",
    counts={"train": 3562, "validation": 1176, "test": 1234},
    flaws=twitter2015.FLAWS,
)


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
    return files_of(twitter2015.tables(folder(root)), samples(root), **options)


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    rows = twitter2015.rows(folder(root), "twitter2017")
    return gathered("twitter2017", rows, PUBLISHED.cite, twitter2015.CLASSES)


def folder(root: Path | None) -> Path:
    """Return the folder of the tables, which TomBERT's repository calls `twitter`."""
    places = [f"{top}/{name}" for top in twitter2015.TOPS for name in ("twitter2017", "twitter")]
    return find_one("twitter2017", root, places, "train.tsv, dev.tsv and test.tsv")
