"""Small copies of published text-image datasets, as their downloads unpack, with the traps that those have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

SENTIMENTS = ("negative", "neutral", "positive")
SECTIONS = ("Arts", "Opinion")
DISHES = ("apple_pie", "gnocchi")
AID = (
    "affected_individuals",
    "infrastructure_and_utility_damage",
    "not_humanitarian",
    "other_relevant_information",
    "rescue_volunteering_or_donation_effort",
)
SPLITS = {"train": 12, "dev": 6, "test": 6}


def picture(path: Path, shade: int = 0) -> Path:
    """Write an image whose brightness tells its `shade`, 0 to 4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(crc32(path.name.encode())).integers(0, 20, (20, 24, 3))
    Image.fromarray((noise + 50 * shade).astype(np.uint8)).save(path)
    return path


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def jsonl(path: Path, rows: Iterable[dict]) -> Path:
    return put(path, "".join(json.dumps(row) + "\n" for row in rows))


def sarcasm(root: Path) -> None:
    """HFM: Python lists; train has one label, the others two, and posts that give the label away have no image."""
    home = root / "sarcasm"
    names = {"train": "train", "dev": "valid2", "test": "test2"}
    for split, count in SPLITS.items():
        lines = []
        for i in range(count):
            name, label = f"{split}{i}", i % 2
            said = f'{"oh" if label else "the"} day # {i} isn \'t "great"'
            lines.append([name, said, label] if split == "train" else [name, said, 1 - label, label])
            picture(home / "dataset_image" / f"{name}.jpg", 4 * label)
        if split == "train":
            lines += [["gone1", "what a joke", 1], ["gone2", "read this <url>", 0]]
        put(home / "text" / f"{names[split]}.txt", "".join(f"{line!r}\n" for line in lines))


def twitter(root: Path, name: str = "twitter2015", tables: str = "twitter2015") -> None:
    """TomBERT: a BOM, and a header of test.tsv that is shifted by one and has a name twice, as all have."""
    home = root / "IJCAI2019_data"
    for split, count in SPLITS.items():
        header = [
            "index",
            *(["#1 ImageID", "#2 String"] if split == "test" else ["#1 Label", "#2 ImageID", "#3 String"]),
        ]
        header.append(header[-1])
        rows = [f'{i}\t{i % 3}\t{split}{i}.jpg\t$T$ is "{SENTIMENTS[i % 3]}\tBob {i}' for i in range(count)]
        put(home / tables / f"{split}.tsv", "\n".join(["\t".join(header), *rows]) + "\n", "utf-8-sig")
        for i in range(count):
            picture(home / f"{name}_images" / f"{split}{i}.jpg", i % 3)


def mvsa_single(root: Path) -> None:
    """MVSA-Single: labels of text and image by pairs, some of which differ; a text that is no UTF-8, one twice."""
    home = root / "MVSA_Single"
    pairs = [(i, SENTIMENTS[i % 3], SENTIMENTS[i % 3]) for i in range(1, 37)]
    pairs += [(41, "neutral", "positive"), (42, "positive", "negative")]
    put(
        home / "labelResultAll.txt",
        "ID\ttext,image\n" + "".join(f"{i}\t{a},{b}\n" for i, a, b in pairs),
        "utf-8-sig",
    )
    for i, text, _ in pairs:
        said = "RT the same" if i in (3, 6, 9) else f"{text} caf\xe9 {i}\r\n"
        put(home / "data" / f"{i}.txt", said, "latin-1" if i == 5 else "utf-8")
        picture(home / "data" / f"{i}.jpg", i % 3)


def crisismmd(root: Path) -> None:
    """CrisisMMD: agreed labels that are not merged yet, a tenth column in some rows, quotes that never close."""
    home, splits = root / "CrisisMMD_v2.0", root / "crisismmd_datasplit_agreed_label"
    raw = (*AID[:1], "vehicle_damage", *AID[2:], "injured_or_dead_people")
    header = [
        "event_name",
        "tweet_id",
        "image_id",
        "tweet_text",
        "image",
        "label",
        "label_text",
        "label_image",
        "label_text_image",
    ]
    for split, count in SPLITS.items():
        rows = [header]
        for i in range(count):
            label, image = raw[i % len(raw)], f"data_image/flood/1_1_2017/{split}{i}_0.jpg"
            rows.append(
                ["flood", f"{split}{i}", f"{split}{i}_0", f'"help {label}', image, *[label] * 3, "Positive"]
            )
            rows[-1] += ["1"] if i % 2 else []
            picture(home / image, AID.index(label) if label in AID else 0)
        put(
            splits / f"task_humanitarian_text_img_agreed_lbl_{split}.tsv",
            "\n".join("\t".join(row) for row in rows) + "\n",
        )


def n24news(root: Path) -> None:
    """N24News: json lists; an article without abstract; body under its other name."""
    home = root / "N24News"
    for split, count in SPLITS.items():
        articles = [
            {
                "headline": f"{SECTIONS[i % 2]} today {i}",
                "abstract": "" if i == 3 else f"On {SECTIONS[i % 2]}",
                "caption": "a picture",
                "article": "long",
                "section": SECTIONS[i % 2],
                "image_id": f"{split}{i}",
            }
            for i in range(count)
        ]
        put(home / "news" / f"nytimes_{split}.json", json.dumps(articles))
        for i in range(count):
            picture(home / "imgs" / f"{split}{i}.jpg", 4 * (i % 2))


def food101(root: Path) -> None:
    """Food-101: titles in csv, headerless in train, with commas; the header of test in another order."""
    home = root / "food101"
    for split, count in {"train": 24, "test": 6}.items():
        rows = []
        for i in range(count):
            dish = DISHES[i % 2]
            name = f"{dish}_{split}{i}.jpg"
            picture(home / "images" / split / dish / name, 4 * (i % 2))
            title = f'"{dish}, best of {i}"'
            rows.append(f"{name},{title},{dish}" if split == "train" else f"{i},{dish},{name},{title}")
        header = [] if split == "train" else ["id,label,Image_path,title"]
        put(home / "texts" / f"{split}_titles.csv", "\n".join([*header, *rows]) + "\n")


def mm_imdb(root: Path) -> None:
    """MM-IMDB: a file for each film; several plots, News among the genres, one genre in test alone."""
    home = root / "mmimdb"
    names = {split: [f"{split}{i}" for i in range(count)] for split, count in SPLITS.items()}
    put(home / "split.json", json.dumps(names))
    for split, own in names.items():
        for i, name in enumerate(own):
            genres = [["Drama"], ["Comedy", "Drama"], ["Comedy", "News"]][i % 3]
            genres = ["Adult"] if (split, i) == ("test", 3) else genres
            film = {"plot": ["short", f"a long tale of {' and '.join(genres)}"], "genres": genres}
            put(home / "dataset" / f"{name}.json", json.dumps(film))
            picture(home / "dataset" / f"{name}.jpeg", i % 3)


WRITERS = {
    "sarcasm": sarcasm,
    "twitter2015": twitter,
    "twitter2017": lambda root: twitter(root, "twitter2017", "twitter"),
    "mvsa_single": mvsa_single,
    "crisismmd": crisismmd,
    "n24news": n24news,
    "food101": food101,
    "mm_imdb": mm_imdb,
}
