"""`food101`: pages of recipes, a title and an image each, of 101 dishes (UPMC Food-101)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find_one
from sweeper.models.data.lines import by_split, commas, contents, pairs
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import Form, Row, files_of, gathered, listed, loaded, readers
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, ShareWithin

PUBLISHED = Published(
    cite="Wang, Kumar, Thome, Cord and Precioso: Recipe Recognition with Large Multimodal Food Dataset. ICMEW 2015",
    licence="none is known, for research; texts and images are their authors'",
    get="https://www.kaggle.com/datasets/gianmarco96/upmcfood101",
    layout="""\
food101/images/train/<class>/<class>_<n>.jpg, food101/images/test/...
food101/texts/train_titles.csv, test_titles.csv    image file, title, label, with or without a header
(or food101/texts_txt/<class>/<class>_<n>.txt for the titles)
and for the split of a paper, in food101/:
  train.jsonl, dev.jsonl, test.jsonl         of MMBT, QMF and TMC
  my_train_food.txt, my_test_food.txt        of MLA: <class>_<n>.jpg <class>""",
    counts={"train": 62971, "validation": 5000, "test": 22715},
    flaws=(
        "there is no official validation split: 5,000 of train are drawn, by class; MMBT's were drawn without a seed",
        "pages were found by searching the web for the dish: the title often names it, and some images show no food",
        "papers count 22,716 test and 67,972 train samples as well",
    ),
)
SPLIT_FILES = "my_{}_food.txt"
TITLES = "texts/{}_titles.csv"
HEADER = ("image_path", "text", "label")  # columns in the order of a file without a header


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    text: Form = "tokens",
    tokenizer: str = "bert-base-uncased",
    length: Count = 512,
    size: Count = 224,
    missing: Missing = "refuse",
    validation_fraction: ShareWithin = 0.0736,
    split_seed: int = 0,
) -> Dataset:
    """Return the titles, `text`, with their `image`, in the splits of a paper's split files, else the official ones.

    Where there is no validation split, a share `validation_fraction` of each class of train is drawn, seeded by
    `split_seed`.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks. Raises
    UserError for missing tables and lines that cannot be read.
    """
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    carved = {"validation_fraction": validation_fraction, "split_seed": split_seed}
    return loaded(samples(root), PUBLISHED, own, cache, missing=missing, **carved)


def files(*, root: Path | None = None, **options: object) -> list[Path]:
    """Return the tables and the files that they name."""
    folder, found = _folder(root), samples(root)
    tables = by_split(folder, "{}.jsonl")
    if not tables:
        tables = {
            **by_split(folder, SPLIT_FILES),
            **{f"titles of {s}": p for s, p in by_split(folder, TITLES).items()},
        }
    texts = [] if tables else [_text(folder, *image) for image in found.cells["image"] if image]
    return files_of([*tables.values(), *filter(Path.is_file, texts)], found, **options)


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    folder = _folder(root)
    rows = listed(folder)
    if not rows:
        pages = {row.image.name: row for row in _titled(folder) or _walked(folder) if row.image}
        rows = _chosen(by_split(folder, SPLIT_FILES), pages) or list(pages.values())
    return gathered("food101", rows, PUBLISHED.cite)


def _folder(root: Path | None) -> Path:
    return find_one(
        "food101", root, ("food101", "UPMC_Food101", "upmcfood101"), "the folders images and texts"
    )


def _titled(folder: Path) -> list[Row]:
    """Return the rows of the tables of titles; their header says which column is which, where they have one."""
    found = []
    for split, path in by_split(folder, TITLES).items():
        order = HEADER
        for number, cells in enumerate(commas(path, least=3)):
            names = [cell.strip().casefold() for cell in cells]
            if number == 0 and HEADER[0] in names:
                order = tuple(name if name in ("image_path", "label") else "text" for name in names)
                continue
            cell = dict(zip(order, cells, strict=False))
            image = folder / f"images/{split}/{cell['label']}/{cell['image_path'].rpartition('/')[2]}"
            found.append(Row(image.stem, split, cell["label"], cell["text"], image))
    return found


def _walked(folder: Path) -> list[Row]:
    """Return the rows of the images' folders, with the texts of texts_txt."""
    found = []
    for split in ("train", "test"):
        for image in sorted((folder / "images" / split).glob("*/*.jpg")):
            text = _text(folder, image)
            said = contents(text, fallback="latin-1") if text.is_file() else ""
            found.append(Row(image.stem, split, image.parent.name, " ".join(said.split()), image))
    return found


def _text(folder: Path, image: Path) -> Path:
    return folder / "texts_txt" / image.parent.name / f"{image.stem}.txt"


def _chosen(tables: Mapping[str, Path], pages: Mapping[str, Row]) -> list[Row]:
    """Return the pages that a paper's split files name, in its splits."""
    found = []
    for split, path in tables.items():
        for name, _ in pairs(path):
            if name not in pages:
                raise UserError(f"{path} names {name}, which no table of titles and no folder of images has")
            found.append(pages[name]._replace(split=split))
    return found
