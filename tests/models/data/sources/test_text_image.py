"""What datasets of texts with images read of their downloads, on small copies of them with their traps."""

import json
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from sweeper.models.data import fingerprint, inputs, kept_bytes, load_dataset, task
from sweeper.models.data.sources import (
    crisismmd,
    food101,
    mm_imdb,
    mvsa_single,
    n24news,
    sarcasm,
    twitter2015,
)
from sweeper.models.data.text_image import Centre, Row, gathered, readers, repeated, uncarved
from sweeper.models.errors import UserError
from tests.models.data.sources import miniatures, minis
from tests.models.data.sources.miniatures import AID, WRITERS, jsonl, picture, put

LIGHT = {"text": "bag", "size": 16}


def written(name, root):
    WRITERS[name](root)
    return import_module(f"sweeper.models.data.sources.{name}")


def labels(samples):
    return [samples.classes[i] for i in samples.target]


def by_id(samples, modality="text"):
    return dict(zip(samples.ids, samples.cells[modality], strict=True))


@pytest.mark.parametrize("name", WRITERS)
def test_rows_splits_and_files_are_those_of_the_tables(name, tmp_path):
    found = written(name, tmp_path).samples(tmp_path)
    assert found.name == name
    assert len({*found.ids}) == len(found.ids) == len(found.split) == len(found.target)
    assert all(cell[0].is_file() for cell in found.cells["image"])
    assert {*found.split} in ({"train", "validation", "test"}, {"train", "test"}, {""})
    images = {str(cell[0]) for cell in found.cells["image"]}
    told = {
        str(path)
        for path in import_module(f"sweeper.models.data.sources.{name}").files(
            root=tmp_path, **LIGHT, tokenizer="", length=9
        )
    }
    assert images < told
    assert all(p.endswith((".tsv", ".txt", ".json", ".csv")) for p in told - images)


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_dataset_is_read(name, tmp_path, capsys):
    written(name, tmp_path)
    dataset = load_dataset(name, LIGHT, tmp_path, tmp_path / "cache")
    assert {m: s.kind for m, s in dataset.spec.modalities.items()} == {"text": "vector", "image": "image"}
    assert dataset.inputs["image"].shape[1:] == (3, 16, 16)
    assert dataset.spec.task == task(name, LIGHT, tmp_path)
    assert inputs(name, LIGHT, tmp_path) == dataset.spec.modalities
    assert kept_bytes(name, LIGHT, tmp_path) == minis.on_disk(tmp_path / "cache")
    assert all(dataset.spec.sizes.values())
    assert f"dataset '{name}' holds other samples than published" in capsys.readouterr().err


def test_a_changed_label_changes_the_fingerprint_and_a_moved_folder_does_not(tmp_path):
    prints = []
    for name in ("a", "b", "c"):
        miniatures.sarcasm(tmp_path / name)
        if name == "c":
            table = tmp_path / name / "sarcasm/text/train.txt"
            table.write_text(table.read_text().replace(", 0]", ", 1]", 1))
        prints.append(fingerprint("sarcasm", LIGHT, tmp_path / name))
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("name", WRITERS)
def test_missing_data_say_what_to_put_where(name, tmp_path):
    with pytest.raises(UserError, match=rf"dataset '{name}': {tmp_path}/.* does not exist; put .* there"):
        load_dataset(name, LIGHT, tmp_path)


# sarcasm


def test_sarcasm_leaves_out_tweets_that_give_their_label_away_and_counts_the_last_label(tmp_path):
    found = written("sarcasm", tmp_path).samples(tmp_path)
    assert [found.split.count(s) for s in ("train", "validation", "test")] == [12, 6, 6]
    assert [int(name[-1]) % 2 for name in found.ids if name.startswith("test")] == found.target[-6:].tolist()
    assert by_id(found)["train1"] == 'oh day # 1 isn \'t "great"'


def test_sarcasm_as_a_table_of_labels_images_and_tweets(tmp_path):
    for split in ("train", "test"):
        put(tmp_path / f"sarcasm/{split}.tsv", "Label\tImageID\tString\n1\t7.jpg\toh\n0\t8.jpg\tyes\n")
    found = sarcasm.samples(tmp_path)
    assert found.target.tolist() == [1, 0, 1, 0]
    assert found.cells["image"][0] == (tmp_path / "sarcasm/dataset_image/7.jpg",)


@pytest.mark.parametrize("line", ["['1', 'x'", "__import__('os')", "['1']", "7", "['1', 2, 3]"])
def test_a_line_that_is_no_list_is_told_and_not_run(line, tmp_path):
    written("sarcasm", tmp_path)
    put(tmp_path / "sarcasm/text/test2.txt", line)
    with pytest.raises(UserError, match=r"test2\.txt line 1 is no list of id, tweet and label"):
        sarcasm.samples(tmp_path)


# twitter


def test_twitter_is_read_by_position_whatever_the_header(tmp_path):
    found = written("twitter2015", tmp_path).samples(tmp_path)
    assert [found.split.count(s) for s in ("train", "validation", "test")] == [12, 6, 6]
    assert found.cells["text"][-1] == 'Bob 5 is "positive Bob 5'
    assert found.cells["image"][-1][0].name == "test5.jpg"
    assert found.target.tolist() == [i % 3 for n in (12, 6, 6) for i in range(n)]


def test_twitter_of_four_lines_to_a_sample(tmp_path):
    home = tmp_path / "twitter2015"
    for split in ("train", "test"):
        put(home / f"{split}.txt", "RT @ $T$ !\nBob\n-1\n1.jpg\n$T$ wins\nAnn\n1\n2.jpg\n", "utf-8-sig")
    found = twitter2015.samples(tmp_path)
    assert found.cells["text"][:2] == ["RT @ Bob ! Bob", "Ann wins Ann"]
    assert found.target.tolist() == [0, 2, 0, 2]
    put(home / "test.txt", "RT\nBob\n2\n1.jpg\n")
    with pytest.raises(UserError, match=r"test\.txt line 3 is '2'; a label -1, 0 or 1"):
        twitter2015.samples(tmp_path)


# mvsa_single


def test_mvsa_takes_pairs_of_one_label_or_lets_neutral_give_way(tmp_path):
    written("mvsa_single", tmp_path)
    equal, merged = (mvsa_single.samples(tmp_path, labels) for labels in ("equal", "merged"))
    assert len(equal.ids) == 36
    assert set(merged.ids) - set(equal.ids) == {"41"}
    assert labels(merged)[merged.ids.index("41")] == "positive"
    assert by_id(equal)["5"] == "positive café 5"


def test_mvsa_keeps_one_text_in_one_split(tmp_path):
    written("mvsa_single", tmp_path)
    found = mvsa_single.samples(tmp_path)
    same = [i for i, name in enumerate(found.ids) if name in ("3", "6", "9")]
    for seed in range(5):
        rows = load_dataset("mvsa_single", LIGHT | {"split_seed": seed}, tmp_path, tmp_path / "cache").rows
        assert sorted(sum(i in own for i in same) for own in rows.values()) == [0, 0, 3]


def test_mvsa_in_the_splits_of_papers(tmp_path):
    written("mvsa_single", tmp_path)
    home = tmp_path / "MVSA_Single"
    put(home / "my_train_mvsa.txt", "1.jpg neutral\n2.jpg positive\n3.jpg negative\n")
    put(home / "my_test_mvsa.txt", "4.jpg Neutral\n6.jpg negative\n")
    found = mvsa_single.samples(tmp_path)
    assert (found.ids, found.split) == (("1", "2", "3", "4", "6"), ("train",) * 3 + ("test",) * 2)
    assert repeated(found) == "of 2 test rows some repeat a train row: 1 in text"
    for split, name in (("train", "1"), ("dev", "2"), ("test", "3")):
        row = {"id": name, "label": "neutral", "text": "a tweet", "img": f"data/{name}.jpg"}
        jsonl(home / f"{split}.jsonl", [row])
    found = mvsa_single.samples(tmp_path)
    assert found.split == ("train", "validation", "test")
    assert found.cells["image"][1] == (home / "data/2.jpg",)


# crisismmd


def test_crisismmd_merges_classes_and_passes_over_a_tenth_column(tmp_path):
    found = written("crisismmd", tmp_path).samples(tmp_path)
    assert found.classes == AID
    assert labels(found)[:6] == [*AID, AID[0]]
    assert found.cells["text"][1] == '"help vehicle_damage'


def test_crisismmd_reads_of_all_rows_those_that_agree(tmp_path):
    picture(tmp_path / "CrisisMMD_v2.0/data_image/a.jpg")
    rows = [("informative", "informative"), ("informative", "not_informative"), ("not_informative",) * 2]
    table = "".join(
        f"e\t1\t1_{i}\thelp\tdata_image/a.jpg\t{a}\t{a}\t{b}\tx\n" for i, (a, b) in enumerate(rows)
    )
    for split in ("train", "dev", "test"):
        put(tmp_path / f"crisismmd_datasplit_all/task_informative_text_img_{split}.tsv", table)
    found = crisismmd.samples(tmp_path, "informative")
    assert found.ids[:2] == ("1_0", "1_2")
    with pytest.raises(UserError, match=r"agreed_lbl_train.tsv is not there, nor another layout"):
        crisismmd.samples(tmp_path)


def test_crisismmd_refuses_humanitarian_labels_under_another_name(tmp_path):
    home = tmp_path / "CrisisMMD_v2.0"
    for annotation in ("humanitarian", "informative"):
        for split in ("train", "dev", "test"):
            rows = [
                {"id": str(i), "label": a, "text": "x", "img": f"../data_image/{i}.jpg"}
                for i, a in enumerate(AID)
            ]
            jsonl(home / annotation / f"{split}.jsonl", rows)
    found = crisismmd.samples(tmp_path)
    assert found.cells["image"][0][0].resolve() == home / "data_image/0.jpg"
    with pytest.raises(
        UserError, match="holds humanitarian labels, such as 'affected_individuals', not those of 'inf"
    ):
        crisismmd.samples(tmp_path, "informative")


# n24news


def test_n24news_reads_the_part_asked_for_and_an_empty_one_lacks(tmp_path):
    found = written("n24news", tmp_path).samples(tmp_path)
    assert (by_id(found)["train0"], by_id(found)["train3"]) == ("On Arts", None)
    assert by_id(n24news.samples(tmp_path, "headline"))["train3"] == "Opinion today 3"
    assert by_id(n24news.samples(tmp_path, "body"))["train3"] == "long"
    dataset = load_dataset("n24news", LIGHT, tmp_path, tmp_path / "cache")
    assert dataset.present["text"].sum() == 24 - 3


def test_n24news_of_one_list_is_split(tmp_path):
    articles = [{"abstract": "x", "section": "ab"[i % 2], "image_id": i} for i in range(40)]
    put(tmp_path / "N24News/nytimes_dataset.json", json.dumps(articles))
    for i in range(40):
        picture(tmp_path / f"N24News/images/{i}.jpg")
    dataset = load_dataset("n24news", LIGHT, tmp_path, tmp_path / "cache")
    assert dataset.spec.sizes == {"train": 32, "validation": 4, "test": 4}


def test_n24news_of_jsonl_finds_images_that_lay_elsewhere(tmp_path):
    for split in ("train", "test"):
        row = {"id": 1, "label": "Arts", "text": "x", "img": f"/home/them/imgs/{split}.jpg"}
        jsonl(tmp_path / f"N24News/caption/{split}.jsonl", [row])
    picture(tmp_path / "N24News/imgs/train.jpg")
    found = n24news.samples(tmp_path, "caption")
    assert found.cells["image"][0] == (tmp_path / "N24News/imgs/train.jpg",)


# food101


def test_food_titles_are_read_with_and_without_a_header(tmp_path):
    found = written("food101", tmp_path).samples(tmp_path)
    assert by_id(found)["apple_pie_train0"] == "apple_pie, best of 0"
    assert by_id(found)["gnocchi_test1"] == "gnocchi, best of 1"
    assert labels(found) == [cell[0].parent.name for cell in found.cells["image"]]


def test_food_validation_is_carved_by_class(tmp_path):
    written("food101", tmp_path)
    options = LIGHT | {"validation_fraction": 0.25}
    dataset = load_dataset("food101", options, tmp_path, tmp_path / "cache")
    assert dataset.spec.sizes == {"train": 18, "validation": 6, "test": 6}
    assert np.bincount(dataset.target[dataset.rows["validation"]]).tolist() == [3, 3]


def test_food_in_the_splits_of_papers(tmp_path):
    written("food101", tmp_path)
    home = tmp_path / "food101"
    put(home / "my_train_food.txt", "gnocchi_test1.jpg gnocchi\n")
    put(home / "my_test_food.txt", "apple_pie_train0.jpg apple_pie\n")
    found = food101.samples(tmp_path)
    assert dict(zip(found.ids, found.split, strict=True)) == {
        "gnocchi_test1": "train",
        "apple_pie_train0": "test",
    }
    put(home / "my_test_food.txt", "pizza_1.jpg pizza\n")
    with pytest.raises(UserError, match=r"my_test_food\.txt names pizza_1\.jpg, which no table"):
        food101.samples(tmp_path)


def test_food_without_titles_reads_the_texts(tmp_path):
    for split, dish in (("train", "gnocchi"), ("test", "gnocchi"), ("train", "pizza")):
        picture(tmp_path / f"food101/images/{split}/{dish}/{dish}_{split}.jpg")
        put(tmp_path / f"food101/texts_txt/{dish}/{dish}_{split}.txt", f"how to\n cook {dish}")
    found = food101.samples(tmp_path)
    assert by_id(found) == {
        f"{d}_{s}": f"how to cook {d}"
        for d, s in (("gnocchi", "train"), ("pizza", "train"), ("gnocchi", "test"))
    }


# mm_imdb


def test_films_have_the_genres_of_train_without_news_and_their_longest_plot(tmp_path):
    found = written("mm_imdb", tmp_path).samples(tmp_path)
    assert (found.classes, found.task) == (("Comedy", "Drama"), "multilabel")
    assert found.target[:3].tolist() == [[0, 1], [1, 1], [1, 0]]
    assert found.target[found.ids.index("test3")].tolist() == [0, 0]
    assert by_id(found)["train0"] == "a long tale of Drama"


def test_films_of_jsonl(tmp_path):
    for split in ("train", "dev", "test"):
        row = {"id": split, "label": ["Drama"], "text": "x", "image": f"dataset/{split}.jpeg"}
        jsonl(tmp_path / f"mmimdb/{split}.jsonl", [row])
    found = mm_imdb.samples(tmp_path)
    assert found.target.tolist() == [[1]] * 3
    assert found.cells["image"][0] == (tmp_path / "mmimdb/dataset/train.jpeg",)


# what they share


def test_the_middle_of_an_image_is_seven_eighths_of_its_shorter_side(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[4:60, 20:76] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert Centre(size=56).read((tmp_path / "a.png",)).min() == 255
    assert Centre(size=64).read((tmp_path / "a.png",)).mean() > 250


def test_a_text_is_read_as_asked():
    kinds = {
        form: readers(text=form, tokenizer="", length=9, size=8)["text"].spec() for form in ("bag", "words")
    }
    assert kinds["bag"].kind == "vector"
    assert (kinds["words"].kind, kinds["words"].shape) == ("tokens", (9,))


def test_a_label_that_is_none_is_told_with_the_nearest():
    rows = [Row("1", "train", "neutrl", "x", None)]
    with pytest.raises(UserError, match="unknown label 'neutrl' in dataset 'mvsa'; did you mean 'neutral'"):
        gathered("mvsa", rows, "", ("negative", "neutral"))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"train": 1, "validation": 1, "test": 1}, {"train": 5, "validation": 2, "test": 3}),
        ({"train": 1, "test": 1}, {"train": 7, "test": 3}),
        ({"all": 1}, {"all": 10}),
    ],
)
def test_a_split_that_is_yet_to_be_carved_counts_where_it_comes_from(found, wanted):
    assert uncarved({"train": 5, "validation": 2, "test": 3}, found) == wanted


def test_lfs_pointers_are_told(tmp_path):
    written("sarcasm", tmp_path)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    put(tmp_path / "sarcasm/dataset_image/train0.jpg", pointer)
    with pytest.raises(UserError, match=r"Git-LFS pointer.*train0\.jpg"):
        load_dataset("sarcasm", LIGHT, tmp_path, tmp_path / "cache")
    put(tmp_path / "sarcasm/text/train.txt", pointer)
    with pytest.raises(UserError, match=r"train\.txt is a Git-LFS pointer"):
        sarcasm.samples(tmp_path)


def test_a_folder_in_the_place_of_an_image_and_a_missing_one_leave_out_their_rows(tmp_path):
    written("sarcasm", tmp_path)
    images = tmp_path / "sarcasm/dataset_image"
    (images / "train0.jpg").unlink()
    (images / "train0.jpg").mkdir()
    (images / "dev0.jpg").unlink()
    with pytest.raises(UserError, match="2 cells cannot be used"):
        load_dataset("sarcasm", LIGHT, tmp_path, tmp_path / "cache")
    dropped = load_dataset("sarcasm", LIGHT | {"missing": "drop"}, tmp_path, tmp_path / "cache")
    assert dropped.spec.sizes == {"train": 11, "validation": 5, "test": 6}
    lacking = load_dataset("sarcasm", LIGHT | {"missing": "absent"}, tmp_path, tmp_path / "cache")
    assert lacking.present["image"].sum() == 22
