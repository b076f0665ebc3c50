"""The board: a published number beside ours, what differs, by how much, and what has no counterpart."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import pytest
import yaml

from sweeper.reports import report
from sweeper.reports.boards import board, published, writers
from sweeper.reports.boards.board import Board
from sweeper.reports.boards.published import Paper
from sweeper.reports.cells import Result
from tests.sweeper.conftest import TINY

PAPER = Paper.model_validate(
    {
        "paper": "P",
        "title": "t",
        "year": 2020,
        "cite": "A and B: A paper. Venue 2020",
        "metrics": {"Acc": "accuracy", "Corr": "corr"},
        "datasets": {
            "CREMA-D": {"name": "crema_d", "modalities": ["audio", "video"], "nets": ["resnet18"]},
            "KS": {"name": "kinetics_sounds", "modalities": ["audio", "video"], "nets": ["resnet18"]},
        },
        "tables": {
            "one": {
                "where": "Table 1",
                "shows": "what it shows",
                "rows": ["method"],
                "columns": ["dataset", "metric"],
                "selection": "test",
                "seeds": {"mine": 3},
                "notes": ["a slip is in it"],
                "values": [
                    " | CREMA-D | CREMA-D | KS",
                    " | Acc | Corr | Acc",
                    "mine | 71.20 ± 0.30 | 0.812 | 60.0",
                    "joint | 70.50 | — | unreadable",
                    "third | 70.10 | 0.7 | 59.0",
                    "first | 50.10 | 0.6 | 58.0",
                    "other | 72.00 | 0.9 | 57.0",
                ],
                "ours": {
                    "study": "quickstart",
                    "stand_ins": {"KS": {"dataset": "digits", "modalities": ["left"]}},
                    "method": {"mine": "udml", "third": "unimodal {1}", "first": "unimodal {2}"},
                    "missing": {"other": "there is no such method here"},
                },
            }
        },
    }
)
TABLE = PAPER.tables["one"]


def result(dataset: str, method: str, values: list[float], seeds: int = 3, **axes: str) -> Result:
    """Return a result whose accuracies over the report seeds are given."""
    own = {
        "dataset": dataset,
        "encoders": "resnet18",
        "fusion": "concat",
        "method": method,
        "condition": "clean",
    }
    planned = tuple(range(100, 100 + seeds))
    found = {seed: {"accuracy": x, "corr": x} for seed, x in zip(planned, values, strict=False)}
    return Result({**own, **axes}, planned, found, {})


RESULTS = [
    result("crema_d (frames 1)", "udml", [0.70, 0.72, 0.74]),
    result("crema_d (frames 1)", "joint", [0.70, 0.70, 0.70]),
    result("crema_d (frames 1)", "unimodal audio", [0.5, 0.6]),
    result("digits", "udml", [0.9, 0.91, 0.92], encoders="default"),
    result("digits", "unimodal left", [0.8, 0.8, 0.83], encoders="default"),
]


@pytest.fixture(scope="module")
def built() -> Board:
    return board.build(PAPER, TABLE, RESULTS)


def pair(built: Board, *labels: str) -> board.Pair:
    """Return the pair of a method, dataset and metric."""
    return next(p for p in built.pairs if set(labels) <= set(p.number.labels.values()))


def test_a_share_is_compared_in_percent_and_another_metric_in_its_own_unit(built):
    assert pair(built, "mine", "CREMA-D", "Acc").ours == pytest.approx((72.0, 2.0, 3))
    assert pair(built, "mine", "CREMA-D", "Acc").difference == pytest.approx(0.8)
    assert pair(built, "mine", "CREMA-D", "Corr").difference == pytest.approx(0.72 - 0.812)


def test_z_uses_the_papers_spread_where_it_gives_it_and_else_one_more_seed_of_ours(built):
    both = pair(built, "mine", "CREMA-D", "Acc")
    assert both.z == pytest.approx(0.8 / math.sqrt(2.0**2 / 3 + 0.3**2 / 3))
    alone = pair(built, "mine", "KS")
    assert alone.z == pytest.approx((91.0 - 60.0) / (1.0 * math.sqrt(1 + 1 / 3)))


def test_without_a_spread_there_is_no_z(built):
    flat = pair(built, "joint", "CREMA-D", "Acc")
    assert (flat.difference, flat.z) == (pytest.approx(-0.5), None)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (("other", "KS"), "there is no such method here"),
        (("first", "KS"), "digits has nothing like first of KS"),
        (("first", "CREMA-D"), "the study has no unimodal video on crema_d (frames 1) under clean"),
    ],
)
def test_a_number_without_counterpart_says_why(built, labels, why):
    assert pair(built, *labels).why == why
    assert pair(built, *labels).difference is None


def test_a_number_that_the_paper_lacks_has_no_difference_and_ours_is_shown(built):
    lacking = pair(built, "joint", "CREMA-D", "Corr")
    assert (lacking.number.text, lacking.difference) == ("—", None)
    assert "| — | 0.70 ± 0.00 (n=3) |" in re.sub(" +", " ", writers.write(built, "md"))


def test_an_incomplete_cell_says_how_many_seeds_are_done_and_has_no_mean(built):
    assert pair(built, "third", "CREMA-D", "Acc").ours is None
    assert "n=2/3" in writers.write(built, "md")
    partial = board.build(PAPER, TABLE, RESULTS, partial=True)
    assert pair(partial, "third", "CREMA-D", "Acc").ours == pytest.approx((55.0, 7.0710678, 2))
    assert "(n=2/3)" in writers.write(partial, "md")


def test_marks_say_what_differs_and_what_the_paper_does_not_state(built):
    assert pair(built, "mine", "CREMA-D").marks == "S"
    assert pair(built, "joint", "CREMA-D").marks == "S N?"
    assert pair(built, "mine", "KS").marks == "D E S"
    assert [p.comparable for p in (pair(built, "mine", "CREMA-D"), pair(built, "mine", "KS"))] == [
        True,
        False,
    ]
    assert pair(board.build(PAPER, TABLE, [result("KS", "udml", [0.9] * 4, 4)]), "mine", "KS").marks == "S N"


def test_the_papers_own_data_come_before_what_stands_in_for_them():
    own = [result("kinetics_sounds", "udml", [0.6, 0.6, 0.6]), *RESULTS]
    assert pair(board.build(PAPER, TABLE, own), "mine", "KS").comparable


def test_z_stands_in_brackets_where_data_differ(built):
    lines = [re.sub(" +", " ", line) for line in writers.write(built, "md").splitlines()]
    assert "| mine | KS | Acc | 60.0 (n=3) | 91.0 ± 1.0 (n=3) | +31.0 | (+26.8) | D E S |" in lines
    assert "| mine | CREMA-D | Acc | 71.20 ± 0.30 (n=3) | 72.00 ± 2.00 (n=3) | +0.80 | +0.7 | S |" in lines


def test_the_caption_says_both_protocols_and_what_is_known_of_the_paper(built):
    text = writers.write(built, "md")
    for said in (
        "A and B: A paper. Venue 2020; Table 1: what it shows.",
        "Data: the paper's CREMA-D; digits in place of KS.",
        "Encoders: default, resnet18; the paper's: resnet18.",
        "Selected on validation; the paper: test.",
        "Seeds: 3; the paper's: not stated, 3.",
        "D data, E encoders, S selection, N seeds; with ? the paper does not say.",
        "there is no such method here (3)",
        "Note: a slip is in it.",
    ):
        assert said in text


def test_the_order_of_methods_is_compared_within_a_dataset_and_metric():
    values = {"udml": 0.9, "joint": 0.8, "unimodal audio": 0.7, "unimodal video": 0.6}
    same = [result("crema_d", method, [x, x, x]) for method, x in values.items()]
    (order,) = [o for o in board.build(PAPER, TABLE, same).orders if "Acc" in o[0]]
    assert order == ("CREMA-D Acc", 1.0, 4)
    turned = [result("crema_d", method, [-x, -x, -x]) for method, x in values.items()]
    assert board.build(PAPER, TABLE, turned).orders[0][1] == -1.0
    flat = [result("crema_d", method, [0.5, 0.5, 0.5]) for method in values]
    assert board.build(PAPER, TABLE, flat).orders == []


def test_tau_counts_ties_as_kendall_does():
    values = {"udml": 0.8, "joint": 0.8, "unimodal audio": 0.9, "unimodal video": 0.6}
    found = board.build(PAPER, TABLE, [result("crema_d", m, [x, x, x]) for m, x in values.items()])
    assert found.orders[0][1] == pytest.approx((3 - 2) / math.sqrt(5 * 6))  # of six pairs one is tied here


def test_csv_has_a_line_per_number_in_full_precision(built):
    lines = list(csv.DictReader(io.StringIO(writers.write(built, "csv"))))
    assert len(lines) == 15
    first = lines[0]
    assert (first["published"], first["published_std"], first["published_n"], first["n"]) == (
        "71.2",
        "0.3",
        "3",
        "3",
    )
    assert float(first["difference"]) == pytest.approx(0.8)
    assert (first["same_data"], first["same_selection"], lines[3]["same_seeds"]) == ("True", "False", "")
    assert lines[5]["published"] == "unreadable"


@pytest.mark.parametrize("format", ["latex", "html"])
def test_the_other_formats_hold_the_same_numbers(built, format):
    text = writers.write(built, format)
    assert "71.20" in text
    assert "72.00" in text


def test_the_overview_takes_the_median_where_data_and_encoders_are_the_papers(built):
    assert built.apart == pytest.approx(0.65)  # of 0.8 and 0.5; 0.092 has another unit
    never = board.build(PAPER, TABLE.model_copy(update={"where": "Table 2"}), None)
    text = re.sub(" +", " ", writers.overview([built, never], "md"))
    assert "| P | Table 1 | what it shows | quickstart | 13 | 7 | 5 | 3 | 0.65 | — |" in text
    assert "| P | Table 2 | what it shows | quickstart | 13 | — | — | — | — | — |" in text
    assert "Not in this storage: quickstart." in text


def test_plain_data_hold_the_same_numbers(built):
    found = writers.facts(built)
    first = found["cells"][0]
    assert (found["study"], first["labels"]["method"], first["same"]["selection"]) == (
        "quickstart",
        "mine",
        False,
    )
    assert first["published"] == {"text": "71.20 ± 0.30", "value": 71.2, "std": 0.3, "n": 3}
    assert first["here"] == {"mean": pytest.approx(72.0), "std": pytest.approx(2.0), "n": 3, "planned": 3}
    other = next(cell for cell in found["cells"] if cell["labels"]["method"] == "other")
    assert (other["here"]["mean"], other["same"], other["z"]) == (None, None, None)
    assert other["why_missing"] == "there is no such method here"
    (line,) = writers.overview_facts([built])
    counts = [line[name] for name in ("numbers", "followed", "here", "same_data_and_encoders")]
    assert (counts, line["median_difference"]) == ([13, 7, 5, 3], pytest.approx(0.65))


# The command


@pytest.fixture
def follows(here, tmp_path):
    """Run a tiny study that bears the name of one that follows a table, and call its data the paper's."""
    study = {
        **TINY,
        "study": "lfm_table2",
        "dataset": {**TINY["dataset"], "label": "VGGSound"},
        "methods": [{"name": "joint", "label": "AGM"}, {"name": "joint", "label": "MLA", "fusion": "mean"}],
        "search": {"configurations": 1, "seeds": [0]},
        "train": {"epochs": 1},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    assert here("run", path).code == 0
    return here


def test_a_study_is_set_beside_the_table_that_it_follows(follows):
    told = follows("report", "lfm_table2", "--board")
    assert told.code == 0
    (line,) = [re.sub(" +", " ", line) for line in told.table if "AGM" in line and "ACC" in line]
    assert re.fullmatch(
        r"\| AGM \| ACC \| 47.11 \| [\d.]+ ± [\d.]+ \(n=2\) \| \S+ \| \S+ \| E S\? N\? \|", line
    )
    assert "the study has no LFM-LB on VGGSound under clean (2)" in told.out
    mean = report_mean(follows("report", "lfm_table2", "--format", "csv").out)
    board_csv = list(
        csv.DictReader(io.StringIO(follows("report", "lfm_table2", "--board", "--format", "csv").out))
    )
    assert float(board_csv[0]["mean"]) == pytest.approx(100 * mean)
    (told,) = json.loads(follows("report", "lfm_table2", "--board", "--json").out)
    assert told["cells"][0]["here"]["mean"] == pytest.approx(100 * mean)
    overview = json.loads(follows("report", "--board", "--json").out)
    assert [one["here"] for one in overview if one["study"] == "lfm_table2"] == [4]
    assert all(bool(one["study"]) != bool(one["why"]) for one in overview)
    every = follows("report", "--board")
    assert next(line for line in every.table if "lfm_table2" in line).split("|")[7].strip() == "4"


def report_mean(text: str) -> float:
    """Return the accuracy of the first row of a table in CSV."""
    return next(
        float(row["mean"]) for row in csv.DictReader(io.StringIO(text)) if row["metric"] == "accuracy"
    )


def test_what_has_no_board_is_refused_in_a_sentence(here):
    told = here("report", "quickstart", "--board")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "unknown study 'quickstart' in the published tables" in told.err
    told = here("report", "lfm_table2", "--board", "--rows", "method")
    assert (told.code, "a board is laid out as its table" in told.err) == (2, True)
    for arguments in ((), ("--board", "--from-mlflow", "http://localhost")):
        told = here("report", *arguments)
        assert (told.code, "name a study" in told.err) == (2, True)


def test_the_overview_has_a_line_for_each_published_table_in_an_empty_storage_too(here):
    told = here("report", "--board")
    assert told.code == 0
    assert len(told.table) == 2 + sum(len(paper.tables) for paper in published.papers())
    assert "Not in this storage: " in told.out


def test_the_reports_formats_are_those_of_the_board(built):
    for format in report.SUFFIXES:
        assert writers.write(built, format)
