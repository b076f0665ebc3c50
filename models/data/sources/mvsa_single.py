"""`mvsa_single`: tweets with an image, of positive, neutral or negative sentiment (MVSA-Single)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find
from sweeper.models.data.lines import by_split, contents, fields, pairs
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import Form, Row, files_of, gathered, listed, loaded, readers
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count, ShareWithin

PUBLISHED = Published(
    cite="Niu, Zhu, Pang and El Saddik: Sentiment Analysis on Multi-View Social Data. MMM 2016",
    licence="none is known, for research; the tweets are their authors'",
    get="http://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/",
    layout="""\
MVSA_Single/labelResultAll.txt    ID, then <sentiment of text>,<sentiment of image>, tab-separated
MVSA_Single/data/<ID>.txt and <ID>.jpg
and for the split of a paper, in MVSA_Single/:
  train.jsonl, dev.jsonl, test.jsonl             of MMBT, TMC, QMF and PDF
  my_train_mvsa.txt, my_test_mvsa.txt            of MLA: <ID>.jpg <sentiment>""",
    counts={"train": 1555, "validation": 518, "test": 519},
    flaws=(
        "two protocols are in use: the 2,592 pairs whose text and image have one label (these counts), or 4,511 pairs"
        " once neutral gives way to the other label and positive against negative is dropped; never mix their numbers",
        "there is no official split: without a paper's split files one is drawn that keeps rows of one text together",
        "texts that occur several times may stand on both sides of the papers' random splits; loading counts them",
        "texts that are no UTF-8 are read as Latin-1",
    ),
)
MERGED = 4511  # pairs, where neutral gives way
CLASSES = ("negative", "neutral", "positive")
SPLIT_FILES = "my_{}_mvsa.txt"


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    labels: Literal["equal", "merged"] = "equal",
    text: Form = "tokens",
    tokenizer: str = "bert-base-uncased",
    length: Count = 512,
    size: Count = 224,
    missing: Missing = "refuse",
    validation_fraction: ShareWithin = 0.25,
    test_fraction: ShareWithin = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Return the tweets, `text`, with their `image`, in the splits of a paper's split files where there are any.

    Without such files `labels` says which pairs are samples: those with one label, or also those where neutral gives
    way to the other one; a share `test_fraction` of them is drawn as test and `validation_fraction` of the others as
    validation, seeded by `split_seed`, no text in two splits.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks. Raises
    UserError for missing tables and lines that cannot be read.
    """
    found = samples(root, labels)
    merged = labels == "merged" and "train" not in found.split
    published = replace(PUBLISHED, counts={"all": MERGED}) if merged else PUBLISHED
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    shares = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    return loaded(found, published, own, cache, missing=missing, split_seed=split_seed, **shares)


def files(
    *, root: Path | None = None, labels: Literal["equal", "merged"] = "equal", **options: object
) -> list[Path]:
    """Return the tables and the files that they name."""
    folder, found = _folder(root), samples(root, labels)
    tables = by_split(folder, "{}.jsonl")
    texts = [] if tables else [folder / "data" / f"{name}.txt" for name in found.ids]
    tables = tables or by_split(folder, SPLIT_FILES) or {"": folder / "labelResultAll.txt"}
    return files_of([*tables.values(), *filter(Path.is_file, texts)], found, **options)


def samples(root: Path | None = None, labels: Literal["equal", "merged"] = "equal", **_: object) -> Samples:
    """Return what the tables say; raises as `load`. Rows of one text, within a given split, are a group."""
    folder = _folder(root)
    if rows := listed(folder):
        return gathered("mvsa_single", rows, PUBLISHED.cite, CLASSES)
    if tables := by_split(folder, SPLIT_FILES):
        every = [(split, *pair) for split, path in tables.items() for pair in pairs(path)]
        rows = [_row(folder, split, name, label) for split, name, label in every]
    else:
        path = folder / "labelResultAll.txt"
        rows = [_row(folder, "", name, label) for name, label in _judged(path, labels)]
    return gathered("mvsa_single", rows, PUBLISHED.cite, CLASSES, grouped=True)


def _folder(root: Path | None) -> Path:
    return find("mvsa_single", root, "MVSA_Single", "labelResultAll.txt and the folder data")


def _judged(path: Path, labels: str) -> list[tuple[str, str]]:
    """Return (ID, label) of the pairs that `labels` admits; raise UserError for a line that is none."""
    found = []
    for number, (name, judged, *_) in fields(path, least=2):
        both = [label.strip().casefold() for label in judged.split(",")]
        if name.strip().casefold() == "id":
            continue
        if len(both) != 2 or not set(both) <= set(CLASSES):
            raise UserError(
                f"{path} line {number} is {judged!r}; the sentiments of text and image, with a comma, are needed"
            )
        kept = set(both) if labels == "equal" or both[0] == both[1] else set(both) - {"neutral"}
        if len(kept) == 1:
            found.append((name.strip(), kept.pop()))
    return found


def _row(folder: Path, split: str, name: str, label: str) -> Row:
    """Return the sample of an ID, or of the name of its image."""
    stem = name.removesuffix(".jpg")
    path = folder / "data" / f"{stem}.txt"
    said = " ".join(contents(path, fallback="latin-1").split()) if path.is_file() else ""
    group = f"{split}:{said.casefold() or stem}"
    return Row(stem, split, label.casefold(), said, folder / "data" / f"{stem}.jpg", group)
