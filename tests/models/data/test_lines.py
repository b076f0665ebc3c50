"""Tables line by line: what is read whatever the file, and what is told of one that cannot be."""

import pytest

from sweeper.models.data.lines import by_split, commas, contents, fields, lines, objects, pairs
from sweeper.models.errors import UserError


@pytest.fixture
def table(tmp_path):
    def write(content, name="a.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_bom_is_survived_and_another_encoding_told_or_fallen_back_on(table):
    assert contents(table(b"\xef\xbb\xbfid")) == "id"
    assert contents(table(b"caf\xe9"), fallback="latin-1") == "café"
    with pytest.raises(UserError, match=r"a\.txt is no UTF-8 text"):
        contents(table(b"caf\xe9"))


def test_a_missing_file_and_a_folder_in_its_place_are_told(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match=r"cannot be read .*; put the published file there"):
            contents(path)


def test_only_line_feeds_end_lines_and_empty_ones_are_passed_over(table):
    assert list(lines(table("a\u2028b\x85c\r\n\n d\n"))) == [(1, "a\u2028b\x85c"), (3, " d")]


def test_quotes_are_letters_between_tabs_and_quotes_between_commas(table):
    assert list(fields(table('"a\tb"\n'), least=2)) == [(1, ['"a', 'b"'])]
    assert list(commas(table('"a, ""b""\n",c\n'), least=2)) == [['a, "b"\n', "c"]]


@pytest.mark.parametrize(("reader", "what"), [(fields, "tab"), (commas, "comma")])
def test_a_line_that_is_too_short_is_told(reader, what, table):
    with pytest.raises(UserError, match=rf"line 2 has 1 {what}-separated fields; at least 2 are needed"):
        list(reader(table("a\tb,\tc\nd\n"), least=2))


def test_pairs_are_a_word_and_the_rest(table):
    assert list(pairs(table("1.jpg  ice cream \n"))) == [("1.jpg", "ice cream")]
    with pytest.raises(UserError, match=r"line 1 is '1\.jpg'; a name, a space and a label"):
        list(pairs(table("1.jpg\n")))


@pytest.mark.parametrize(
    ("content", "name"), [('[{"a": 1}, {"a": 2}]', "a.json"), ('{"a": 1}\n\n{"a": 2}', "a.jsonl")]
)
def test_objects_of_a_list_and_of_lines(content, name, table):
    assert list(objects(table(content, name), "a")) == [{"a": 1}, {"a": 2}]


def test_broken_json_and_a_key_that_lacks_are_told(table):
    with pytest.raises(UserError, match=r"a\.jsonl is no valid JSON"):
        list(objects(table('{"a": 1', "a.jsonl")))
    with pytest.raises(UserError, match="object 2 has no 'b'; a, b are needed"):
        list(objects(table('{"a": 1, "b": 2}\n{"a": 1}', "a.jsonl"), "a", "b"))
    with pytest.raises(UserError, match="object 1 has no 'a'"):
        list(objects(table('["a"]', "a.json"), "a"))


def test_the_files_of_splits_are_found_under_the_names_that_papers_give_them(table, tmp_path):
    assert by_split(tmp_path, "{}.tsv") == {}
    train = table("", "train.tsv")
    with pytest.raises(UserError, match=r"train\.tsv is there, but test\.tsv beside it is not"):
        by_split(tmp_path, "{}.tsv")
    valid, test = table("", "valid.tsv"), table("", "test.tsv")
    assert by_split(tmp_path, "{}.tsv") == {"train": train, "validation": valid, "test": test}
