"""What tables say, to the letter: cells, gaps, ranks, ties, captions, formats; and the figures of them."""

import csv
import io
import random
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image

from sweeper.models.errors import UserError
from sweeper.reports.cells import Result
from sweeper.reports.names import titled
from sweeper.reports.plots.lines import _place, best_so_far, curves, running_best
from sweeper.reports.plots.tables import _pages, _panel, bars
from sweeper.reports.tables import pivot
from sweeper.reports.writers import render

DIRECTIONS = {"accuracy": "max", "nll": "min", "gap": None}


def result(method="joint", values=(), *, planned=None, failed=None, metric="accuracy", note="", **axes):
    """One arm whose seeds 1, 2, … have the given values of one metric."""
    seeds = {seed: {metric: value} for seed, value in enumerate(values, 1) if value is not None}
    axes = {"dataset": "digits", "method": method, **axes}
    return Result(axes, tuple(range(1, (planned or len(values)) + 1)), seeds, failed or {}, note)


def table_of(*results, rows=("method",), columns=("dataset",), metrics=("accuracy",), **options):
    options.setdefault("percent", [m for m in metrics if m.split("/")[0] in ("accuracy", "macro_f1", "gap")])
    return pivot(results, list(rows), list(columns), list(metrics), DIRECTIONS, **options)


def texts(table):
    """The cells' texts by joined labels."""
    return {"/".join(row + column): cell.text for (row, column), cell in table.cells.items()}


def ranks(table):
    return {"/".join(row + column): (c.rank, c.tied) for (row, column), c in table.cells.items()}


def standings(table):
    return {row[0]: cell.standing for (row, _), cell in table.cells.items()}


def only(*results, **options):
    """The text of the only cell."""
    (text,) = texts(table_of(*results, **options)).values()
    return text


# Cells


def test_a_complete_cell_shows_mean_and_std_with_ddof_1_in_percent():
    assert only(result(values=(0.928, 0.932, 0.936))) == "93.2 ± 0.4"


def test_a_metric_that_no_result_on_a_dataset_has_gets_no_column_there():
    halves = [Result({"dataset": "digits", "method": "joint"}, (1,), {1: {"accuracy/left": 0.5}}, {})]
    halves.append(Result({"dataset": "digits", "method": "right"}, (1,), {1: {"loss": 0.5}}, {}))
    spoken = Result({"dataset": "digits3", "method": "joint"}, (1,), {1: {"accuracy/spoken": 0.5}}, {})
    begun = Result({"dataset": "fsdd", "method": "joint"}, (1,), {}, {})
    metrics = ["accuracy/left", "accuracy/spoken"]
    directions = dict.fromkeys(metrics, "max")
    table = pivot([*halves, spoken, begun], ["method"], ["dataset"], metrics, directions)
    assert table.columns == (
        ("digits", "accuracy/left"),
        ("digits3", "accuracy/spoken"),
        *(("fsdd", metric) for metric in metrics),  # what it has is not known yet
    )


def test_the_whole_table_as_markdown():
    table = table_of(
        result("joint", (0.91, 0.92, 0.90)),
        result("ogm", (0.93, 0.935, 0.925)),
        result("lfm", (0.95, 0.96, 0.94)),
        result("udml", (0.9, None, None), planned=3, failed={2: "OOM"}),
        result("late", (), planned=3),
        order={"method": ["joint", "late"]},
    )
    assert render(table, "md", ["Selected on validation only", "Test looks: 1."]) == (
        "| method |            digits |\n"
        "| :----- | ----------------: |\n"
        "| joint  |        91.0 ± 1.0 |\n"
        "| late   |                 — |\n"
        "| lfm    |    **95.0 ± 1.0** |\n"
        "| ogm    | <u>93.0 ± 0.5</u> |\n"
        "| udml   |  failed 1/3 (OOM) |\n"
        "\n"
        "Selected on validation only.\n"
        "Test looks: 1.\n"
        "Fixed: metric accuracy.\n"
        "Mean ± std (ddof 1) over n = 3 report seeds.\n"
        "In %: accuracy.\n"
        "Cells with n=finished/planned or failed/planned are incomplete: no mean, no rank.\n"
        "Bold: best, underlined: second, among the complete cells of a column with equal dataset, "
        "condition and metric (accuracy ↑).\n"
        "Differences are not tested: that needs 5 report seeds.\n"
        "—: nothing planned, run or measured.\n"
    )


@pytest.mark.parametrize(
    ("values", "options", "text", "partial"),
    [
        ((0.9, 0.92, None), {}, "n=2/3", "91.0 ± 1.4 (n=2/3)"),
        ((0.9, None, None), {}, "n=1/3", "90.0 (n=1/3)"),
        ((), {"planned": 3}, "—", "—"),
        ((), {"planned": 0}, "—", "—"),
        ((), {"planned": 3, "failed": {1: "OOM", 3: "OOM"}}, "failed 2/3 (OOM)", "failed 2/3 (OOM)"),
        (
            (0.9, 0.92, None, None, None),
            {"failed": {3: "diverged", 4: "OOM", 5: "OOM"}},
            "failed 3/5 (OOM, diverged)",
            "91.0 ± 1.4 (n=2/5, failed 3/5: OOM, diverged)",
        ),
        ((0.9, float("nan")), {}, "failed 1/2 (not finite)", "90.0 (n=1/2, failed 1/2: not finite)"),
    ],
)
def test_an_incomplete_cell_says_so_and_shows_no_mean_unless_asked(values, options, text, partial):
    assert only(result(values=values, **options)) == text
    assert only(result(values=values, **options), partial=True) == partial


def test_seeds_that_are_no_longer_planned_do_not_count():
    assert only(result(values=(0.9, 0.9, 0.1), planned=2)) == "90.0 ± 0.0"


def test_a_seed_that_failed_before_it_finished_is_finished():
    assert only(result(values=(0.9, 0.9), failed={1: "preempted"})) == "90.0 ± 0.0"


def test_a_metric_that_no_run_measured_is_missing_not_zero():
    table = table_of(result("a", (0.9, 0.9)), result("b", (1.0, 2.0), metric="nll"), metrics=["accuracy"])
    assert texts(table) == {"a/digits": "90.0 ± 0.0", "b/digits": "—"}


def test_one_seed_has_no_std_and_the_caption_says_why():
    table = table_of(result("a", (0.9,)), result("b", (0.8,)))
    assert texts(table) == {"a/digits": "90.0", "b/digits": "80.0"}
    assert "One report seed per cell (n = 1), so there is no std." in table.caption
    assert "†" not in " ".join(table.caption)


def test_n_stands_in_the_cells_when_it_differs_between_complete_cells():
    table = table_of(result("a", (0.9, 0.92)), result("b", (0.8, 0.82, 0.84)))
    assert texts(table) == {"a/digits": "91.0 ± 1.4 (n=2)", "b/digits": "82.0 ± 2.0 (n=3)"}
    assert "Mean ± std (ddof 1) over n report seeds." in table.caption


@pytest.mark.parametrize(
    ("values", "metric", "text"),
    [
        ((0.9310, 0.9311), "accuracy", "93.11 ± 0.01"),
        ((0.80, 0.98), "macro_f1", "89.0 ± 12.7"),
        ((0.431, 0.448), "nll", "0.440 ± 0.012"),
        ((431.0, 448.0), "seconds", "440 ± 12"),
        ((0.1234, 0.1234), "nll", "0.123 ± 0.000"),
        ((-0.42, -0.44), "nll", "−0.430 ± 0.014"),
        ((-0.0001, -0.0001), "gap", "0.0 ± 0.0"),
    ],
)
def test_digits_follow_the_std(values, metric, text):
    assert only(result(values=values, metric=metric), metrics=[metric]) == text


def test_digits_are_the_same_for_all_cells_of_a_metric():
    table = table_of(result("a", (0.9, 0.9001)), result("b", (0.7, 0.72)), result("c", (0.7, 0.72)))
    assert {len(text.split(".")[1]) for text in texts(table).values()} == {len("0 ± 1")}


def test_only_what_the_caller_says_is_in_percent():
    assert only(result(values=(0.5, 0.5)), percent=[]) == "0.500 ± 0.000"


# Ranks


def test_best_is_bold_second_underlined_and_direction_min_ranks_ascending():
    up = table_of(result("a", (0.9, 0.91)), result("b", (0.8, 0.82)), result("c", (0.7, 0.72)))
    assert [rank for rank, _ in ranks(up).values()] == [1, 2, 0]
    arms = [result(m, v, metric="nll") for m, v in (("a", (9.0, 9.1)), ("b", (8.0, 8.1)), ("c", (7.0, 7.1)))]
    assert [rank for rank, _ in ranks(table_of(*arms, metrics=["nll"])).values()] == [0, 2, 1]


BEST = (0.80, 0.85, 0.90, 0.95, 0.88)


def four():
    return [
        result("best", BEST),
        result("near", [value + d for value, d in zip(BEST, (-5e-3, 4e-3, -2e-3, 1e-3, -2e-3), strict=True)]),
        result("noisy", (0.90, 0.80, 0.95, 0.80, 0.86)),
        result("paired", [value - 0.01 - 0.001 * i for i, value in enumerate(BEST)]),  # worse on every seed
    ]


def test_what_is_equal_is_told_from_what_the_seeds_do_not_tell_and_stds_that_overlap_are_no_tie():
    table = table_of(*four())
    assert standings(table) == {"best": "", "near": "equal", "noisy": "unclear", "paired": "worse"}


@pytest.mark.parametrize(
    ("format", "shown"),
    [
        ("md", ["**87.6 ± 5.6**", "<u>87.5 ± 5.7</u>†", "86.2 ± 6.5?", "86.4 ± 5.5"]),
        (
            "latex",
            [
                r"\underline{87.5 $\pm$ 5.7}\rlap{$^\dagger$}",
                r"86.2 $\pm$ 6.5\rlap{$^?$} \\",
                r"86.4 $\pm$ 5.5 \\",
            ],
        ),
        ("html", ["<u>87.5 ± 5.7</u><sup>†</sup>", "86.2 ± 6.5<sup>?</sup></td>", "86.4 ± 5.5</td>"]),
        ("csv", [",,,best\n", ",,,equal\n", ",,,unclear\n", ",,,worse\n"]),
    ],
)
def test_every_format_shows_the_difference(format, shown):
    written = render(table_of(*four()), format)
    assert [text for text in shown if text not in written] == []


def test_near_is_a_hundredth_of_the_best_where_a_metric_is_no_share():
    best, near, far = [40.0, 41, 42, 43, 44], [40.2, 41.2, 41.9, 43.1, 44.2], [41, 40.5, 43.7, 42, 45.5]
    found = [result(m, v, metric="nll") for m, v in (("best", best), ("near", near), ("far", far))]
    table = table_of(*found, metrics=["nll"])
    assert standings(table) == {"best": "", "near": "equal", "far": "unclear"}
    assert "at most 1 % of its value from it" in " ".join(table.caption)


def test_a_large_difference_between_noisy_results_is_not_called_equal():
    best, other = (0.45, 0.25, 0.38, 0.20, 0.47), (0.30, 0.28, 0.15, 0.29, 0.33)
    assert standings(table_of(result("best", best), result("other", other)))["other"] == "unclear"


TESTED = (
    "†: not found different from the best, and at most 1 point from it; ?: too few seeds to tell; no mark: worse"
    " (paired t-tests over at least 5 common seeds, α = 0.05, uncorrected)."
)
UNTESTED = "Differences are not tested: that needs 5 report seeds."


@pytest.mark.parametrize(
    ("n", "said"), [(1, UNTESTED), (2, UNTESTED), (4, UNTESTED), (5, TESTED), (6, TESTED)]
)
def test_differences_are_tested_from_five_seeds_on_and_the_caption_says_so(n, said):
    a = (0.500, 0.6, 0.4, 0.7, 0.3, 0.5)
    table = table_of(result("a", a[:n]), result("b", (0.499, *a[1:n])))
    assert [line for line in table.caption if line in (TESTED, UNTESTED)] == [said]
    assert ranks(table) == {"a/digits": (1, False), "b/digits": (2, said == TESTED)}


def test_seeds_count_for_a_test_only_where_both_have_them():
    later = (2, 3, 4, 5, 6)
    b = Result({"dataset": "digits", "method": "b"}, later, {seed: {"accuracy": 0.4} for seed in later}, {})
    table = table_of(result("a", (0.5, 0.3, 0.4, 0.6, 0.4)), b)  # seeds 2 to 5 in common
    assert ranks(table) == {"a/digits": (1, False), "b/digits": (2, False)}


def test_equal_means_share_the_first_place():
    table = table_of(result("a", (0.1, 0.3)), result("b", (0.3, 0.1)), result("c", (0.0, 0.1)))
    assert [rank for rank, _ in ranks(table).values()] == [1, 1, 2]


def test_incomplete_cells_are_never_ranked_even_when_shown():
    table = table_of(
        result("a", (0.9, 0.91)), result("b", (0.8, 0.82)), result("c", (0.99, None)), partial=True
    )
    assert ranks(table)["c/digits"] == (0, False)
    assert ranks(table)["a/digits"] == (1, False)


def test_a_cell_without_rival_and_a_diagnostic_are_not_ranked():
    assert set(ranks(table_of(result("a", (0.9, 0.91)), result("b", (0.8, None)))).values()) == {(0, False)}
    arms = [result(m, (0.1, 0.2), metric="gap") for m in "ab"]
    table = table_of(*arms, metrics=["gap"])
    assert set(ranks(table).values()) == {(0, False)}
    assert "Bold" not in " ".join(table.caption)


def two_by_two():
    """Two methods on two datasets under two fusions, a being better on one dataset, b on the other."""
    means = {("a", "d1"): 0.9, ("b", "d1"): 0.8, ("a", "d2"): 0.5, ("b", "d2"): 0.6}
    shift = {"concat": 0.0, "sum": 0.05}
    return [
        result(m, (mean + s, mean + s + 0.01), dataset=d, fusion=f)
        for (m, d), mean in means.items()
        for f, s in shift.items()
    ]


def test_datasets_are_never_compared_wherever_they_stand():
    arms = [arm for arm in two_by_two() if arm.axes["fusion"] == "sum"]
    for rows, columns in (
        (["method"], ["dataset"]),
        (["dataset", "method"], []),
        (["dataset"], ["method"]),
        ([], ["dataset", "method"]),
    ):
        table = table_of(*arms, rows=rows, columns=columns)
        first = {(c.axes["method"], c.axes["dataset"]) for c in table.cells.values() if c.rank == 1}
        assert first == {("a", "d1"), ("b", "d2")}, (rows, columns)


def test_a_column_is_compared_over_all_its_rows():
    table = table_of(*two_by_two(), rows=["fusion", "method"])
    first = [key for key, cell in table.cells.items() if cell.rank == 1]
    assert first == [(("sum", "a"), ("d1",)), (("sum", "b"), ("d2",))]


def test_methods_in_columns_are_compared_along_the_row():
    table = table_of(*two_by_two(), rows=["fusion", "dataset"], columns=["method"])
    assert [key for key, cell in table.cells.items() if cell.rank == 1] == [
        (("concat", "d1"), ("a",)),
        (("concat", "d2"), ("b",)),
        (("sum", "d1"), ("a",)),
        (("sum", "d2"), ("b",)),
    ]
    assert "complete cells of a row" in " ".join(table.caption)


# Axes


def both(method, accuracy, nll):
    values = {s: {"accuracy": a, "nll": n} for s, (a, n) in enumerate(zip(accuracy, nll, strict=True), 1)}
    return Result({"dataset": "digits", "method": method}, (1, 2), values, {})


def test_several_metrics_become_columns_in_the_order_asked():
    arms = both("a", (0.9, 0.91), (0.4, 0.5)), both("b", (0.8, 0.82), (0.6, 0.8))
    table = table_of(*arms, metrics=["nll", "accuracy"])
    assert table.columns == (("digits", "nll"), ("digits", "accuracy"))
    assert [cell.rank for cell in table.cells.values()] == [1, 1, 2, 2]
    assert "(nll ↓, accuracy ↑)" in " ".join(table.caption)


def test_metrics_may_stand_in_rows():
    arms = both("a", (0.9, 0.91), (0.4, 0.5)), both("b", (0.8, 0.82), (0.3, 0.2))
    table = table_of(*arms, rows=["metric"], columns=["method"], metrics=["accuracy", "nll"])
    assert {"/".join(r + c): cell.rank for (r, c), cell in table.cells.items()} == {
        "accuracy/a": 1,
        "accuracy/b": 2,
        "nll/a": 2,
        "nll/b": 1,
    }


def test_constant_axes_go_to_the_caption_and_varying_ones_are_told():
    table = table_of(
        result("a", (0.9, 0.9), dataset="digits", encoders="mlp", condition="clean"),
        result(
            "a", (0.8, 0.8), dataset="fsdd", encoders="cnn", condition="clean", note="2 of 20 runs failed"
        ),
    )
    assert table.caption[:3] == (
        "Fixed: condition clean, metric accuracy.",
        "Differs between cells: encoders (cnn, mlp).",
        "fsdd / cnn: 2 of 20 runs failed",
    )


def test_two_results_in_one_cell_name_the_axes_to_add():
    arms = [
        result("a", (0.9, 0.9), condition=c, fusion=f) for c in ("clean", "noisy") for f in ("sum", "film")
    ]
    with pytest.raises(UserError) as error:
        table_of(*arms)
    assert str(error.value) == (
        "4 results share the cell method a, dataset digits; add 'condition' and 'fusion' to rows or columns"
    )
    with pytest.raises(UserError, match=r"2 results share the cell .*; one is admissible$"):
        table_of(result("a", (0.9,)), result("a", (0.8,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": ["metod"]}, "unknown axis 'metod'.*did you mean 'method'"),
        ({"rows": ["method", "dataset"]}, "axis 'dataset' stands 2 times"),
        ({"metrics": ["acuracy"]}, "unknown metric 'acuracy'.*did you mean 'accuracy'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(options, message):
    with pytest.raises(UserError, match=message):
        table_of(result("a", (0.9, 0.9)), **options)


def test_no_results_and_a_wrong_direction_or_format_are_told():
    with pytest.raises(UserError, match="no result to tabulate"):
        table_of()
    with pytest.raises(UserError, match=r"unknown direction 'up'.*admissible: max, min"):
        pivot([result("a", (0.9,))], ["method"], ["dataset"], ["accuracy"], {"accuracy": "up"})
    with pytest.raises(UserError, match=r"unknown format 'mkd'.*'md'"):
        render(table_of(result("a", (0.9,))), "mkd")


def test_labels_sort_naturally_and_order_comes_first():
    arms = [result("a", (0.9,), condition=c) for c in ("gaussian-10", "gaussian-5", "clean", "10", "blur")]
    table = table_of(*arms, columns=["condition"], order={"condition": ["clean", "not there"]})
    assert [label for (label,) in table.columns] == ["clean", "10", "blur", "gaussian-5", "gaussian-10"]


def test_the_order_of_results_never_matters():
    arms = [*two_by_two(), result("c", (0.9, None), dataset="d1", fusion="sum", note="late")]
    written = set()
    for seed in range(5):
        random.Random(seed).shuffle(arms)
        table = table_of(*arms, rows=["fusion", "method"])
        written.add(tuple(render(table, format) for format in ("md", "latex", "csv", "html")))
    assert len(written) == 1


# Formats

NASTY = r"a|b_c & 50% <x> #1 ~^ {y} \z $α$ *"


def test_latex_has_header_levels_marks_and_escapes():
    arms = [
        result(m, v, dataset=d) for d in ("d1", "d2") for m, v in ((NASTY, (0.9, 0.91)), ("b", (0.8, 0.81)))
    ]
    table = table_of(*arms, columns=["dataset", "metric"], metrics=["accuracy"])
    written = render(table, "latex", ["Budget ≤ 50 % of 2 × τ."], name="my_study")
    assert written.isascii()
    assert written.splitlines() == [
        r"% \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        r"\setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{3pt}",
        r"\caption{Accuracy (\%) on d1 and d2; mean $\pm$ std over 2 seeds.}",
        r"\label{tab:my_study}",
        r"\begin{tabular}{@{}lrr@{}}",
        r"\toprule",
        r" & \multicolumn{1}{c}{d1} & \multicolumn{1}{c}{d2} \\",
        r"\cmidrule(lr){2-2} \cmidrule(lr){3-3}",
        r"Method & Accuracy (\%) & Accuracy (\%) \\",
        r"\midrule",
        r"a\textbar{}b\_c \& 50\% \textless{}x\textgreater{} \#1 \textasciitilde{}\textasciicircum{} \{y\} "
        r"\textbackslash{}z \$$\alpha$\$ {*} & \textbf{90.5 $\pm$ 0.7} & \textbf{90.5 $\pm$ 0.7} \\",
        r"b & \underline{80.5 $\pm$ 0.7} & \underline{80.5 $\pm$ 0.7} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\begin{minipage}{\linewidth}\scriptsize\raggedright",
        r"Budget $\le$ 50 \% of 2 $\times$ $\tau$.",
        r"Mean $\pm$ std (ddof 1) over n = 2 report seeds.",
        r"In \%: accuracy.",
        r"Bold: best, underlined: second, among the complete cells of a column with equal dataset, condition and"
        r" metric (accuracy $\uparrow$).",
        "Differences are not tested: that needs 5 report seeds.",
        r"\end{minipage}",
        r"\end{table*}",
    ]


def test_latex_spans_columns_and_leaves_out_repeated_row_labels():
    written = render(
        table_of(*two_by_two(), rows=["dataset", "method"], columns=["metric", "fusion"]), "latex"
    )
    assert r" &  & \multicolumn{2}{c}{Accuracy (\%)} \\" in written
    assert r"\cmidrule(lr){3-4}" in written
    body = re.search(r"\\midrule\n(.*)\\bottomrule", written, re.S).group(1).splitlines()
    assert [line.split(" & ")[0] for line in body] == ["d1", "", r"\addlinespace", "d2", ""]
    assert {line.count("&") for line in body if "&" in line} == {3}


def tabulars(written):
    """The headings of a text's tabulars, and how many of them each float holds."""
    floats = re.findall(r"\\begin\{table(.*?)\\end\{table", written, re.S)
    heads = re.findall(r"\\toprule\n(.*?) \\\\", written, re.S)
    return [re.findall(r"\{c\}\{([^}]*)\}", head) for head in heads], [f.count(r"\toprule") for f in floats]


def test_latex_is_as_wide_as_a_column_or_the_text_and_cut_between_groups_of_columns():
    def written(conditions, metrics=("accuracy", "nll")):
        values = {s: {"accuracy": 0.9, "nll": 0.4} for s in (1, 2, 3)}
        arms = [
            Result({"dataset": "digits", "method": m, "condition": f"noise-{c}"}, (1, 2, 3), values, {})
            for m in ("a", "b")
            for c in range(conditions)
        ]
        return render(table_of(*arms, columns=["condition"], metrics=list(metrics)), "latex")

    assert r"\begin{table}" in written(1)
    assert r"\begin{table*}" in written(3)
    assert tabulars(written(3)) == ([["noise-0", "noise-1", "noise-2"]], [1])
    heads, floats = tabulars(written(8))
    assert heads == [[f"noise-{i}" for i in part] for part in ((0, 1, 2), (3, 4, 5), (6, 7))]
    assert floats == [3]
    assert r"under 8 test conditions; mean" in written(8)


def test_latex_of_many_rows_goes_on_in_a_float_with_the_same_number():
    written = render(table_of(*(result(f"m{i:03}", (0.9, 0.8)) for i in range(130))), "latex", name="s")
    assert [found.count("m0") + found.count("m1") for found in written.split(r"\begin{tabular}")[1:]] == [
        58,
        58,
        14,
    ]
    assert written.count(r"\caption") == 3
    assert written.count(r"\addtocounter{table}{-1}\caption{Continued.}") == 2
    assert written.count(r"\label{tab:s}") == 1


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("accuracy", "Accuracy (%)"),
        ("accuracy/spoken", "Accuracy, spoken (%)"),
        ("macro_f1", "Macro F1 (%)"),
        ("nll", "Nll"),
        ("weight/left", "Weight, left"),
    ],
)
def test_metrics_have_titles_in_print(metric, title):
    assert titled(metric, {"accuracy", "accuracy/spoken", "macro_f1"}) == title


def test_every_letter_and_sign_becomes_ascii():
    label = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ ±†≥≤×↑↓−— Żółć naïve Ångström ß 漢\u0007"
    written = render(table_of(result(label, (0.9, 0.9))), "latex")
    assert written.isascii()
    assert r"$\lambda$" in written
    assert r"$\Lambda$" in written
    assert r"\.{Z}\'{o}\l{}\'{c} na\"{i}ve \r{A}ngstr\"{o}m \ss{} U+6F22 \\"[:-3] in written


def test_markdown_escapes_what_would_break_a_row_and_stays_aligned():
    lines = render(table_of(result(NASTY, (0.9, 0.91)), result("b\nc", (0.8, 0.8))), "md").splitlines()[:4]
    assert r"a\|b_c & 50% &lt;x> #1 ~^ {y} \\z $α$ \*" in lines[2]
    assert "| b c " in lines[3]
    assert len({len(line) for line in lines}) == 1


def test_html_escapes_and_stands_alone():
    written = render(
        table_of(result(NASTY, (0.9, 0.91)), result("b", (0.8, 0.81), failed={2: "x"})), "html", ["<b>"]
    )
    assert "&lt;x&gt;" in written
    assert "<x>" not in written
    assert "<p>&lt;b&gt;.<br>" in written
    assert '<td title="seed 1: 0.9, seed 2: 0.91"><b>90.5 ± 0.7</b></td>' in written
    assert not re.search("https?:|<script|<link", written)


def test_csv_is_long_form_in_raw_units():
    table = table_of(
        result("a", (0.25, 0.75), dataset="d1", note="n, m"),
        result("b", (0.5, None, None), dataset="d2", failed={3: "OOM"}),
    )
    header, *lines = csv.reader(io.StringIO(render(table, "csv", ["dropped"])))
    assert (
        " ".join(header) == "method dataset metric mean std n planned status values failed note against_best"
    )
    assert [",".join(line) for line in lines] == [
        "a,d1,accuracy,0.5,0.3535533905932738,2,2,complete,1=0.25;2=0.75,,n, m,",
        "a,d2,,,,0,0,missing,,,,",
        "b,d1,,,,0,0,missing,,,,",
        "b,d2,accuracy,,,1,3,failed,1=0.5,3=OOM,,",
    ]


def test_a_table_without_column_axes_has_one_column():
    assert render(table_of(result("a", (0.9,)), columns=[]), "md").splitlines()[:3] == [
        "| method | accuracy |",
        "| :----- | -------: |",
        "| a      |     90.0 |",
    ]


# Figures


def test_running_best_costs_but_does_not_improve_on_failures():
    points = [(1, None), (2, 0.5), (3, float("nan")), (4, 0.4), (5, 0.7)]
    assert running_best(points, "max") == ([2, 3, 4, 5], [0.5, 0.5, 0.5, 0.7])
    assert running_best(points, "min") == ([2, 3, 4, 5], [0.5, 0.5, 0.4, 0.4])


def test_what_has_no_mean_is_drawn_as_words_and_never_as_zero():
    table = table_of(result("a", (0.9, 0.91)), result("b", (0.8, None)), result("c", (), planned=2))
    axes = Figure().subplots()
    _panel(axes, "digits", [(row[0], cell) for (row, _), cell in table.cells.items()], table.percent)
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("n=1/2", 1), ("—", 2)]
    assert {y for line in axes.lines for y in line.get_ydata()} == {0}
    assert axes.get_xlabel() == "Accuracy (%), n=2"


def test_figures_write_the_same_png_and_pdf_again(tmp_path):
    table = table_of(
        *two_by_two(), result("c", (0.9, None), dataset="d1", fusion="sum"), rows=["fusion", "method"]
    )
    series = [
        ("a $x$", {1: [0.5, 0.6], 2: [0.4, 0.7, 0.8]}),
        ("b", {1: [0.5]}),
        ("none", {}),
        ("empty", {1: [], 2: []}),
    ]

    def draw(folder):
        return [
            *curves(series, folder / "curves.alpha", ylabel="validation accuracy"),
            *best_so_far(
                [("a", [(0.5, 0.1), (1.5, None)]), ("b", [])], folder / "best", direction="max", ylabel="loss"
            ),
            *bars(table, folder / "bars"),
        ]

    first, second = draw(tmp_path / "1"), draw(tmp_path / "2")
    assert [file.name for file in first] == [
        f"{name}.{kind}" for name in ("curves.alpha", "best", "bars") for kind in ("png", "pdf")
    ]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert all(file.read_bytes().startswith((b"\x89PNG", b"%PDF")) for file in first)


def test_figures_have_the_width_of_a_column_or_the_text_fonts_that_print_and_a_panel_each_for_many(tmp_path):
    def drawn(n):
        names = [f"method {i}, long name" for i in range(n)]
        lines = curves(
            [(name, {1: [0.5, 0.6], 2: [0.4, 0.7]}) for name in names], tmp_path / f"c{n}", ylabel="y"
        )
        cells = bars(table_of(*(result(name, (0.9, 0.91)) for name in names)), tmp_path / f"b{n}")
        return [*lines, *cells]

    for n, widths in ((2, (990, 990)), (9, (2040, 990))):
        files = drawn(n)
        pictures = [Image.open(io.BytesIO(path.read_bytes())).size for path in files if path.suffix == ".png"]
        assert [width for width, _ in pictures[:2]] == list(widths)
        assert max(height for _, height in pictures) <= 9 * 300
        assert all(b"/FontFile2" in path.read_bytes() for path in files if path.suffix == ".pdf")


def test_a_figure_of_many_cells_goes_on_in_further_files():
    panels = [(f"p{i}", [(f"m{j}", None) for j in range(60)]) for i in range(3)]
    pages = _pages(panels, 2, 0.165)
    assert [[(title, len(lines)) for title, lines in part] for part, _ in pages] == [
        [("p0", 48), ("p1", 48)],
        [("p2", 48)],
        [("p0", 12), ("p1", 12), ("p2", 12)],
    ]
    assert all(height <= 9 for _, height in pages)


def test_an_arm_looks_the_same_in_every_figure():
    assert [_place(name, i, ["a", "b", "c"]) for i, name in enumerate(["c", "other", "b"])] == [2, 1, 1]
    assert _place("c", 0, [*"abcdefgh"]) == 0  # more than a panel tells apart
