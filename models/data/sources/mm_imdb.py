"""`mm_imdb`: films, a plot and a poster each, by genre: 23 labels of which a film has several (MM-IMDB)."""

from __future__ import annotations

from pathlib import Path

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find_one
from sweeper.models.data.lines import by_split, objects
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import Form, Row, files_of, gathered, listed, loaded, readers
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count

PUBLISHED = Published(
    cite="Arevalo, Solorio, Montes-y-Gómez and González: Gated Multimodal Units for Information Fusion."
    " ICLR workshops 2017",
    licence="none is known, for research; plots and posters are their makers'",
    get="http://lisi1.unal.edu.co/mmimdb/ (mmimdb.tar.gz)",
    layout="""\
mmimdb/split.json              {"train": [<id>, ...], "dev": [...], "test": [...]}
mmimdb/dataset/<id>.json       plot (a list), genres (a list)
mmimdb/dataset/<id>.jpeg
or mmimdb/train.jsonl, dev.jsonl, test.jsonl of MMBT, with the images""",
    counts={"train": 15552, "validation": 2608, "test": 7799},
    flaws=(
        "labels are the genres that train has, without News: 23, as MMBT counts them; a film may have none of them",
        "the longest of a film's plots is its text",
        "multimodal_imdb.hdf5, which holds features in place of texts, is not read",
    ),
)
LEFT_OUT = "News"
SPLITS = {"train": "train", "validation": "dev", "test": "test"}


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    text: Form = "tokens",
    tokenizer: str = "bert-base-uncased",
    length: Count = 512,
    size: Count = 224,
    missing: Missing = "refuse",
) -> Dataset:
    """Return the plots, `text`, with the posters, `image`, in the published splits.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks. Raises
    UserError for missing tables and lines that cannot be read.
    """
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    return loaded(samples(root), PUBLISHED, own, cache, missing=missing)


def files(*, root: Path | None = None, **options: object) -> list[Path]:
    """Return the tables and the files that they name."""
    folder, found = _folder(root), samples(root)
    tables = list(by_split(folder, "{}.jsonl").values())
    if not tables:
        films = (folder / "dataset" / f"{name}.json" for name in found.ids)
        tables = [folder / "split.json", *films]
    return files_of(tables, found, **options)


def task(**_: object) -> str:
    """Return the task: a film has several genres."""
    return "multilabel"


def samples(root: Path | None = None, **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    folder = _folder(root)
    rows = listed(folder) or _films(folder)
    genres = sorted({genre for row in rows if row.split == "train" for genre in row.label} - {LEFT_OUT})
    kept = [row._replace(label=tuple(genre for genre in row.label if genre in genres)) for row in rows]
    return gathered("mm_imdb", kept, PUBLISHED.cite, genres)


def _folder(root: Path | None) -> Path:
    return find_one("mm_imdb", root, ("mmimdb", "mm_imdb"), "split.json and the folder dataset")


def _films(folder: Path) -> list[Row]:
    """Return the films that split.json names."""
    names = next(iter(objects(folder / "split.json", "train", "test")))
    return [_film(folder, split, str(name)) for split, word in SPLITS.items() for name in names.get(word, [])]


def _film(folder: Path, split: str, name: str) -> Row:
    path = folder / "dataset" / f"{name}.json"
    film = next(iter(objects(path, "genres")), None)
    if film is None:
        raise UserError(f"{path} is an empty list; a film with its plot and genres is needed")
    plots = film.get("plot") or [""]
    plots = [plots] if isinstance(plots, str) else plots
    return Row(name, split, tuple(film["genres"]), max(plots, key=len), path.with_suffix(".jpeg"))
