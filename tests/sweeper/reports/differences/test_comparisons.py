"""Pairs of methods: verdicts, intervals, corrections, datasets; what the page and the CSV of them say."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import replace
from itertools import product
from statistics import fmean, median

import pytest
from scipy import stats

from sweeper.ledger.history import History
from sweeper.models.errors import UserError
from sweeper.reports import figures, report
from sweeper.reports.differences.pairs import improvement
from sweeper.reports.differences.statements import long_form, page, power, titles
from sweeper.reports.differences.verdicts import verdict
from sweeper.reports.statistics import holm, mean_std
from tests.sweeper.reports.test_report import arm, built, plan, whole

SEEDS = (100, 101, 102, 103, 104)


def by_seed(*values):
    return dict(enumerate(values))


# Verdicts


@pytest.mark.parametrize(
    ("one", "said"),
    [
        ([0.90, 0.91, 0.92, 0.93, 0.94], "better"),
        ([0.70, 0.71, 0.72, 0.73, 0.74], "worse"),
        ([0.801, 0.809, 0.821, 0.829, 0.841], "equal"),
        ([0.70, 0.91, 0.72, 0.93, 0.80], "unclear"),
        ([0.80, 0.81, 0.82, 0.83], "untested"),
    ],
)
def test_a_verdict_is_a_difference_or_its_absence_or_neither(one, said):
    other = by_seed(0.80, 0.81, 0.82, 0.83, 0.84)
    noisy = by_seed(*[v + 0.001 * (-1) ** i for i, v in enumerate(one)])
    assert verdict(noisy, other, "max", share=True) == said
    turned = {"better": "worse", "worse": "better"}.get(said, said)
    assert verdict(other, noisy, "max", share=True) == turned
    assert verdict(noisy, other, "min", share=True) == turned


def test_equal_is_what_two_one_sided_t_tests_exclude_a_point_for():
    draw, found = random.Random(0), set()
    for _ in range(60):
        spread = draw.choice([0.002, 0.01, 0.03])
        a, b = ([0.9 + draw.gauss(0, spread) for _ in SEEDS] for _ in "ab")
        d = [x - y for x, y in zip(a, b, strict=True)]
        outside = max(
            stats.ttest_1samp(d, -0.01, alternative="greater").pvalue,
            stats.ttest_1samp(d, 0.01, alternative="less").pvalue,
        )
        expected = "equal" if outside < 0.05 else "unclear"
        if stats.ttest_rel(a, b).pvalue >= 0.05:
            found.add(expected)
            assert verdict(by_seed(*a), by_seed(*b), "max", share=True) == expected
    assert found == {"equal", "unclear"}


def test_a_corrected_p_value_takes_the_place_of_the_own():
    a, b = by_seed(0.95, 0.94, 0.95, 0.96, 0.95), by_seed(0.90, 0.91, 0.92, 0.90, 0.91)
    assert verdict(a, b, "max", share=True) == "better"
    assert verdict(a, b, "max", share=True, p=0.2) == "unclear"


# Families

VALUES = {
    "unimodal left": [0.60, 0.625, 0.61, 0.63, 0.605],
    "joint": [0.80, 0.82, 0.81, 0.83, 0.80],
    "lfm": [0.87, 0.90, 0.88, 0.90, 0.88],
    "ogm": [0.801, 0.819, 0.812, 0.829, 0.801],
    "mla": [0.70, 0.90, 0.78, 0.91, 0.85],
}


def arms(*datasets, methods=tuple(VALUES)):
    both = ("left", "right")
    return [
        replace(arm(f"{d}{m}", dataset=d, method=m), reads=both[:1] if "unimodal" in m else both)
        for d, m in product(datasets, methods)
    ]


def study(n=5, datasets=("digits",), shifts=(0.0,), **layout):
    """A study in which every method does on the further datasets what it does on the first, less a shift."""
    planned = arms(*datasets)
    at = dict(zip(datasets, shifts, strict=True))
    records = [
        record
        for one in planned
        for record in whole(one, [v - at[one.axes["dataset"]] for v in VALUES[one.axes["method"]][:n]])
    ]
    return [plan(*planned, seeds=SEEDS[:n], **layout), *records]


def family(**options):
    (found,) = built(*study(**options)).compared
    return found


def test_the_best_and_the_baseline_are_found_and_names_stand_best_first():
    found = family()
    assert found.names == ("lfm", "mla", "ogm", "joint", "unimodal left")
    assert (found.best, found.baseline) == ("lfm", "joint")


def test_a_floor_is_no_baseline():
    planned = [replace(one, floor=one.axes["method"] == "joint") for one in arms("digits")]
    records = [r for one in planned for r in whole(one, VALUES[one.axes["method"]])]
    (found,) = built(plan(*planned, seeds=SEEDS), *records).compared
    assert found.baseline == "lfm"


def test_pairs_have_scipys_test_holms_correction_and_a_verdict():
    found = family()
    ps = {(p.one, p.other): stats.ttest_rel(VALUES[p.one], VALUES[p.other]).pvalue for p in found.pairs}
    assert {(p.one, p.other): p.p for p in found.pairs} == pytest.approx(ps, rel=1e-6)
    assert [p.corrected for p in found.pairs] == pytest.approx(holm(list(ps.values())), rel=1e-6)
    said = {(p.one, p.verdict) for p in found.against("joint")}
    assert said == {("lfm", "better"), ("ogm", "equal"), ("mla", "unclear"), ("unimodal left", "worse")}


def test_what_only_the_uncorrected_test_tells_says_so():
    values = {**VALUES, "mla": [0.83, 0.835, 0.862, 0.852, 0.805]}
    records = [r for one in arms("digits") for r in whole(one, values[one.axes["method"]])]
    found = built(plan(*arms("digits"), seeds=SEEDS), *records)
    (pair,) = [p for p in found.compared[0].against("joint") if p.one == "mla"]
    assert pair.p < 0.05 < pair.corrected
    assert (pair.verdict, pair.turned().verdict) == ("better alone", "worse alone")
    assert "better, but not after correction: mla" in found.comparisons_text()


def test_a_pair_turned_round_says_the_same():
    found = family()
    (one,) = [pair for pair in found.against("joint") if pair.one == "lfm"]
    (other,) = [pair for pair in found.against("lfm") if pair.one == "joint"]
    assert one.difference == -other.difference == pytest.approx(0.074)
    assert one.interval == (-other.interval[1], -other.interval[0])
    assert one.improvement == 1 - other.improvement == 1.0
    assert (one.verdict, other.verdict) == ("better", "worse")
    assert one.turned().turned() == one


def test_below_five_seeds_there_is_no_test_and_no_interval_but_the_power_is_told():
    found = family(n=3)
    assert {(p.p, p.corrected, p.interval, p.verdict) for p in found.pairs} == {
        (None, None, None, "untested")
    }
    stds = [
        mean_std([a - b for a, b in zip(VALUES[p.one][:3], VALUES[p.other][:3], strict=True)])[1]
        for p in found.pairs
    ]
    assert found.visible == pytest.approx(3.26404 * median(stds), rel=1e-4)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_probability_of_improvement_is_mann_and_whitneys_by_dataset(direction):
    draw = random.Random(1)
    one, other = ([[draw.randrange(6) for _ in range(4)] for _ in range(3)] for _ in "ab")
    u = [stats.mannwhitneyu(a, b).statistic / 16 for a, b in zip(one, other, strict=True)]
    expected = fmean(u) if direction == "max" else 1 - fmean(u)
    assert improvement(one, other, direction) == pytest.approx(expected)


# Over datasets

SIX = tuple("abcdef")
SHIFTS = (0.0, 0.1, 0.05, 0.2, 0.15, 0.12)


def test_over_datasets_wilcoxon_compares_the_means():
    found = built(*study(datasets=SIX, shifts=SHIFTS)).overall
    assert (found.best, found.baseline, len(found.datasets)) == ("lfm", "joint", 6)
    pairs = {pair.one: pair for pair in found.against("joint")}
    assert pairs["lfm"].p == pytest.approx(2 / 2**6)
    assert pairs["lfm"].difference == pytest.approx(0.074)
    assert pairs["lfm"].corrected == pytest.approx(10 * 2 / 2**6)
    assert found.least_datasets == 9
    assert {pair.verdict for pair in found.pairs} == {"better alone"}
    assert found.drawn == "datasets, and seeds in each"
    low, high = pairs["lfm"].interval
    assert low < 0.074 < high


def test_too_few_datasets_are_told_and_intervals_are_about_these():
    found = built(*study(datasets=SIX[:3], shifts=SHIFTS[:3]))
    assert {pair.verdict for pair in found.overall.pairs} == {"untested"}
    assert found.overall.drawn == "seeds within each dataset"
    text = found.comparisons_text()
    assert (
        "signed-rank test over 3 datasets has no p-value below 0.25: corrected for 10 pairs, it can find"
        in text
    )
    assert "no difference before 9 datasets" in text
    assert "drawing seeds within each dataset, which says nothing of other datasets" in text


def test_interquartile_means_stand_with_their_interval():
    found = built(*study(datasets=SIX, shifts=SHIFTS)).overall
    mean, (low, high) = found.interquartile_means["lfm"]
    values = [v - shift for shift in SHIFTS for v in VALUES["lfm"]]
    assert mean == pytest.approx(stats.trim_mean(values, 0.25))
    assert low < mean < high


# What is written


def test_the_page_says_who_is_what_to_the_best_and_to_the_baseline():
    text = built(*study()).comparisons_text()
    assert text.startswith("# s: who differs from whom, by accuracy (larger is better)\n\n## digits\n")
    assert "5 methods, n = 5 seeds; the best mean is that of lfm (88.6).\n" in text
    assert "Against lfm: worse: ogm, joint, unimodal left; not told apart: mla.\n" in text
    assert (
        "Against the baseline joint: better: lfm; worse: unimodal left; equal within 1 point: ogm;"
        " not told apart: mla.\n"
    ) in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({len(line) for line in lines[:9]}) == 1
    assert [cell.strip() for cell in lines[2].split("|")][1:4] == ["mla", "lfm", "−5.80"]


def test_below_five_seeds_the_page_shows_differences_alone_and_says_why():
    text = built(*study(n=3)).comparisons_text()
    assert "Nothing is tested: that needs 5 report seeds.\n" in text
    assert "With n = 3 seeds, differences below " in text
    assert "p (Holm)" not in text


def test_the_table_says_which_differences_its_seeds_do_not_show():
    (said,) = [line for line in built(*study(n=3)).text().splitlines() if line.startswith("Power")]
    assert said == (
        f"Power: differences in accuracy below {100 * family(n=3).visible:.1f} points can go unseen: a paired t-test"
        " over n = 3 seeds (two-sided, α = 0.05, uncorrected) misses one of that size in 20 % of studies, at the median"
        " std of the paired differences."
    )
    several = power(built(*study(datasets=SIX[:2], shifts=SHIFTS[:2])).compared)
    assert "points (a), " in several[0]
    many = power(built(*study(datasets=(*SIX, "g"), shifts=(*SHIFTS, 0.0))).compared)
    assert " to " in many[0]


def test_the_csv_has_every_pair_of_every_metric_and_of_all_datasets():
    found = built(*study(datasets=SIX[:2], shifts=SHIFTS[:2]), metrics=["loss", "accuracy"])
    rows = list(csv.DictReader(io.StringIO(found.comparisons_text("csv"))))
    assert len(rows) == 2 * 2 * 10 + 10
    assert {(row["dataset"], row["test"], row["n"]) for row in rows} == {
        ("a", "paired t", "5"),
        ("b", "paired t", "5"),
        ("all", "Wilcoxon", "2"),
    }
    one = next(r for r in rows if (r["metric"], r["one"], r["other"]) == ("accuracy", "lfm", "joint"))
    assert float(one["difference"]) == pytest.approx(0.074)
    assert (one["verdict"], one["condition"]) == ("better", "clean")
    other = next(r for r in rows if (r["metric"], r["one"], r["other"]) == ("loss", "lfm", "joint"))
    assert (float(other["difference"]), other["verdict"]) == (pytest.approx(-0.074), "better")


def test_what_cannot_be_compared_is_told_in_a_sentence_and_not_written(tmp_path):
    one = arm("a1")
    found = built(plan(one), *whole(one, [0.8, 0.9]))
    with pytest.raises(UserError, match="study 's' has nothing to compare"):
        found.comparisons_text()
    assert not [path for path in report.write(found, tmp_path) if "comparisons" in path.name]


def test_sections_are_told_apart_by_as_little_as_it_takes():
    conditions = ("clean", "gaussian-5")
    records = study(datasets=("a", "b"), shifts=(0.0, 0.1), conditions=conditions)
    noisy = [
        replace(r, metrics={**r.metrics, "test/gaussian-5": r.metrics["test/clean"]})
        if getattr(r, "stage", "") == "final"
        else r
        for r in records
    ]
    found = built(*noisy)
    assert titles(found.families) == ["a, clean", "a, gaussian-5", "b, clean", "b, gaussian-5"]
    assert titles(found.compared) == ["a", "b"]


def test_names_with_a_comma_stand_in_quotation_marks():
    found = family()
    renamed = replace(
        found,
        names=("RW, clean", *found.names[1:]),
        values={("RW, clean" if name == "lfm" else name): own for name, own in found.values.items()},
    )
    assert 'better: "RW, clean";' in page("s", [renamed], None, [])


def test_the_same_records_give_the_same_comparisons_in_any_order():
    records = study(datasets=SIX[:3], shifts=SHIFTS[:3])
    again = [records[0], *reversed(records[1:])]
    assert built(*records).comparisons_text("csv") == built(*again).comparisons_text("csv")
    assert long_form([], None).count("\n") == 1


def test_figures_of_comparisons_are_drawn_and_are_the_same_again(tmp_path):
    history = History.of("s", study(datasets=SIX[:2], shifts=SHIFTS[:2]))
    found = report.build(history)
    first, second = (figures._comparisons(found, tmp_path / name) for name in "ab")
    assert {path.stem for path in first} == {"differences", "iqm"}
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
