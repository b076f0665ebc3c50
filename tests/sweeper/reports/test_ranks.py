"""Mean ranks over datasets, Friedman's test and the critical difference, against Demšar's example and SciPy."""

from __future__ import annotations

import csv
import io
import itertools
import random
from dataclasses import replace

import pytest
from scipy import stats

from sweeper.ledger.history import History
from sweeper.reports import figures, report
from sweeper.reports.cells import Result
from sweeper.reports.plots.lines import _lanes, mean_ranks
from sweeper.reports.ranks import rank
from sweeper.reports.statistics import critical_difference, friedman, ranks
from tests.sweeper.reports.test_report import arm, plan, whole

# Demšar, JMLR 7 (2006), table 6: AUC of C4.5, with m, with cf, with both, on 14 datasets; on the thirteenth the paper
# ranks the last two, which it prints as equal
TREES = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.590, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.000, 1.000, 1.000, 1.000),
    (0.940, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975),
    (0.957, 0.978, 0.946, 0.970),
]


def results(*rows, names=("a", "b", "c", "d"), seeds=(100, 101)):
    """One result of each name on each of the datasets d0, d1, …; a row has a value for each name."""
    return [
        Result(
            axes={"dataset": f"d{i}", "fusion": "concat", "method": name, "condition": "clean"},
            planned=seeds,
            values={seed: {"accuracy": value} for seed in seeds},
            failed={},
        )
        for i, row in enumerate(rows)
        for name, value in zip(names, row, strict=False)
    ]


def ranking(*rows, **options):
    return rank(results(*rows, **options), "accuracy", "clean", "max")


# Statistics


def test_demsars_example():
    found = ranking(*TREES)
    published = {"d": 1.964, "b": 2.000, "c": 2.893, "a": 3.143}
    assert found.means == pytest.approx(published, abs=5e-4)
    assert list(found.means) == list(published)
    assert found.difference == pytest.approx(1.25, abs=5e-3)
    assert found.groups == [(min(found.means.values()), max(found.means.values()))]


def test_equal_values_share_the_mean_of_their_ranks_and_rounding_is_no_difference():
    assert ranks([0.5, 0.9, 0.5, 0.1], "max") == [2.5, 1.0, 2.5, 4.0]
    assert ranks([0.5, 0.9, 0.5, 0.1], "min") == [2.5, 4.0, 2.5, 1.0]
    assert ranks([0.1 + 0.2, 0.3], "max") == [1.5, 1.5]


@pytest.mark.parametrize(("n", "k"), [(2, 3), (5, 3), (6, 4), (14, 5), (8, 30)])
@pytest.mark.parametrize("decimals", [1, 9])
def test_friedman_is_scipys_ties_included(n, k, decimals):
    draw = random.Random(n * k)
    rows = [[round(draw.random(), decimals) for _ in range(k)] for _ in range(n)]
    expected = stats.friedmanchisquare(*zip(*rows, strict=True))
    assert friedman([ranks(row, "min") for row in rows]) == pytest.approx(tuple(expected))


def test_rankings_without_any_difference_are_no_evidence():
    assert friedman([[2.0, 2.0, 2.0]] * 4) == (0.0, 1.0)


# Demšar, table 5 (a), printed to three digits
@pytest.mark.parametrize(
    ("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (8, 3.031), (10, 3.164)]
)
def test_the_critical_difference_has_the_papers_quantile(k, q):
    assert critical_difference(k, 10, 0.05) == pytest.approx(q * (k * (k + 1) / 60) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("k", [3, 30])
def test_the_critical_difference_has_scipys_quantile(k):
    q = stats.studentized_range.ppf(0.95, k, float("inf")) / 2**0.5
    assert critical_difference(k, 6, 0.05) == pytest.approx(q * (k * (k + 1) / 36) ** 0.5, rel=1e-6)


# Who is ranked


def test_only_the_headline_metric_under_the_first_condition_counts_and_its_direction_is_respected():
    found = results((0.1, 0.2), (0.1, 0.2))
    noisy = [replace(r, axes={**r.axes, "condition": "noise"}, values={}) for r in found]
    assert rank([*found, *noisy], "accuracy", "clean", "min").means == {"a": 1.0, "b": 2.0}


def test_who_lacks_a_dataset_or_a_seed_is_named_and_not_ranked():
    found = results((0.9, 0.8, 0.7), (0.9, 0.8, 0.7), (0.9, 0.8))
    found[4] = replace(found[4], values={100: {"accuracy": 0.8}})
    partner = results((0.5,), (0.5,), (0.5,), names=["e"])
    one = rank([*found, *partner], "accuracy", "clean", "max")
    assert one.means == {"a": 1.0, "e": 2.0}
    assert one.left_out == {"incomplete on d1": ["b"], "not on every dataset": ["c"]}
    assert one.sentences()[1] == "Without a mean rank: b (incomplete on d1); c (not on every dataset)."


def test_fusions_are_named_where_they_tell_apart():
    found = results((0.9,), (0.9,))
    summed = [
        replace(r, axes={**r.axes, "fusion": "sum"}, values={s: {"accuracy": 0.8} for s in r.planned})
        for r in found
    ]
    assert rank([*found, *summed], "accuracy", "clean", "max").means == {"a concat": 1.0, "a sum": 2.0}


def test_sets_of_encoders_are_named_where_they_tell_apart_and_not_where_datasets_differ_in_them():
    def with_encoders(name, value):
        return [
            replace(r, axes={**r.axes, "encoders": name}, values={s: {"accuracy": value} for s in r.planned})
            for r in results((0.9,), (0.9,))
        ]

    frozen, trained = with_encoders("frozen", 0.9), with_encoders("trained", 0.8)
    means = {"a frozen": 1.0, "a trained": 2.0}
    assert rank([*frozen, *trained], "accuracy", "clean", "max").means == means
    own = [
        replace(r, axes={**r.axes, "encoders": r.axes["dataset"]}) for r in results((0.9, 0.8), (0.9, 0.8))
    ]
    assert rank(own, "accuracy", "clean", "max").means == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("rows", [[(0.1, 0.2, 0.3)], [(0.1,), (0.2,)]])
def test_one_dataset_or_one_method_is_no_ranking(rows):
    assert ranking(*rows) is None


def test_groups_are_the_largest_whose_members_all_lie_within_the_critical_difference():
    found = ranking(*[(0.9, 0.8, 0.7, 0.6)] * 6)
    assert found.difference == pytest.approx(1.915, abs=1e-3)
    assert found.groups == [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    assert ranking(*[(0.9, 0.8)] * 20).groups == []


# The report


METHODS = ("joint", "lfm", "ogm", "unimodal left")


def study(**layout):
    """Records of three methods on three datasets, and of one that is on the first alone."""
    arms = [
        arm(f"{d}{m}", dataset=d, method=m)
        for d in ("d0", "d1", "d2")
        for m in METHODS[: 4 if d == "d0" else 3]
    ]
    values = {"joint": 0.7, "lfm": 0.9, "ogm": 0.8, "unimodal left": 0.5}
    records = [r for one in arms for r in whole(one, [values[one.axes["method"]]] * 2)]
    return History.of("s", [plan(*arms, **layout), *records])


def rows_of(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]


def test_mean_ranks_stand_as_a_further_dataset_and_the_caption_says_what_they_are_worth():
    found = report.build(study(metrics=["accuracy"]))
    head, _, *body = rows_of(found.text())
    assert head[-1].startswith("mean rank")
    assert {row[0]: row[-1] for row in body} == {
        "joint": "3.00",
        "lfm": "1.00",
        "ogm": "2.00",
        "unimodal left": "—",
    }
    assert found.caption[-2:] == [
        "Mean rank: of 3 methods over 3 datasets, by accuracy (clean); Friedman's test 6.00, p = 0.05; those that"
        " differ by less than 1.91 are not told apart (Nemenyi, α = 0.05).",
        "Without a mean rank: unimodal left (not on every dataset).",
    ]


def test_mean_ranks_are_a_row_where_datasets_are_rows():
    found = report.build(study(rows=["dataset"], columns=["method"], metrics=["accuracy"]))
    assert rows_of(found.text())[-1] == ["mean rank", "3.00", "1.00", "2.00", "—"]


def test_every_format_has_the_mean_ranks():
    found = report.build(study(metrics=["accuracy"]))
    lines = csv.DictReader(io.StringIO(found.text("csv")))
    means = {
        line["method"]: (line["mean"], line["values"]) for line in lines if line["dataset"] == "mean rank"
    }
    assert means["lfm"] == ("1.0", "d0=1.0;d1=1.0;d2=1.0")
    assert '<td title="d0: 1, d1: 1, d2: 1">1.00</td>' in found.text("html")
    assert "mean rank" in found.text("latex")
    assert found.text("latex").isascii()


def test_the_figure_has_a_line_for_each_ranked_method_and_the_same_bytes_again(tmp_path):
    history = study()
    made = figures.draw(history, report.build(history), lambda key: [], tmp_path / "figures")
    assert {"ranks.png", "ranks.pdf"} <= {path.name for path in made}
    first, second = (mean_ranks(ranking(*TREES), tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_two_methods_need_no_figure_of_ranks(tmp_path):
    one, other = (arm(d, dataset=d) for d in ("d0", "d1"))
    rest = [arm(f"{d}l", dataset=d, method="lfm") for d in ("d0", "d1")]
    records = [r for each in (one, other, *rest) for r in whole(each, [0.7, 0.8])]
    history = History.of("s", [plan(one, other, *rest), *records])
    found = report.build(history)
    made = figures.draw(history, found, lambda key: [], tmp_path / "figures")
    assert found.ranking
    assert "ranks" not in {path.stem for path in made}


def test_bars_that_overlap_never_share_a_lane():
    groups = [(1.0, 3.0), (2.0, 5.0), (3.5, 6.0), (5.5, 7.0)]
    lanes = _lanes(groups)
    assert lanes == [1, 2, 1, 2]
    for (a, one), (b, other) in itertools.combinations(zip(groups, lanes, strict=True), 2):
        assert one != other or a[1] < b[0]
