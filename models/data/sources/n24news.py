"""`n24news`: articles of the New York Times with their image, by section (N24News)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find_one
from sweeper.models.data.lines import by_split, objects
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import (
    Form,
    Row,
    files_of,
    first_folder,
    gathered,
    listed,
    loaded,
    readers,
)
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count

Part = Literal["abstract", "headline", "caption", "body"]
PUBLISHED = Published(
    cite="Wang, Shan, Zhang and Yang: N24News: A New Dataset for Multimodal News Classification. LREC 2022",
    licence="none is known, for research; texts and images are the New York Times'",
    get="https://github.com/billywzh717/N24News (its README links the archive)",
    layout="""\
N24News/news/nytimes_train.json, nytimes_dev.json, nytimes_test.json, or N24News/nytimes_dataset.json
    headline, caption, abstract, article (or body), section, image_id in each object of a list
N24News/imgs/<image_id>.jpg (or images/)
or N24News/<part>/{train,dev,test}.jsonl""",
    counts={"train": 48988, "validation": 6123, "test": 6124},
    flaws=(
        "part: caption has fewer samples in the papers' split files (6,096 in dev), since some images have no caption",
        "nytimes_dataset.json has no split: validation and test are drawn from it, a tenth of all each",
    ),
)


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    part: Part = "abstract",
    text: Form = "tokens",
    tokenizer: str = "bert-base-uncased",
    length: Count = 512,
    size: Count = 224,
    missing: Missing = "refuse",
    split_seed: int = 0,
) -> Dataset:
    """Return one `part` of each article, `text`, with its `image`, in the published splits.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks;
    `split_seed` seeds splits where none are published. Raises UserError for missing tables and lines that cannot be
    read.
    """
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    shares = {"validation_fraction": 1 / 9, "test_fraction": 0.1}
    return loaded(
        samples(root, part), PUBLISHED, own, cache, missing=missing, split_seed=split_seed, **shares
    )


def files(*, root: Path | None = None, part: Part = "abstract", **options: object) -> list[Path]:
    """Return the tables and the files that they name."""
    return files_of(_tables(_folder(root), part).values(), samples(root, part), **options)


def samples(root: Path | None = None, part: Part = "abstract", **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    folder = _folder(root)
    images = first_folder(folder, "imgs", "images")
    tables = _tables(folder, part)
    if "jsonl" in {path.suffix[1:] for path in tables.values()}:
        rows = [
            row if _there(row.image) else row._replace(image=_below(images, row))
            for row in listed(folder / part)
        ]
    else:
        rows = [row for split, path in tables.items() for row in _rows(path, split, images, part)]
    return gathered("n24news", rows, PUBLISHED.cite)


def _folder(root: Path | None) -> Path:
    return find_one("n24news", root, ("N24News", "n24news"), "the folder news and the images")


def _tables(folder: Path, part: str) -> dict[str, Path]:
    """Return the table of each split, or the one of all; raise UserError if there is none."""
    for place in (folder / "news", folder):
        if tables := by_split(place, "nytimes_{}.json"):
            return tables
        if (whole := place / "nytimes_dataset.json").is_file():
            return {"": whole}
    if tables := by_split(folder / part, "{}.jsonl"):
        return tables
    raise UserError(
        f"dataset 'n24news': {folder} has no news/nytimes_train.json, nytimes_dataset.json or {part}/train.jsonl;"
        " `sweeper datasets n24news` says where to get them"
    )


def _rows(path: Path, split: str, images: Path, part: str) -> list[Row]:
    """Return the rows of a list of articles."""
    found = []
    for article in objects(path, "section", "image_id"):
        keys = ("body", "article") if part == "body" else (part,)
        said = next((article[key] for key in keys if article.get(key)), "")
        name = str(article["image_id"])
        found.append(Row(name, split, str(article["section"]), str(said), images / f"{name}.jpg"))
    return found


def _there(image: Path | None) -> bool:
    return image is not None and image.is_file()


def _below(images: Path, row: Row) -> Path | None:
    """Return the image of a row whose path was another machine's."""
    return images / row.image.name if row.image else None
