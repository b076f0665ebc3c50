"""`table`: what people's tables give, what they are called, and the sentence for each thing that can be wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from sweeper.models.data import fingerprint, inputs, kept_bytes, load_dataset, task
from sweeper.models.data.splits import SPLITS
from sweeper.models.errors import UserError

ROOT = Path(os.environ.get("SWEEPER_DATA", "absent"))
needs_data = pytest.mark.skipif(
    not (ROOT / "vqa_rad").is_dir(), reason="SWEEPER_DATA names no folder with vqa_rad"
)
N = 24
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with N pictures, 0.png to 23.png, each of one brightness, and as many arrays."""
    (tmp_path / "pictures").mkdir()
    for i in range(N):
        Image.new("L", (6, 4), 10 * i).save(tmp_path / "pictures" / f"{i}.png")
        np.save(tmp_path / "pictures" / f"{i}.npy", np.full((2, 3), i))
    return tmp_path


def columns(**changes):
    """Return the columns of a sound table, changed as asked; None takes one out."""
    known = {
        "id": [f"s{i}" for i in range(N)],
        "split": ["train"] * 16 + ["validation"] * 4 + ["test"] * 4,
        "text": [f"word{i % 2} number {i}" for i in range(N)],
        "image": [f"pictures/{i}.png" for i in range(N)],
        "label": ["yes" if i % 2 else "no" for i in range(N)],
    } | changes
    return {name: cells for name, cells in known.items() if cells is not None}


def changed(name, row, value):
    """Return a sound column but for one cell."""
    cells = columns()[name]
    cells[row] = value
    return {name: cells}


def quoted(cell):
    return '"' + str(cell).replace('"', '""') + '"'


def written(folder, name="mine.csv", encoding="utf-8", **changes):
    """Write a table and return its path below `folder`."""
    known = columns(**changes)
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    rows = [list(row) for row in zip(*known.values(), strict=True)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(known, row, strict=True))) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table(known), path)
    else:
        between = "\t" if path.suffix == ".tsv" else ","
        lines = [between.join(quoted("" if c is None else c) for c in row) for row in [list(known), *rows]]
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return name


def load(folder, options=None, **changes):
    given = {"path": written(folder, **changes), "columns": SMALL} | (options or {})
    return load_dataset("table", {k: v for k, v in given.items() if v is not None}, folder, folder / "cache")


SMALL = {
    "text": {"name": "text", "features": 32},
    "image": {"name": "image", "size": [4, 6], "color": "grey"},
}


def brightness(dataset):
    return dataset.inputs["image"][:, 0, 0, 0].tolist()


# what a table gives


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv", "mine.jsonl", "mine.parquet"])
def test_every_kind_of_table_gives_the_same(folder, name):
    dataset = load(folder, name=name)
    assert list(dataset.inputs) == ["text", "image"]
    assert dataset.spec.sizes == {"train": 16, "validation": 4, "test": 4}
    assert kept_bytes("table", {"path": name, "columns": SMALL}, folder) == N * (4 * 32 + 4 * 6)
    assert dataset.target.tolist() == [0, 1] * 12
    assert brightness(dataset) == [10 * i for i in range(N)]
    assert dataset.present == {}
    assert dataset.inputs["image"].dtype == np.uint8


def test_what_is_told_before_is_what_is_loaded(folder):
    options = {"path": written(folder), "columns": SMALL}
    assert inputs("table", options, folder) == load(folder).spec.modalities
    assert task("table", options, folder) == "classification"


@pytest.mark.parametrize(
    ("modality", "name"),
    [
        *(("text", n) for n in ("sentence", "caption", "Question", "Text ")),
        *(("image", n) for n in ("img", "image_path", "file_name", "FileName", "picture_file_name")),
    ],
)
def test_modalities_are_known_by_the_names_that_people_give(folder, modality, name):
    known = columns()
    path = written(folder, **{modality: None, name: known[modality]})
    found = inputs("table", {"path": path}, folder)
    assert set(found) == {"text", "image"}
    assert found["image"].kind == "image"


def test_file_names_mean_what_their_endings_say(folder):
    options = {"path": written(folder, image=None, text=None, file_name=[f"{i}.mp4" for i in range(N)])}
    assert list(inputs("table", options, folder)) == ["video"]


def test_other_columns_are_no_inputs_unless_it_is_said(folder):
    assert set(inputs("table", {"path": written(folder, answer=["x"] * N)}, folder)) == {"text", "image"}
    named = {"answer": "text", "my numbers": "vector"}
    path = written(folder, answer=["x"] * N, **{"my numbers": ["1 2 3"] * N})
    found = inputs("table", {"path": path, "columns": named}, folder)
    assert {m: (s.kind, s.shape) for m, s in found.items()} == {
        "answer": ("vector", (512,)),
        "my_numbers": ("vector", (3,)),
    }


@pytest.mark.parametrize("name", ["class", "target", "y", "Labels", "category"])
def test_labels_are_known_by_the_names_that_people_give(folder, name):
    assert load(folder, label=None, **{name: columns()["label"]}).target.tolist() == [0, 1] * 12


@pytest.mark.parametrize("name", ["mode", "subset", "Split"])
@pytest.mark.parametrize("validation", ["val", "valid", "dev", "Validation"])
def test_splits_are_known_by_the_names_that_people_give(folder, name, validation):
    words = ["train"] * 12 + [validation] * 4 + ["test"] * 8
    assert load(folder, split=None, **{name: words}).spec.sizes == {"train": 12, "validation": 4, "test": 8}


def test_columns_are_what_options_say_they_are(folder):
    words = ["test"] * 4 + ["dev"] * 4 + ["train"] * 16
    found = load(
        folder,
        {"target": "mood", "split": "part", "group": "who"},
        split=None,
        part=words,
        mood=[3, 10] * 12,
        who=[i // 4 for i in range(N)],
    )
    assert [found.rows[s].tolist()[0] for s in SPLITS] == [8, 4, 0]
    assert found.target.tolist() == [0, 1] * 12


def test_classes_that_are_whole_numbers_are_in_their_order(folder):
    found = load(folder, label=[10, 9, -1] * 8)
    assert found.target.tolist() == [2, 1, 0] * 8
    assert found.spec.classes == ("-1", "9", "10")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_survived(folder, encoding):
    text = [f"fièvre {i}" for i in range(N)]
    dataset = load(folder, encoding=encoding, id=None, split=None, text=text)  # the BOM stands before `text`
    plain = load(folder, name="mine.jsonl", id=None, split=None, text=text)
    np.testing.assert_array_equal(dataset.inputs["text"], plain.inputs["text"])


def test_a_label_is_the_same_in_either_form_of_unicode(folder):
    assert load(folder, label=["é", "e\u0301", "e"] * 8).target.tolist() == [1, 1, 0] * 8


def test_paths_start_at_the_table_and_may_be_several(folder):
    several = [f"pictures/{i}.png; pictures/{N - 1 - i}.png" for i in range(N)]
    images = {"image": {"name": "image", "size": [4, 6], "color": "grey", "images": 2}}
    dataset = load(
        folder,
        {"columns": images},
        name="deep/mine.csv",
        image=[f"../{s.replace('; ', ';../')}" for s in several],
    )
    assert dataset.spec.modalities["image"].kind == "video"
    assert dataset.inputs["image"][:, :, 0, 0, 0].tolist() == [[10 * i, 230 - 10 * i] for i in range(N)]


def test_absolute_paths_are_taken_as_they_are(folder):
    dataset = load(folder, name="deep/mine.csv", image=[str(folder / f"pictures/{i}.png") for i in range(N)])
    assert brightness(dataset)[:3] == [0, 10, 20]


def test_arrays_and_numbers(folder):
    read = {"npy": {"name": "array", "shape": [4, 3]}, "numbers": "vector"}
    found = load(
        folder,
        {"columns": read},
        npy=[f"pictures/{i}.npy" for i in range(N)],
        numbers=[f"{i}; 0.5" for i in range(N)],
    )
    assert found.inputs["npy"][:, 0, 0].tolist() == list(range(N))
    assert found.inputs["numbers"].tolist() == [[i, 0.5] for i in range(N)]


def test_words_of_different_number_have_lengths(folder):
    text = ["one", "one two", "one two three"] * 8
    dataset = load(
        folder, {"columns": {"text": {"name": "text", "form": "words", "vocabulary": 99}}}, text=text
    )
    assert dataset.lengths["text"].tolist() == [1, 2, 3] * 8
    assert dataset.spec.modalities["text"].vocabulary == 99  # also if the data hold fewer


# tasks


def test_several_labels_are_multilabel(folder):
    dataset = load(folder, label=["a|b", "b", "c | a", "|"] * 6)
    assert dataset.spec.task == "multilabel"
    assert dataset.target[:4].tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]]


def test_lists_are_labels_too(folder):
    dataset = load(folder, name="mine.jsonl", label=[["a", "b"], ["b"]] * 12)
    assert dataset.target[:2].tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(("label", "said"), [([1.5, -2] * 12, None), ([4, 5] * 12, "regression")])
def test_numbers_are_regressed_if_they_have_fractions_or_it_is_said(folder, label, said):
    dataset = load(folder, {"task": said}, label=label)
    assert dataset.spec.task == "regression"
    assert dataset.target.tolist() == label


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_masks_are_fitted_as_the_image_is(folder, fit):
    """A mask is painted like its picture, so that what the image reader makes of one shows where the other must be."""
    for i in range(N):
        mask = np.zeros((8, 16), np.uint8)
        mask[:4, 4:] = 1
        mask[:2, :4] = 255
        Image.fromarray(mask).save(folder / f"m{i}.png")
        Image.fromarray(np.where(mask == 1, 200, 0).astype(np.uint8)).save(folder / "pictures" / f"{i}.png")
    read = {"image": {"name": "image", "size": [4, 4], "color": "grey", "fit": fit}}
    path = written(folder, label=None, mask=[f"m{i}.png" for i in range(N)])
    dataset = load_dataset("table", {"path": path, "columns": read}, folder, folder / "cache")
    assert dataset.spec.task == "segmentation"
    assert dataset.spec.size == (4, 4)
    target, image = dataset.target[0], dataset.inputs["image"][0, 0]
    assert (target == -1).sum() == {"stretch": 1, "crop": 0, "pad": 8}[fit]
    assert (target == 1).any()
    np.testing.assert_array_equal(target == 1, image > 100)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (np.zeros((4, 6, 3), np.uint8), "a mask of 3 channels, not one"),
        (np.full((4, 6), 300, np.uint16), "a mask that holds 300 to 300, not 0 to 255"),
    ],
)
def test_masks_have_one_channel_of_class_numbers(folder, mask, why):
    for i in range(N):
        Image.fromarray(mask if i == 3 else np.full((4, 6), i % 2, np.uint8)).save(folder / f"m{i}.png")
    masks = {"label": None, "mask": [f"m{i}.png" for i in range(N)]}
    only = {"image": SMALL["image"]}
    with pytest.raises(UserError, match=rf"1 cell cannot be used \(1 {why}\): .*m3\.png; put that right"):
        load(folder, {"columns": only}, **masks)
    assert load(folder, {"columns": only, "missing": "absent"}, **masks).spec.sizes["train"] == 15


# splits


def test_a_validation_split_is_carved_by_group(folder):
    dataset = load(folder, split=["train"] * 18 + ["test"] * 6, speaker=[i // 3 for i in range(N)])
    groups = [set((dataset.rows[s] // 3).tolist()) for s in SPLITS]
    assert not groups[0] & groups[1]
    assert dataset.spec.sizes["test"] == 6
    assert dataset.spec.sizes["validation"] == 3


def test_all_splits_are_drawn_where_none_is_given_rows_without_group_by_themselves(folder):
    dataset = load(folder, split=None, group=[*[i // 3 for i in range(12)], *[None] * 12])
    groups = [{row // 3 if row < 12 else row for row in dataset.rows[s].tolist()} for s in SPLITS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert sum(dataset.spec.sizes.values()) == N
    again = load(folder, {"split_seed": 1}, split=None, group=[*[i // 3 for i in range(12)], *[None] * 12])
    assert not all(np.array_equal(dataset.rows[s], again.rows[s]) for s in SPLITS)


# folders


def test_hugging_faces_folders(folder):
    rows = {"train": range(12), "valid": range(12, 18), "test": range(18, 24)}
    for split, own in rows.items():
        (folder / "hf" / split).mkdir(parents=True)
        lines = ["file_name,label"]
        for i in own:
            (folder / "pictures" / f"{i}.png").rename(folder / "hf" / split / f"{i}.png")
            lines.append(f"{i}.png,{i % 2}")
        (folder / "hf" / split / "metadata.csv").write_text("\n".join(lines))
    dataset = load_dataset(
        "table", {"path": "hf", "columns": {"file_name": SMALL["image"]}}, folder, folder / "c"
    )
    assert dataset.spec.sizes == {"train": 12, "validation": 6, "test": 6}
    assert dataset.inputs["file_name"][:, 0, 0, 0].tolist() == [10 * i for i in range(N)]


def test_a_folder_with_one_table_or_one_for_each_split(folder):
    written(folder, "all/metadata.jsonl", image=None)
    options = {"path": "all", "columns": {"text": "text"}}
    assert load_dataset("table", options, folder, folder / "c").spec.sizes["test"] == 4
    for split, count in (("train", 9), ("dev", 4), ("test", 5)):
        lines = [json.dumps({"text": f"word {i}", "label": i % 2}) for i in range(count)]
        (folder / "each").mkdir(exist_ok=True)
        (folder / "each" / f"{split}.jsonl").write_text("\n".join(lines))
    options["path"] = "each"
    found = load_dataset("table", options, folder, folder / "c").spec.sizes
    assert found == {"train": 9, "validation": 4, "test": 5}


# what is missing


def test_an_empty_cell_is_a_modality_that_lacks(folder):
    dataset = load(folder, **changed("image", 3, None))
    assert np.flatnonzero(~dataset.present["image"]).tolist() == [3]
    assert dataset.inputs["image"][3].max() == 0
    assert list(dataset.present) == ["image"]


def test_rows_without_a_label_are_left_out(folder):
    dataset = load(folder, **changed("label", 3, ""))
    assert dataset.spec.rows == N - 1
    assert brightness(dataset)[2:5] == [20, 40, 50]


def broken(folder):
    """Spoil six files in five ways."""
    (folder / "pictures" / "1.png").unlink()
    (folder / "pictures" / "2.png").unlink()
    (folder / "pictures" / "3.png").write_bytes(b"")
    (folder / "pictures" / "4.png").write_text(POINTER)
    (folder / "pictures" / "5.png").rename(folder / "pictures" / "5.txt")
    return changed("image", 5, "pictures/5.txt")


def test_files_are_found_counted_and_named_before_training(folder):
    changes = broken(folder)
    sentence = (
        r"^dataset 'table': 5 cells cannot be used \(2 missing, 1 empty, 1 a Git-LFS pointer, which `git lfs pull`"
        r" replaces, …\): \S*pictures/1\.png, \S*pictures/2\.png, \S*pictures/3\.png and 2 more; put that right"
    )
    with pytest.raises(UserError, match=sentence) as caught:
        fingerprint("table", {"path": written(folder, **changes), "columns": SMALL}, folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=sentence):
        load(folder, **changes)


def test_rows_with_them_are_dropped_or_lack_the_modality(folder):
    changes = broken(folder)
    dropped = load(folder, {"missing": "drop"}, **changes)
    assert dropped.rows["train"].tolist() == [0, *range(6, 16)]
    assert dropped.present == {}
    assert "5 of 24 rows left out; 5 cells cannot be used" in dropped.spec.cite
    absent = load(folder, {"missing": "absent"}, **changes)
    assert absent.spec.sizes["train"] == 16
    assert np.flatnonzero(~absent.present["image"]).tolist() == [1, 2, 3, 4, 5]
    assert "rows left out" not in absent.spec.cite


@pytest.mark.parametrize(
    ("missing", "told"), [("drop", "their rows are left out"), ("absent", "their rows lack the modality")]
)
def test_what_a_study_does_without_is_said_as_it_is_planned(folder, missing, told, capsys):
    options = {"path": written(folder, **broken(folder)), "columns": SMALL, "missing": missing}
    fingerprint("table", options, folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dataset 'table': 5 cells cannot be used (2 missing, ")
    assert line.endswith(told)


@pytest.mark.parametrize("missing", ["drop", "absent"])
def test_a_row_that_lacks_every_modality_is_left_out(folder, missing):
    (folder / "pictures" / "1.png").unlink()
    dataset = load(folder, {"missing": missing}, **changed("text", 1, None))
    assert dataset.rows["train"].tolist() == [0, *range(2, 16)]


def test_files_that_a_reader_cannot_read_are_told_likewise(folder):
    for i in (6, 7):
        whole = (folder / "pictures" / f"{i}.png").read_bytes()
        (folder / "pictures" / f"{i}.png").write_bytes(whole[:40])
    changes = changed("text", 8, "\u3000")
    with pytest.raises(
        UserError, match=r"^dataset 'table': 2 cells cannot be used \(.*\): \S*6\.png, \S*7\.png; put"
    ):
        load(folder, **changes)
    dataset = load(folder, {"missing": "absent"}, **changes)
    assert {m: np.flatnonzero(~own).tolist() for m, own in dataset.present.items()} == {
        "text": [8],
        "image": [6, 7],
    }


def test_what_lies_in_a_file_decides_the_data(folder):
    options = {"path": written(folder), "columns": SMALL}
    before = fingerprint("table", options, folder)
    assert fingerprint("table", options, folder) == before
    Image.new("L", (6, 4), 99).save(folder / "pictures" / "0.png")
    assert fingerprint("table", options, folder) != before


# mistakes


def raw(text):
    return {"raw": text}


HEAD = "split,text,label\n"
MISTAKES = {
    "no row": (raw(HEAD), "has no row below its header"),
    "no header": (raw(""), "header .* names no column"),
    "ragged": (raw(HEAD + "train,a,b\ntrain,a,b,c\n"), "row 2 of .* has 4 cells but the header 3"),
    "wrong separator": (
        raw("split;text;label\ntrain;a;b\n"),
        "one column, .* separated by ';', but a .csv is by ','",
    ),
    "twice": (raw("text,text,label\na,b,c\n"), "the header of .* names 'text' twice"),
    "latin-1": (raw(b"text,label\nfi\xe8vre,a\n"), "is not UTF-8 .*0xe8"),
    "utf-16": (raw("text,label\na,b\n".encode("utf-16")), "is not UTF-8"),
    "quote": (raw(HEAD + 'train,"a,b\n'), "is no table of its ending"),
    "no label column": (
        {"label": None},
        r"no column called label, .*; say target:, one of id, split, text, image",
    ),
    "no such label": (
        {"options": {"target": "lable"}},
        "unknown column 'lable' in target .*; did you mean 'label'",
    ),
    "label as input": (
        {"options": {"columns": {"label": "text"}, "target": "label"}},
        "'label' is the target and cannot",
    ),
    "empty labels": ({"label": [""] * N}, "column 'label' of .* is empty"),
    "no such column": (
        {"options": {"columns": {"txt": "text"}}},
        "unknown column 'txt' in columns .*did you mean",
    ),
    "no such reader": (
        {"options": {"columns": {"text": "txt"}}},
        "unknown reader 'txt'; did you mean 'text'",
    ),
    "no such reader option": (
        {"options": {"columns": {"text": {"name": "text", "lenght": 3}}}},
        "unknown hyper-parameter 'lenght' in reader 'text'; did you mean 'length'",
    ),
    "no reader's name": (
        {"options": {"columns": {"text": {"length": 3}}}},
        "'text' is .*; it needs the name of a reader",
    ),
    "two texts": (
        {"options": {"columns": None}, "caption": ["a"] * N},
        "'text' and 'caption' of .* are both text",
    ),
    "no modality": (
        {"options": {"columns": None}, "text": None, "image": None},
        "no column of .* is called like a",
    ),
    "bad split": ({"split": ["fold1"] * N}, "split holds 'fold1'; admissible: train, training, validation"),
    "half a split": (changed("split", 3, ""), "split holds ''; admissible"),
    "no test": ({"split": ["train"] * N}, "split names no test row"),
    "groups": ({"group": ["a"] * N}, "group 'a' stands in train and in test"),
    "a class in test alone": (changed("label", 23, "odd"), "no train row is of class 'odd'"),
    "one class": ({"label": ["a"] * N}, "at least two classes"),
    "no number": ({"options": {"task": "regression"}}, "the label 'no' is no number"),
    "segmentation of texts": (
        {"options": {"task": "segmentation", "columns": {"text": "text"}}},
        "segmentation needs an image; no modality is one",
    ),
    "no modality in a row": (
        {**changed("text", 3, ""), **changed("image", 3, "")},
        r"1 without any modality\): row 's3'",
    ),
    "an empty modality": ({"image": [""] * N}, "no row has 'image' that can be used"),
    "a bad ending": ({"options": {"path": "pictures/0.png"}}, "0.png is no table"),
    "no file": ({"options": {"path": "absent.csv"}}, r"absent\.csv does not exist"),
    "a folder without table": (
        {"options": {"path": "pictures"}},
        r"has no table; metadata\.csv, or train\.csv",
    ),
    "no time axis": (
        {"numbers": ["1 2", "1"] * 12, "options": {"columns": {"numbers": "vector"}}},
        "holds 1 numbers, not 2",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(folder, mistake):
    given, sentence = MISTAKES[mistake]
    given = dict(given)
    options = given.pop("options", {})
    if "raw" in given:
        text = given["raw"]
        (folder / "raw.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        options, given = {"path": "raw.csv", "columns": {"text": "text"}}, {}
    with pytest.raises(UserError, match=sentence) as caught:
        load(folder, options, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [('{"a": 1}\n{oops\n', "line 2 of .* is not JSON"), ("[1]\n", "line 1 of .* is no object")],
)
def test_lines_that_are_no_objects(folder, text, sentence):
    (folder / "x.jsonl").write_text(text)
    with pytest.raises(UserError, match=sentence):
        inputs("table", {"path": "x.jsonl"}, folder)


def test_a_quote_that_swallows_lines_of_a_tsv(folder):
    (folder / "x.tsv").write_text('id\ttext\tlabel\n1\t"he said\ta\n2\tso"\tb\n')
    with pytest.raises(UserError, match=r"row 1 of .* runs over lines with tabs in them; a double quote"):
        inputs("table", {"path": "x.tsv"}, folder)


def test_cells_that_hold_bytes_are_told(folder):
    table = pa.table({"image": [{"bytes": b"x", "path": None}] * 3, "label": [0, 1, 1]})
    pyarrow.parquet.write_table(table, folder / "x.parquet")
    with pytest.raises(UserError, match=r"a cell holds dict, like .*; texts, numbers"):
        load_dataset("table", {"path": "x.parquet", "columns": {"image": "image"}}, folder, folder / "c")


def test_two_tables_of_one_split_are_refused(folder):
    for name in ("val.csv", "dev.csv"):
        written(folder, f"two/{name}")
    with pytest.raises(UserError, match=r"val\.csv and .*dev\.csv are tables of the same rows"):
        inputs("table", {"path": "two"}, folder)


# the real one


@needs_data
def test_questions_about_radiographs(tmp_path):
    options = {"path": "vqa_rad/questions.csv", "target": "organ"}
    found = inputs("table", options, ROOT)
    assert {m: s.kind for m, s in found.items()} == {"text": "vector", "image": "image"}
    options |= {"columns": {"text": {"name": "text", "features": 64}}}
    organ = load_dataset("table", options, ROOT, tmp_path)
    assert organ.spec.rows == 2248
    assert organ.spec.n_classes == 3
    answer = load_dataset("table", options | {"target": "answer"}, ROOT, tmp_path)
    assert (answer.spec.rows, answer.spec.n_classes) == (1193, 2)


@needs_data
def test_planning_a_table_is_light():
    script = (
        "import sys; from pathlib import Path; from sweeper.models.data import fingerprint, inputs, task\n"
        f"options = {{'path': 'vqa_rad/questions.csv', 'target': 'organ'}}; root = Path({str(ROOT)!r})\n"
        "fingerprint('table', options, root); inputs('table', options, root); task('table', options, root)\n"
        "print({'torch', 'sklearn', 'librosa', 'transformers', 'pandas', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
