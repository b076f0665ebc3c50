"""`crisismmd`: tweets with an image from seven natural disasters, by their use to humanitarian aid (CrisisMMD v2.0)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sweeper.models.data.dataset import Dataset
from sweeper.models.data.files import find
from sweeper.models.data.lines import by_split, fields
from sweeper.models.data.published import Published
from sweeper.models.data.reading import Missing
from sweeper.models.data.samples import Samples
from sweeper.models.data.text_image import Form, Row, files_of, gathered, listed, loaded, readers
from sweeper.models.errors import UserError
from sweeper.models.schema.ranges import Count

Annotation = Literal["humanitarian", "informative", "damage"]
PUBLISHED = Published(
    cite="Alam, Ofli and Imran: CrisisMMD: Multimodal Twitter Datasets from Natural Disasters. ICWSM 2018",
    licence="CC BY-NC-SA 4.0",
    get="https://crisisnlp.qcri.org/crisismmd (CrisisMMD_v2.0.tar.gz and the data splits)",
    layout="""\
CrisisMMD_v2.0/data_image/<event>/<day>/<tweet>_<n>.jpg
crisismmd_datasplit_agreed_label/task_<annotation>_text_img_agreed_lbl_{train,dev,test}.tsv, or
crisismmd_datasplit_all/task_<annotation>_text_img_{train,dev,test}.tsv, or
CrisisMMD_v2.0/<annotation>/{train,dev,test}.jsonl
(the splits beside CrisisMMD_v2.0/ or in it)""",
    counts={"train": 6126, "validation": 998, "test": 955},
    flaws=(
        "these counts are of annotation: humanitarian with agreed labels (Ofli, Alam and Imran, ISCRAM 2020) in five"
        " classes, where the injured and missing count as affected, and vehicles as infrastructure;"
        " annotation: informative has 9,601, 1,573 and 1,534",
        "of the full splits only rows are read whose text and image have one label; that is another split than agreed",
        "the jsonl files that papers pass on as informative/ and damage/ are byte for byte the humanitarian ones; they"
        " are refused",
        "some copies of the tables have a tenth column; columns are read by position",
        "tweets of one event stand in all splits",
    ),
)
COUNTS = {
    "humanitarian": PUBLISHED.counts,
    "informative": {"train": 9601, "validation": 1573, "test": 1534},
    "damage": {},
}
CLASSES = {
    "humanitarian": (
        "affected_individuals",
        "infrastructure_and_utility_damage",
        "not_humanitarian",
        "other_relevant_information",
        "rescue_volunteering_or_donation_effort",
    ),
    "informative": ("informative", "not_informative"),
    "damage": ("little_or_no_damage", "mild_damage", "severe_damage"),
}
MERGED = {
    "injured_or_dead_people": "affected_individuals",
    "missing_or_found_people": "affected_individuals",
    "vehicle_damage": "infrastructure_and_utility_damage",
}
# folder and names of the tables, those of agreed labels first
AGREED = ("crisismmd_datasplit_agreed_label", "task_{annotation}_text_img_agreed_lbl_{{}}.tsv")
ALL = ("crisismmd_datasplit_all", "task_{annotation}_text_img_{{}}.tsv")


def load(
    *,
    root: Path | None = None,
    cache: Path | None = None,
    annotation: Annotation = "humanitarian",
    text: Form = "tokens",
    tokenizer: str = "bert-base-uncased",
    length: Count = 512,
    size: Count = 224,
    missing: Missing = "refuse",
) -> Dataset:
    """Return the tweets, `text`, with their `image`, in the published splits, labelled by one `annotation`.

    `text` is read as a `tokenizer`'s tokens, at most `length`, or without a model as words or a bag of them, and the
    middle of the image at `size` pixels a side; `missing` says what becomes of rows whose file or text lacks. Raises
    UserError for missing tables and lines that cannot be read.
    """
    own = readers(text=text, tokenizer=tokenizer, length=length, size=size)
    published = replace(PUBLISHED, counts=COUNTS[annotation])
    return loaded(samples(root, annotation), published, own, cache, missing=missing)


def files(
    *, root: Path | None = None, annotation: Annotation = "humanitarian", **options: object
) -> list[Path]:
    """Return the tables and the files that they name."""
    return files_of(_tables(_home(root), annotation).values(), samples(root, annotation), **options)


def samples(root: Path | None = None, annotation: Annotation = "humanitarian", **_: object) -> Samples:
    """Return what the tables say; raises as `load`."""
    home = _home(root)
    tables = _tables(home, annotation)
    if tables["train"].suffix == ".jsonl":
        rows = listed(tables["train"].parent)
        strange = {row.label for row in rows} - set(CLASSES[annotation])
        if strange & set(CLASSES["humanitarian"]):
            raise UserError(
                f"{tables['train']} holds humanitarian labels, such as {min(strange)!r}, not those of {annotation!r}:"
                " the papers' jsonl files are all alike; use the official tables, or annotation: humanitarian"
            )
    else:
        agreed = "agreed" in tables["train"].name
        rows = [row for split, path in tables.items() for row in _rows(path, split, home, agreed=agreed)]
    return gathered("crisismmd", rows, PUBLISHED.cite, CLASSES[annotation])


def _home(root: Path | None) -> Path:
    return find("crisismmd", root, "CrisisMMD_v2.0", "the folder data_image")


def _tables(home: Path, annotation: str) -> dict[str, Path]:
    """Return the table of each split: the official ones of agreed labels, of all, or the papers' jsonl."""
    official = [
        (top / folder, pattern.format(annotation=annotation))
        for folder, pattern in (AGREED, ALL)
        for top in (home.parent, home.parent / folder, home)
    ]
    for folder, pattern in [*official, (home / annotation, "{}.jsonl")]:
        if tables := by_split(folder, pattern):
            return tables
    folder, pattern = official[0]
    raise UserError(
        f"dataset 'crisismmd': {folder / pattern.format('train')} is not there, nor another layout of the splits;"
        " `sweeper datasets crisismmd` shows them and where to get them"
    )


def _rows(path: Path, split: str, home: Path, *, agreed: bool) -> Iterator[Row]:
    """Yield rows of event, tweet, image, text, image file, label and perhaps labels of text and image alone.

    Where labels were not `agreed` on, rows whose text and image differ are left out.
    """
    for _, found in fields(path, least=6):
        if found[0].strip() == "event_name":
            continue
        _, _, name, said, image, label, *single = (field.strip() for field in found)
        label, *single = (MERGED.get(one, one) for one in (label, *single[:2]))
        if agreed or len(single) < 2 or single[0] == single[1]:
            yield Row(name, split, label, said, home / image)
