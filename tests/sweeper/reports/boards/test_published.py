"""Published tables: they say what papers print, and every number has its place among a study's arms or a reason."""

from __future__ import annotations

from copy import deepcopy
from itertools import groupby

import pytest
import yaml

from sweeper import bridge
from sweeper.commands.base import data_root
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entries
from sweeper.reports.boards import published
from sweeper.reports.boards.board import counterpart
from sweeper.reports.boards.published import Number, PublishedTable
from sweeper.study import schema, unfold
from sweeper.study.arms import Arm

TABLES = {
    (paper.paper, key): (paper, table) for paper in published.papers() for key, table in paper.tables.items()
}
SMALL = {
    "paper": "p",
    "title": "t",
    "year": 2020,
    "cite": "c",
    "metrics": {"Acc": "accuracy"},
    "datasets": {"A": {"name": "digits"}},
    "tables": {
        "one": {
            "where": "Table 1",
            "shows": "s",
            "rows": ["method"],
            "columns": ["metric"],
            "fixed": {"dataset": "A"},
            "selection": "test",
            "seeds": {"mine": 3},
            "values": [" | Acc", "theirs | 70.50", "mine | 71.20 ± 0.3", "third | —", "fourth | unreadable"],
            "ours": {
                "study": "quickstart",
                "method": {"mine": "joint"},
                "missing": {"third": "it is not here"},
            },
        }
    },
}


def cells(paper: str, key: str) -> dict[tuple[str, ...], Number]:
    """Return a table's numbers by the labels of its rows and columns."""
    _, table = TABLES[paper, key]
    return {
        tuple(n.labels[axis] for axis in (*table.rows, *table.columns)): n for n in published.numbers(table)
    }


# What the papers say of their tables


def test_a_number_keeps_what_is_printed_and_of_how_many_seeds():
    number = cells("LFM", "table1")["Ours-LB", "CREMA-D", "MAP"]
    assert (number.text, number.value, number.std, number.n) == ("90.06 ± 1.09", 90.06, 1.09, 3)
    assert number.labels["condition"] == "clean"
    assert cells("LFM", "table1")["Sum", "CREMA-D", "MAP"].n is None
    assert cells("LFM", "table1")["OGM", "NVGesture", "ACC"].value is None
    assert cells("UDML", "table2")["UDML", "CMU-MOSI", "Corr"].places == 3


@pytest.mark.parametrize(
    ("paper", "key", "count", "printed"),
    [
        ("LFM", "table1", 230, 208),
        ("LFM", "table2", 12, 12),
        ("LFM", "table3", 48, 48),
        ("LFM", "table4", 54, 54),
        ("LFM", "table5", 18, 18),
        ("two-stage", "tableF1", 48, 48),
        ("two-stage", "tableF2", 48, 48),
        ("two-stage", "tableF3", 10, 10),
        ("UDML", "table1", 54, 44),
        ("UDML", "table2", 60, 54),
        ("UDML", "table3", 70, 70),
        ("UDML", "table4", 12, 12),
        ("UDML", "table5", 12, 12),
    ],
)
def test_no_cell_is_left_out(paper, key, count, printed):
    found = cells(paper, key)
    assert (len(found), sum(n.value is not None for n in found.values())) == (count, printed)


def test_gaps_are_differences_but_for_the_two_that_the_notes_name():
    rows = {
        row: [n.value for _, n in own]
        for row, own in groupby(cells("LFM", "table3").items(), lambda x: x[0][:3])
    }
    wrong = {gap for _, one, other, gap in rows.values() if abs(abs(one - other) - gap) > 0.005}
    assert len(rows) == 12
    assert wrong == {3.80, 19.06}


def test_emlp_is_best_in_nine_of_twelve_as_the_supplement_says():
    found = cells("two-stage", "tableF1")
    places = {(dataset, level) for dataset, _, level in found}
    best = [max((found[d, m, p].value, m) for m in ("LR", "RF", "SVR", "EMLP"))[1] for d, p in places]
    assert (len(best), best.count("EMLP")) == (12, 9)


@pytest.mark.parametrize("key", ["table1", "table2", "table3"])
def test_udml_is_best_everywhere_as_the_paper_says(key):
    columns: dict[tuple[str, ...], dict[str, float]] = {}
    for number in cells("UDML", key).values():
        if number.value is not None:
            where = tuple(number.labels[axis] for axis in ("dataset", "condition", "metric"))
            columns.setdefault(where, {})[number.labels["method"]] = number.value
    assert {max(own, key=own.get) for own in columns.values()} == {"UDML"}


def test_clean_rows_of_udml_are_the_same_in_two_tables_but_for_tmc():
    clean, noisy = cells("UDML", "table1"), cells("UDML", "table3")
    names = {"Late fusion": "Late Fusion"}
    apart = {
        (dataset, method)
        for (dataset, method, condition), number in noisy.items()
        if condition == "clean" and number.value != clean[names.get(method, method), dataset, "Acc"].value
    }
    assert apart == {("MVSA-Single", "TMC")}


# What stands beside them


@pytest.fixture(scope="module")
def unfolded(tmp_path_factory) -> dict[str, tuple[schema.Study, list[Arm]]]:
    """Every study that follows a table with its arms, without the data; of text encoders nothing is there but words."""
    from tokenizers import Tokenizer, models

    if data_root(None) is None:
        pytest.skip("SWEEPER_DATA names no folder of datasets")
    folder = tmp_path_factory.mktemp("models")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPER_MODELS", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(unfold, "_fingerprinted", lambda arms, *_: list(arms))
        for name in {table.ours.study for _, table in TABLES.values() if table.ours}:
            study = schema.load(name)
            for own in study.dataset:
                place = folder / str(({**entries("dataset")[own["name"]].defaults(), **own}).get("tokenizer"))
                place.mkdir(parents=True, exist_ok=True)
                Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(place / "tokenizer.json"))
            found[name] = study, unfold.unfold(study, data_root(None))
    return found


@pytest.mark.parametrize(("paper", "key"), [where for where, (_, table) in TABLES.items() if table.ours])
def test_each_number_names_an_arm_of_the_study_or_says_why_there_is_none(unfolded, paper, key):
    of, table = TABLES[paper, key]
    study, arms = unfolded[table.ours.study]
    beside = 0
    for number in published.numbers(table):
        found = counterpart(of, table, number, [arm.axes["dataset"] for arm in arms])
        if isinstance(found, str):
            assert found in table.ours.missing.values() or " has nothing like " in found, number.labels
            continue
        beside += 1
        assert found["condition"] in study.conditions
        own = [
            a for a in arms if (a.axes["dataset"], a.axes["method"]) == (found["dataset"], found["method"])
        ]
        assert len(own) == 1, found
        bridge.check_metric(
            found["metric"], bridge.task_of(own[0].dataset["name"], bridge.options_of(own[0].dataset))
        )
        modality = found["metric"].partition("/")[2]
        assert not modality or modality in own[0].reads
    assert beside


def test_a_table_that_no_study_follows_says_why():
    assert {where: bool(table.why) for where, (_, table) in TABLES.items() if not table.ours} == {
        ("CL-DMDF", "nyu_depth_v2"): True
    }


def test_only_numbers_that_were_read_off_another_text_are_second_hand():
    assert {paper for (paper, _), (_, table) in TABLES.items() if table.where == "second-hand"} == {"CL-DMDF"}
    assert cells("CL-DMDF", "cmu_mosei")["CL-DMDF", "MAE"].text == published.UNREADABLE


# Mistakes in a file


def test_a_small_file_is_read(tmp_path):
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(SMALL))
    (paper,) = published.papers(tmp_path)
    numbers = published.numbers(paper.tables["one"])
    assert [n.value for n in numbers] == [70.5, 71.2, None, None]
    assert [n.n for n in numbers] == [None, 3, None, None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"selection": "luck"}, "selection is 'luck'; input should be 'test', 'validation' or 'unstated'"),
        ({"colour": "red"}, "tables.one.colour is 'red'; extra inputs are not permitted"),
        ({"values": [" | Acc", "a | 1 | 2"]}, "the line of 'a' has 3 fields, the first 2"),
        ({"values": [" | Acc", "a | about 7"]}, "'about 7' is no number, nor a number ± another"),
        ({"values": [" | Acc", "mine | 7", "mine | 8"]}, "clean, A, mine, Acc stands twice"),
        ({"values": ["mine | 7"]}, "its values should have 1 lines of heads, after 1 empty fields"),
        ({"values": [" | ACC", "mine | 7"]}, "unknown metric 'ACC'"),
        ({"fixed": {"dataset": "B"}}, "unknown dataset 'B'"),
        ({"seeds": {"min": 3}}, "unknown label 'min'"),
        ({"ours": {"study": "quickstat"}}, "unknown study 'quickstat'"),
        ({"ours": {"study": "quickstart", "method": {"my": "joint"}}}, "unknown label 'my'"),
        ({"ours": None}, "it has neither `ours`, the study that follows it, nor `why` there is none"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(tmp_path, change, said):
    raw = deepcopy(SMALL)
    raw["tables"]["one"] |= change
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(UserError) as told:
        published.papers(tmp_path)
    assert "published file 'p.yaml'" in str(told.value)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_study_that_follows_no_table_is_refused():
    with pytest.raises(UserError, match="unknown study 'quickstart' in the published tables"):
        published.following("quickstart")
    assert [table.where for _, table in published.following("udml_table4")] == ["Table 4"]


def test_a_label_is_that_of_the_one_before_where_it_is_left_out():
    table = PublishedTable.model_validate(
        SMALL["tables"]["one"]
        | {
            "rows": ["dataset", "method"],
            "columns": ["condition", "metric"],
            "fixed": {},
            "values": [
                "|| clean | | noise |",
                " | | a | b | a | b",
                "A | x | 1 | 2 | 3 | 4",
                "| y | 5 | 6 | 7 | 8",
            ],
        }
    )
    found = {tuple(n.labels.values()): n.value for n in published.numbers(table)}
    assert len(found) == 8
    assert {frozenset(k): v for k, v in found.items()}[frozenset({"A", "y", "noise", "a"})] == 7
