"""`sarcasm`: tweets with an image, sarcastic or not, by their hashtags (HFM)."""

from __future__ import annotations

import ast
from pathlib import Path

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find_one
from sweeper.models.data.lines import by_split, lines
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import (
    Form,
    Row,
    files_of,
    first_folder,
    gathered,
    loaded,
    readers,
    tweets,
)
from sweeper.models.errors import UserError, one_line
from sweeper.models.schema.ranges import Count

PUBLISHED = Published(
    cite="Cai, Cai and Wan: Multi-Modal Sarcasm Detection in Twitter with Hierarchical Fusion Model. ACL 2019",
    licence="none is known; the tweets are their authors'",
    get="https://github.com/headacheboy/data-of-multimodal-sarcasm-detection (texts; its README links the images)",
    layout="""\
sarcasm/text/train.txt, valid2.txt, test2.txt    ['<id>', '<tweet>', <label>] in each line
sarcasm/dataset_image/<id>.jpg
or, instead of text/: sarcasm/train.tsv, dev.tsv, test.tsv (label, image file, tweet)""",
    counts={"train": 19816, "validation": 2410, "test": 2409},
    flaws=(
        "train holds more tweets than are used: those with a word such as sarcasm or <url> are left out, as in the"
        " paper, and have no image",
        "train is labelled by hashtags; of two labels in validation and test, hashtag and annotator, the second counts",
        "hashtags and emoji_<n> words that are left give labels away (Qin et al., MMSD2.0, Findings of ACL 2023)",
    ),
)
CLASSES = ("0", "1")  # not sarcastic, sarcastic
# a tweet with one of these words is left out, as the README of the texts says
CUES = {
    "exgag",
    "sarcasm",
    "sarcastic",
    "reposting",
    "<url>",
    "joke",
    "humour",
    "humor",
    "jokes",
    "irony",
    "ironic",
}
SPLITS = {"train": "train.txt", "validation": "valid2.txt", "test": "test2.txt"}


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
    """Return the tweets, `text`, with their `image`, in the published splits.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks. Raises
    UserError for missing tables and lines that cannot be read.
    """
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    return loaded(samples(root), PUBLISHED, own, cache, missing=missing)


def files(*, root: Path | None = None, **options: object) -> list[Path]:
    """Return the tables and the files that they name."""
    return files_of(_tables(root).values(), samples(root), **options)


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    folder, tables = _folder(root), _tables(root)
    images = first_folder(folder, "dataset_image", "images", "image")
    if tables["train"].suffix == ".tsv":
        rows = list(tweets(folder, images))
    else:
        rows = [row for split, path in tables.items() for row in _rows(path, split, images)]
    return gathered("sarcasm", rows, PUBLISHED.cite, CLASSES)


def _folder(root: Path | None) -> Path:
    names = ("sarcasm", "data-of-multimodal-sarcasm-detection")
    return find_one("sarcasm", root, names, "the folder text and the images")


def _tables(root: Path | None) -> dict[str, Path]:
    """Return the table of each split."""
    folder = _folder(root)
    return by_split(folder, "{}.tsv") or {split: folder / "text" / name for split, name in SPLITS.items()}


def _rows(path: Path, split: str, images: Path) -> list[Row]:
    """Return the rows of lines that are Python lists of an id, a tweet and labels, of which the last one counts."""
    found = []
    for number, line in lines(path):
        try:
            name, said, *_, label = ast.literal_eval(line.strip())
            words = set(said.split())
        except (ValueError, SyntaxError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} line {number} is no list of id, tweet and label ({one_line(error)}); download it again"
            ) from error
        if not CUES & words:
            found.append(Row(str(name), split, str(label), said, images / f"{name}.jpg"))
    return found
