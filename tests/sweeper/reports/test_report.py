"""The report from fabricated records: which runs count, where results stand, what the caption owes the reader."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from sweeper.ledger.history import History
from sweeper.ledger.records import Announced, ArmPlan, RunRecord, Selected
from sweeper.models.errors import UserError
from sweeper.reports import configurations, figures, report, tidy
from sweeper.study.schema import Final, Layout, Search, Select

AXES = {"dataset": "digits", "encoders": "default", "fusion": "concat", "method": "joint"}


def arm(key, **axes):
    return ArmPlan(key=key, axes={**AXES, **axes}, code="c")


def plan(
    *arms, study="s", seeds=(100, 101), conditions=("clean",), search=(), reuse="code", unfit=(), **layout
):
    return Announced(
        study=study,
        arms=arms,
        search=Search(**{"configurations": 8, "seeds": [0, 1], "ahead": 3, **dict(search)}),
        final=Final(seeds=list(seeds)),
        select=Select(),
        conditions=tuple(conditions),
        layout=Layout(**layout),
        reuse=reuse,
        unfit=unfit,
        git="planned",
    )


def run(
    key, arm, seed, accuracy=None, *, stage="final", status="done", error=None, condition="clean", **more
):
    scores = {} if accuracy is None else {"accuracy": accuracy, "loss": 1 - accuracy}
    return RunRecord(
        key=key,
        study="s",
        arm=arm.key,
        axes=arm.axes,
        stage=stage,
        seed=seed,
        status=status,
        seconds=2.0,
        git="abc123",
        metrics={"validation": scores, f"test/{condition}": scores | more} if scores else {},
        error={"class": error, "message": "m"} if error else None,
    )


def selected(arm, keys, configuration=3, study="s", parameters=None, rule="best mean of accuracy"):
    return Selected(
        study=study,
        arm=arm.key,
        axes=arm.axes,
        rule=rule,
        configuration=configuration,
        parameters=parameters or {"train.lr": configuration},
        runs={100 + i: key for i, key in enumerate(keys)},
    )


JOINT, LFM = arm("a1"), arm("a2", method="lfm")


def cells(found):
    return {"/".join(row + column): cell.text for (row, column), cell in found.table().cells.items()}


def built(*records, **options):
    return report.build(History.of("s", records), **options)


def whole(one, values):
    """The records of an arm that is through: search runs and report runs."""
    keys = [f"k{one.key}{i}" for i in range(len(values))]
    searched = [run(f"s{one.key}{i}", one, i % 2, 0.5, stage="search") for i in range(4)]
    final = [run(key, one, 100 + i, value) for i, (key, value) in enumerate(zip(keys, values, strict=True))]
    return [*searched, selected(one, keys), *final]


# Cells


def test_a_complete_study_shows_mean_and_std_with_ddof_1_of_the_test_set():
    found = built(plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92]))
    assert found.complete
    assert cells(found) == {"joint/accuracy": "85.0 ± 7.1", "lfm/accuracy": "91.0 ± 1.4"}


@pytest.mark.parametrize(
    ("records", "text", "complete"),
    [
        ([], "—", False),
        ([selected(JOINT, ["k0", "k1"])], "—", False),
        ([selected(JOINT, ["k0", "k1"]), run("k0", JOINT, 100, 0.9)], "n=1/2", False),
        (
            [
                selected(JOINT, ["k0", "k1"]),
                run("k0", JOINT, 100, 0.9),
                run("k1", JOINT, 101, status="failed", error="OOM"),
            ],
            "failed 1/2 (OOM)",
            False,
        ),
        (
            [
                selected(JOINT, ["k0", "k1"]),
                run("k0", JOINT, 100, status="diverged", error="diverged"),
                run("k1", JOINT, 101, status="preempted", error="WorkerDied"),
            ],
            "failed 2/2 (diverged, WorkerDied)",
            False,
        ),
        (
            [
                selected(JOINT, ["k0", "k1"]),
                run("k0", JOINT, 100, 0.9),
                run("k1", JOINT, 101, status="failed", error="OOM"),
                run("k1", JOINT, 101, 0.8),
            ],
            "85.0 ± 7.1",
            True,
        ),
    ],
)
def test_what_is_missing_or_failed_is_said_and_never_averaged_over(records, text, complete):
    found = built(plan(JOINT), *records)
    assert list(cells(found).values()) == [text]
    assert found.complete == complete


def test_only_runs_of_the_latest_selection_count():
    old, new = selected(JOINT, ["o0", "o1"], 1), selected(JOINT, ["n0", "n1"], 2)
    runs = [
        run(k, JOINT, s, v)
        for k, s, v in (("o0", 100, 0.1), ("o1", 101, 0.1), ("n0", 100, 0.8), ("n1", 101, 0.9))
    ]
    assert list(cells(built(plan(JOINT), old, *runs, new)).values()) == ["85.0 ± 7.1"]


def test_the_latest_plan_of_a_study_counts_and_other_studies_do_not():
    records = [plan(JOINT, LFM), plan(JOINT), plan(LFM, study="t"), *whole(JOINT, [0.8, 0.9])]
    records += [
        selected(JOINT, ["x", "y"], 9, study="t"),
        run("x", JOINT, 100, 0.1),
        run("y", JOINT, 101, 0.1),
    ]
    assert list(cells(built(*records)).values()) == ["85.0 ± 7.1"]


def test_runs_of_another_study_count_where_the_selection_names_them():
    records = whole(JOINT, [0.8, 0.9])
    shared = [replace(r, study="other") if isinstance(r, RunRecord) else r for r in records]
    assert list(cells(built(plan(JOINT), *shared)).values()) == ["85.0 ± 7.1"]


def test_seeds_that_are_planned_but_not_yet_selected_are_open():
    found = built(plan(JOINT, seeds=(100, 101, 102)), *whole(JOINT, [0.8, 0.9]))
    assert list(cells(found).values()) == ["n=2/3"]


def test_a_condition_that_was_asked_for_later_is_open():
    found = built(plan(JOINT, conditions=("clean", "gaussian-5")), *whole(JOINT, [0.8, 0.9]))
    assert cells(found) == {"joint/clean": "85.0 ± 7.1", "joint/gaussian-5": "—"}
    assert not found.complete


def test_the_order_of_runs_does_not_matter():
    records = [plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92])]
    assert built(*records).text() == built(records[0], *records[:0:-1]).text()


# Layout


def test_columns_of_modalities_and_the_gap_come_by_themselves():
    more = {"accuracy/left": 0.5, "accuracy/right": 0.7, "gap": 0.2, "modality_distance": 0.1}
    records = [selected(JOINT, ["k0"]), run("k0", JOINT, 100, 0.9, **more)]
    found = built(plan(JOINT, seeds=(100,)), *records)
    assert found.metrics == ["accuracy", "accuracy/left", "accuracy/right", "gap"]
    assert cells(found)["joint/gap"] == "20.0"
    assert built(plan(JOINT, seeds=(100,), metrics=["loss"]), *records).metrics == ["loss"]


def test_methods_stand_in_the_order_of_the_study():
    found = built(plan(LFM, JOINT), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92]))
    assert [row for row, *_ in found.table().rows] == ["lfm", "joint"]


GRID = [
    arm(f"{d}{f}{m}", dataset=d, fusion="none" if m == "unimodal" else f, method=m)
    for d in ("digits", "fsdd")
    for m in ("unimodal", "joint", "lfm")
    for f in (("none",) if m == "unimodal" else ("concat", "mean"))
]


@pytest.mark.parametrize(
    ("asked", "rows", "columns"),
    [
        ({}, ["method", "fusion"], ["dataset"]),
        ({"rows": ["dataset", "method"]}, ["dataset", "method", "fusion"], []),
        ({"rows": ["method"], "columns": ["fusion"]}, ["method"], ["fusion", "dataset"]),
        ({"rows": ["metric"], "columns": ["method"]}, ["metric", "fusion"], ["method", "dataset"]),
        ({"rows": ["fusion"], "columns": ["method", "dataset"]}, ["fusion"], ["method", "dataset"]),
    ],
)
def test_axes_that_tell_results_apart_are_added_to_the_layout(asked, rows, columns):
    records = [r for one in GRID for r in whole(one, [0.8, 0.9])]
    for found in (built(plan(*GRID), *records, **asked), built(plan(*GRID, **asked), *records)):
        assert (found.rows, found.columns) == (rows, columns)
        shown = cells(found)
        assert [text for text in shown.values() if text != "—"] == ["85.0 ± 7.1"] * len(GRID)


@pytest.mark.parametrize(
    ("asked", "rows", "columns"),
    [
        ({}, ["method"], []),
        ({"columns": ["method"]}, ["metric"], ["method"]),
        ({"columns": ["method", "metric"]}, ["dataset"], ["method", "metric"]),
        ({"rows": ["metric"]}, ["metric", "method"], []),
    ],
)
def test_an_axis_that_is_asked_for_as_columns_is_none_of_the_rows(asked, rows, columns):
    found = built(plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92]), **asked)
    assert (found.rows, found.columns) == (rows, columns)
    assert cells(found)


def test_a_papers_table_has_metrics_in_rows_and_methods_in_columns():
    records = [plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92])]
    found = built(*records, rows=["metric"], columns=["method"], metrics=["accuracy", "loss"])
    table = found.table()
    assert (table.rows, table.columns) == ((("accuracy",), ("loss",)), (("joint",), ("lfm",)))
    assert cells(found) == {
        "accuracy/joint": "85.0 ± 7.1",
        "accuracy/lfm": "91.0 ± 1.4",
        "loss/joint": "0.150 ± 0.071",
        "loss/lfm": "0.090 ± 0.014",
    }
    assert [cell.axes["method"] for cell in table.cells.values() if cell.rank == 1] == ["lfm", "lfm"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rows": ["metod"]}, "unknown axis 'metod' in the table; did you mean 'method'"),
        ({"columns": ["data"]}, "unknown axis 'data' in the table; did you mean 'dataset'"),
        ({"rows": ["method", "method"]}, "axis 'method' stands 2 times"),
        ({"metrics": ["acuracy"]}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"metrics": ["macro_f1"]}, "unknown metric 'macro_f1' in the table"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_one_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence):
        built(plan(JOINT), *whole(JOINT, [0.8, 0.9]), **options).text()


def test_what_was_done_is_not_lost_when_it_is_tried_again_for_another_condition_and_fails():
    asked = plan(JOINT, conditions=["clean", "gaussian-5"])
    again = [run(f"ka1{i}", JOINT, 100 + i, status="failed", error="OOM") for i in range(2)]
    found = built(asked, *whole(JOINT, [0.8, 0.9]), *again)
    assert cells(found) == {"joint/clean": "85.0 ± 7.1", "joint/gaussian-5": "failed 2/2 (OOM)"}
    assert "Test looks per arm: 1." in found.caption


def test_the_caption_says_which_arms_had_less_to_try_and_what_failed():
    small = replace(JOINT, size=2)
    failed = [run(f"f{i}", LFM, i, stage="search", status="failed", error="OOM") for i in range(2)]
    text = built(plan(small, LFM), *whole(JOINT, [0.8, 0.9]), *failed).caption[1]
    assert "8 (joint 2: no more to try) configurations" in text
    assert "lfm 2 runs in 4 s (2 failed)" in text


def test_the_caption_says_of_what_nothing_is_searched():
    one, own = replace(JOINT, size=1), replace(LFM, unsearched=("tau", "alpha"))
    found = built(plan(one, own), *whole(JOINT, [0.8, 0.9])).caption
    assert "8 (joint 1: nothing is searched) configurations" in found[1]
    assert found[2] == "Own parameters of which none is searched: lfm (tau, alpha)."
    assert "nothing is searched" not in built(plan(one, search={"configurations": 1})).caption[1]


def test_tpe_is_not_claimed_where_it_never_began():
    few = plan(JOINT, search={"configurations": 7})
    assert "7 configurations (random: tpe would begin with #7, the published" in built(few).caption[1]


def test_a_layouts_metric_that_nothing_measures_is_left_out():
    records = whole(JOINT, [0.8, 0.9])
    assert built(plan(JOINT, metrics=["accuracy", "weight/left"]), *records).metrics == ["accuracy"]


def test_an_unknown_study_is_told():
    with pytest.raises(UserError, match="unknown study 'ss' in the ledger; did you mean 's'"):
        History.of("ss", [plan(JOINT)])
    with pytest.raises(UserError, match="unknown study 's' in the ledger; admissible: none"):
        History.of("s", [])


# The caption


def test_the_caption_says_rule_budget_seeds_looks_and_code():
    records = [plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92])]
    assert built(*records).caption == [
        "Study s: selected by best mean of accuracy.",
        "Budget per method and arm: 8 configurations (tpe, random before #7, the published defaults first), racing"
        " halving, early stopping none; search spent joint 4 runs in 8 s, lfm 4 runs in 8 s.",
        "Tuning seeds 0, 1; report seeds 100, 101.",
        "Test looks per arm: 1.",
        "Weights kept: of the epoch that is best on validation.",
        "Code: abc123.",
    ]


def test_a_study_that_has_only_begun_says_so():
    caption = built(plan(JOINT)).caption
    assert caption[0] == "Study s: selected by nothing yet."
    assert caption[3:] == ["Test looks per arm: 0.", "Code: planned."]


def kept(*arms):
    """What the caption says of arms that kept the weights of such epochs."""
    records = [
        replace(r, kept=of) if isinstance(r, RunRecord) else r
        for one, of in arms
        for r in whole(one, [0.8, 0.9])
    ]
    said = built(plan(JOINT, LFM), *records).caption
    return [line for line in said if line.startswith("Weights")]


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ([], []),
        ([(JOINT, "best"), (LFM, "best")], ["Weights kept: of the epoch that is best on validation."]),
        ([(JOINT, "last"), (LFM, "last")], ["Weights kept: of the last epoch."]),
        ([(LFM, "last")], ["Weights kept: of the last epoch."]),
        (
            [(JOINT, "best"), (LFM, "last")],
            ["Weights kept: of the epoch that is best on validation; of the last: lfm."],
        ),
    ],
)
def test_the_caption_says_which_epochs_weights_were_kept(arms, said):
    assert kept(*arms) == said


@pytest.mark.parametrize(
    ("computed", "said"),
    [
        ([{}, {}, {}], []),
        ([{"capability": "AVX2"}, {"capability": "AVX2"}, {}], []),
        (
            [{"capability": "AVX512"}, {"capability": "AVX2"}, {"capability": "AVX2", "gpu": "H200 (sm_90)"}],
            [
                "Hardware: final runs on AVX2 (joint 1); AVX512 (joint 1); H200 (sm_90) (lfm 1);"
                " one differs from the other in digits."
            ],
        ),
    ],
)
def test_the_caption_names_what_computed_the_final_runs_where_that_differs(computed, said):
    runs = [run("k1", JOINT, 100, 0.8), run("k2", JOINT, 101, 0.9), run("k3", LFM, 100, 0.8)]
    runs = [replace(one, hardware=hardware) for one, hardware in zip(runs, computed, strict=True)]
    search = run("k4", LFM, 0, 0.8, stage="search")  # which no cell is made of
    other = replace(search, hardware={"capability": "NEON"})
    found = built(plan(JOINT, LFM), selected(JOINT, ["k1", "k2"]), selected(LFM, ["k3"]), *runs, other)
    assert [line for line in found.caption if line.startswith("Hardware")] == said


def code_lines(reuse, *of):
    """What the caption says of the code of arms whose runs have such a commit and digest."""
    records = [
        replace(r, git=git, code=code) if isinstance(r, RunRecord) else r
        for one, git, code in of
        for r in whole(one, [0.8, 0.9])
    ]
    return built(plan(JOINT, LFM, reuse=reuse), *records).caption[5:]


@pytest.mark.parametrize(
    ("reuse", "of", "said"),
    [
        ("code", [(JOINT, "g", "c"), (LFM, "g", "c")], "Code: g."),
        ("code", [(JOINT, "g", "c"), (LFM, "h", "c")], "Code: g (joint); h (lfm)."),
        ("any", [(JOINT, "g", "c"), (LFM, "h", "c")], "Code: g (joint); h (lfm)."),
        ("any", [(JOINT, "g", "old"), (LFM, "g", "old")], "Code: g old."),
        ("any", [(JOINT, "g", "c"), (LFM, "g", "old")], "Code: g (joint); g old (lfm)."),
    ],
)
def test_the_caption_says_whose_runs_came_from_which_code_where_that_differs(reuse, of, said):
    assert code_lines(reuse, *of) == [said]


def test_an_arm_whose_seeds_were_run_by_different_code_is_named_with_each():
    first, second = (run(f"k{i}", JOINT, 100 + i, 0.8) for i in (0, 1))
    records = [selected(JOINT, ["k0", "k1"]), first, replace(second, git="later")]
    assert built(plan(JOINT), *records).caption[-1] == "Code: abc123 (joint); later (joint)."


FLOOR = ArmPlan(key="f", axes={**AXES, "method": "linear"}, reads=("left", "right"), floor=True)
FLOOR_LEFT = replace(FLOOR, key="fl", axes={**AXES, "method": "linear left"}, reads=("left",))
ON_BOTH = replace(JOINT, reads=("right", "left"))
ON_LEFT = replace(LFM, axes={**AXES, "method": "unimodal left"}, reads=("left",))


def floors_of(*values, arms=(FLOOR, FLOOR_LEFT, ON_BOTH, ON_LEFT), **layout):
    """What the caption says of floors, given each arm's values."""
    records = [record for one, own in zip(arms, values, strict=True) for record in whole(one, own)]
    said = built(plan(*arms, **layout), *records).caption
    return [sentence for sentence in said if "floor" in sentence]


def test_arms_that_do_not_reach_the_floor_of_their_modalities_are_named_with_both_numbers():
    assert floors_of([0.8, 0.8], [0.5, 0.5], [0.75, 0.79], [0.6, 0.5]) == [
        "Below the floor in accuracy: joint (77.0, linear 80.0)."
    ]
    assert floors_of([0.8, 0.8], [0.5, 0.5], [0.7, 0.7], [0.4, 0.5]) == [
        "Below the floor in accuracy: joint (70.0, linear 80.0), unimodal left (45.0, linear left 50.0)."
    ]
    reached = ["Every arm reaches its floor, the linear model of the same modalities."]
    assert floors_of([0.8, 0.8], [0.5, 0.5], [0.9, 0.7], [0.5, 0.5]) == reached


def test_nothing_is_said_of_a_floor_that_is_not_there_or_not_done():
    assert floors_of([0.75, 0.79], arms=[ON_BOTH]) == []
    assert floors_of([0.75, 0.79], [0.9, 0.9], arms=[ON_BOTH, FLOOR_LEFT]) == []
    assert floors_of([0.75, 0.79], [0.9], arms=[ON_BOTH, FLOOR]) == []
    elsewhere = replace(FLOOR, axes={**FLOOR.axes, "dataset": "wine"})
    assert floors_of([0.75, 0.79], [0.9, 0.9], arms=[ON_BOTH, elsewhere]) == []


def test_the_caption_says_what_was_left_out_and_why():
    unfit = ({"axes": {**AXES, "method": "ogm"}, "reason": "method 'ogm' needs at least 2 modalities"},)
    assert built(plan(JOINT, unfit=unfit)).caption[-1] == (
        "Left out: digits/default/concat/ogm, because method 'ogm' needs at least 2 modalities."
    )


def looks(*records):
    return built(plan(JOINT), *records).caption[3].removeprefix("Test looks per arm: ")


def test_every_configuration_that_was_shown_the_test_data_is_a_look():
    first = [selected(JOINT, ["k0"], 1), run("k0", JOINT, 100, 0.9)]
    assert looks(*first) == "1."
    assert looks(*first, selected(JOINT, ["k0", "k1"], 1), run("k1", JOINT, 101, 0.9)) == "1."  # another seed
    assert looks(*first, selected(JOINT, ["k2"], 2)) == "1."  # not run yet
    assert looks(*first, selected(JOINT, ["k2"], 2), run("k2", JOINT, 100, 0.9)) == "2."


def test_looks_are_counted_over_changes_of_space_and_sampler_and_studies_do_not_mix():
    first = [selected(JOINT, ["k0"], 3, parameters={"train.lr": 0.1}), run("k0", JOINT, 100, 0.9)]
    changed = arm("another key")
    again = [selected(changed, ["k1"], 3, parameters={"train.lr": 0.2}), run("k1", changed, 100, 0.9)]
    assert built(plan(changed), *first, *again).caption[3] == "Test looks per arm: 2."
    elsewhere = [selected(JOINT, ["k9"], 5, study="t"), run("k9", JOINT, 100, 0.9)]
    assert looks(*first, *elsewhere) == "1."


def test_arms_that_are_no_longer_planned_say_nothing():
    stale = [selected(LFM, ["x"], rule="an old rule"), replace(run("x", LFM, 100, 0.1), git="old")]
    caption = built(plan(JOINT), *whole(JOINT, [0.8, 0.9]), *stale).caption
    assert "old" not in " ".join(caption)


def test_why_an_arm_has_nothing_selected_is_told():
    failed = [run(f"f{i}", LFM, 0, stage="search", status="failed", error="ValueError") for i in range(3)]
    failed += [run("f9", LFM, 0, stage="search", status="failed", error="OOM")]
    text = built(plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *failed).text()
    assert "nothing selected; 4 runs failed, most often with ValueError: m" in text
    assert "lfm" in next(line for line in text.splitlines() if "nothing selected" in line)
    assert "nothing selected" not in built(plan(JOINT), *whole(JOINT, [0.8, 0.9])).text()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (90000, "25.0 h")],
)
def test_time_is_told_in_fitting_units(seconds, text):
    searched = replace(run("k", JOINT, 0, 0.5, stage="search"), seconds=float(seconds))
    assert f"search spent joint 1 runs in {text}." in built(plan(JOINT), searched).caption[1]


# Files


def test_every_format_is_written_and_says_the_same(tmp_path):
    found = built(plan(JOINT, LFM), *whole(JOINT, [0.8, 0.9]), *whole(LFM, [0.9, 0.92]))
    made = {path.name: path.read_text() for path in report.write(found, tmp_path)}
    assert made["comparisons.md"] == found.comparisons_text()
    assert made["comparisons.csv"] == found.comparisons_text("csv")
    tables = {f"table.{suffix}" for suffix in ("md", "tex", "csv", "html")}
    assert set(made) == tables | {"runs.csv", "configurations.tex", "comparisons.md", "comparisons.csv"}
    rows = list(csv.DictReader(io.StringIO(made["table.csv"])))
    assert len(rows) == 2
    for name in tables - {"table.csv"}:
        assert "91.0" in made[name]
        assert "Test looks per arm: 1." in made[name]
    assert r"\label{tab:s}" in made["table.tex"]
    assert made["table.md"].strip() == found.text("md").strip()


def test_final_runs_stand_in_a_row_for_each_condition_metric_and_seed():
    failed = run("k1", JOINT, 101, status="failed", error="OOM")
    done = replace(run("k0", JOINT, 100, 0.9), epochs=7)
    asked = plan(JOINT, LFM, conditions=("clean", "gaussian-5"), seeds=(100, 101))
    history = History.of("s", [asked, selected(JOINT, ["k0", "k1"]), done, failed])
    found = list(csv.DictReader(io.StringIO(tidy.written(history))))
    assert tuple(found[0]) == tidy.COLUMNS
    assert found[0] == {
        **AXES,
        "configuration": "3",
        "stage": "final",
        "seed": "100",
        "condition": "clean",
        "metric": "accuracy",
        "value": "0.9",
        "status": "done",
        "epochs": "7",
        "seconds": "2.0",
        "key": "k0",
    }
    told = [
        tuple(row[name] for name in ("method", "seed", "condition", "metric", "value", "status"))
        for row in found
    ]
    assert told[1][3] == "loss"
    assert told[2:] == [
        ("joint", "100", "gaussian-5", "accuracy", "", "missing"),  # asked for after it was run
        ("joint", "101", "clean", "accuracy", "", "failed"),
        ("joint", "101", "gaussian-5", "accuracy", "", "failed"),
        *(("lfm", seed, c, "accuracy", "", "missing") for seed in ("100", "101") for c in asked.conditions),
    ]


def test_selected_configurations_are_a_table_for_a_paper():
    parameters = {"train.lr": 0.123456, "train.epochs": 3, "alpha": True}
    searched = [run(f"s{i}", JOINT, i, 0.5 + i / 10, stage="search") for i in (0, 1)]
    searched = [replace(one, configuration=3) for one in searched]
    records = [*searched, selected(JOINT, ["k0"], parameters=parameters)]
    records += [selected(LFM, ["k1"], 0, parameters={**parameters, "train.lr": 0.1})]
    written = configurations.latex(History.of("s", [plan(JOINT, LFM), *records]))
    assert r"\label{tab:s-configurations}" in written
    assert r"joint & 3 & 55.00 $\pm$ 7.07 (n=2) & " in written
    assert r"train.lr 0.1235\strut" in written
    assert r"lfm & 0 & --- & " in written
    assert "All: alpha true, train.epochs 3." in written
    assert "none yet" in configurations.latex(History.of("s", [plan(JOINT)]))


def test_a_study_gets_figures_of_its_table_search_curves_noise_and_what_its_methods_log(tmp_path):
    conditions = ("clean", "gaussian-5", "gaussian-10", "salt-5", "white-10", "white-0", "white--10")
    tested = {f"test/{c}": {"accuracy": 0.9 - i / 10} for i, c in enumerate(conditions)}
    records = [
        replace(r, metrics={**r.metrics, **tested}, curve=[0.5, 0.6]) if isinstance(r, RunRecord) else r
        for r in whole(JOINT, [0.8, 0.9])
    ]
    history = History.of("s", [plan(JOINT, conditions=conditions), *records])
    logged = {"epoch": 1, "loss/fused": 1.0, "validation/accuracy": 0.5, "weight/left": 0.3}
    made = figures.draw(history, report.build(history), lambda key: [logged], tmp_path / "figures")
    named = {
        "table",
        "validation",
        "search",
        "expected",
        "accuracy-by-gaussian",
        "accuracy-by-white",
        "weight-left",
    }  # salt has two levels only
    assert {path.stem for path in made} == named
    assert sorted(made) == sorted((tmp_path / "figures").iterdir())
    (_, levels, series), (_, decibels, _) = figures._noise(report.build(history))
    assert levels == [0.0, 5.0, 10.0]
    assert decibels == [-10.0, 0.0, 10.0]  # clean is none
    values = pytest.approx([0.9, 0.8, 0.7])
    assert series == {"accuracy": [("joint", {100: values, 101: values})]}
