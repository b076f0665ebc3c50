"""Tables that are anything: the dataset, or what is wrong in one sentence."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sweeper.models.data import fingerprint, inputs, load_dataset, task
from sweeper.models.errors import UserError
from tests.fuzz.ends import one_sentence

N = 12
GOOD = {
    "id": [str(i) for i in range(N)],
    "split": ["train"] * 6 + ["dev"] * 3 + ["test"] * 3,
    "text": [f"word{i % 3} word" for i in range(N)],
    "image": [f"{i % 3}.png" for i in range(N)],
    "label": [str(i % 3) for i in range(N)],
}
FILES = [
    "0.png",
    "1.png",
    "2.png",
    "empty.png",
    "absent.png",
    "half.png",
    "folder.mp4",
    "x.npy",
    "\0",
    "a" * 300,
    "/",
]
READERS = [
    "text",
    "vector",
    "array",
    "image",
    "odd",
    {"name": "vector", "size": 2},
    {"name": "array", "shape": [3]},
    {},
]

anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from(FILES)
)
cells = st.sampled_from(
    [*FILES, "0.png;1.png", "a|b", "|", "1 2", "1.5", "", "train", "val", "yes"]
) | st.text(max_size=6)
names = st.sampled_from(
    [*GOOD, "group", "file_name", "caption", "mask", "y", "vector", "odd name", ""]
) | st.text(max_size=4)
columns = st.dictionaries(names, st.lists(cells, min_size=N, max_size=N), max_size=3)
options = st.fixed_dictionaries(
    {},
    optional={
        "target": st.sampled_from(["id", "label", "text", "vector"]),
        "split": st.sampled_from(["split", "id", "odd name"]),
        "group": st.sampled_from(["id", "split", "image", "group"]),
        "columns": st.dictionaries(names, st.sampled_from(READERS), max_size=3),
        "task": st.sampled_from(["classification", "multilabel", "regression", "segmentation"]),
        "missing": st.sampled_from(["refuse", "drop", "absent"]),
        "standardize": st.sampled_from(["feature", "modality", "none"]),
        "split_seed": st.integers(),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pictures, and what stands where a file should and is none that can be read."""
    folder = tmp_path_factory.mktemp("fuzz")
    for i in range(3):
        Image.new("L", (4, 4), i).save(folder / f"{i}.png")
    (folder / "half.png").write_bytes((folder / "1.png").read_bytes()[:50])
    (folder / "empty.png").touch()
    (folder / "folder.mp4").mkdir()
    np.save(folder / "x.npy", np.ones(3))
    return folder


def usable(folder: Path, path: str, **given: object) -> None:
    """See that a table is a dataset whose numbers are finite, or is refused in one sentence."""
    said = {"path": path, "columns": {"text": "text", "image": {"name": "image", "size": 4}}, **given}
    try:
        known = inputs("table", said, root=folder), task("table", said, root=folder)
        fingerprint("table", said, root=folder)
        found = load_dataset("table", said, root=folder, cache=folder / "cache")
    except UserError as error:
        one_sentence(error)
        return
    finally:
        shutil.rmtree(folder / "cache", ignore_errors=True)
    assert found.spec.task == known[1]
    assert {m: s.kind for m, s in found.spec.modalities.items()} == {m: s.kind for m, s in known[0].items()}
    for m, statistics in found.statistics.items():
        assert np.isfinite([*statistics.range, *map(np.sum, found.scale.get(m, ()))]).all()


@given(
    changes=columns,
    left_out=st.sets(st.sampled_from(list(GOOD)), max_size=2),
    options=options,
    ending=st.sampled_from([".csv", ".tsv"]),
)
def test_tables_of_any_cells(folder, changes, left_out, options, ending):
    made = {name: column for name, column in GOOD.items() if name not in left_out} | changes
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if ending == ".tsv" else ",").writerows(
        [list(made), *zip(*made.values(), strict=True)]
    )
    (folder / f"own{ending}").write_bytes(text.getvalue().encode(errors="replace"))
    usable(folder, f"own{ending}", **options)


@given(
    rows=st.lists(
        st.dictionaries(
            names,
            anything | st.lists(anything, max_size=2) | st.dictionaries(names, anything, max_size=1),
            max_size=3,
        ),
        max_size=3,
    )
)
def test_lines_of_any_objects(folder, rows):
    good = [dict(zip(GOOD, row, strict=True)) for row in zip(*GOOD.values(), strict=True)]
    (folder / "own.jsonl").write_text("\n".join(json.dumps(row) for row in [*good, *rows]))
    usable(folder, "own.jsonl")


@given(
    content=st.binary() | st.text().map(lambda text: b"text,label\n" + text.encode(errors="replace")),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
)
def test_files_that_are_anything(folder, content, ending):
    (folder / f"own{ending}").write_bytes(content)
    usable(folder, f"own{ending}", columns={"text": "text"})
