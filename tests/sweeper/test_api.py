"""Studies from Python: what `from sweeper import Study, run, load` gives, and how a study ends that cannot go on."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from sweeper import ROOT, Study, api, load, run
from sweeper.ledger import uris
from sweeper.ledger.file import Ledger
from sweeper.models.errors import UserError
from sweeper.planning.planner import Planner
from sweeper.service.session import announcement, as_record, proposals
from sweeper.study import schema
from sweeper.study.unfold import unfold
from tests.sweeper.conftest import TINY

AXES = ["dataset", "encoders", "fusion", "method"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A storage with a study that was carried out with made-up results; the last final run of `left` failed."""
    folder = tmp_path_factory.mktemp("store")
    methods = [{"name": "joint", "label": "<left>"}, {"name": "ogm", "label": "right"}]
    study = Study.of({**TINY, "methods": methods, "conditions": ["clean", "gaussian-5"]})
    arms = unfold(study)
    ledger = Ledger(uris.open_storage(str(folder)).ledger)
    ledger.note(announcement(study, arms, [], "abc"))
    planner = Planner(study, list(arms), ledger.runs, proposals(arms, ledger), ledger.note)
    while (taken := planner.take()) is not None:
        score = 0.5 + int(taken.key[:4], 16) / 2**18
        metrics = {"validation": {"accuracy": score, "loss": 1 - score}}
        if taken.stage == "final":
            metrics |= {f"test/{c}": {"accuracy": score - 0.1 * n} for n, c in enumerate(study.conditions)}
        result = {"status": "done", "metrics": metrics, "curve": [0.4, score], "epochs": 2, "seconds": 3.0}
        if (taken.stage, taken.seed, taken.arm.axes["method"]) == ("final", 101, "<left>"):
            result = {"status": "failed", "error": {"class": "OOM", "message": "out of memory"}}
        record = as_record(study, taken, result, {"git": "abc", "versions": "v"})
        ledger.append(record)
        planner.settle(taken.key, record)
        if taken.stage == "final" and taken.seed == 100:
            logged = [{"epoch": n, "weight/m0": 0.1 * n} for n in (1, 2)]
            (folder / "runs" / taken.key).mkdir(parents=True)
            (folder / "runs" / taken.key / "curve.json").write_text(json.dumps(logged))
    return folder


@pytest.fixture
def found(storage):
    return load("tiny", storage)


def test_importing_the_package_imports_no_library():
    code = "import sys, sweeper; print(sorted({'numpy', 'pandas', 'pydantic', 'torch', 'ray'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    code = "import sys; from sweeper import Study, run, load; print({'torch', 'ray', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# studies


def test_a_study_is_a_file_a_name_a_mapping_or_one_that_is_changed(study_file):
    of_file = Study.of(study_file())
    assert of_file == Study.of(TINY) == schema.load(str(study_file()))
    assert Study.of("quickstart").study == "quickstart"
    changed = Study.of(TINY, {"search.configurations": 5, "space.train.lr": 0.1})
    assert (changed.search.configurations, changed.space) == (5, {"train.lr": 0.1})
    assert Study.of(of_file, {"final.seeds": [7]}).final.seeds == [7]
    assert TINY["search"]["configurations"] == 3


@pytest.mark.parametrize(
    ("given", "changes", "told"),
    [
        ("quickstar", {}, "did you mean 'quickstart'"),
        ({**TINY, "serch": {}}, {}, "did you mean 'search'"),
        (TINY, {"search.seeds": [100]}, "seed 100 is in search.seeds and in final.seeds"),
        (TINY, {"methods.x": 1}, "'methods' is not a mapping"),
        (7, {}, "study is 7; give a Study"),
    ],
    ids=str,
)
def test_a_study_that_is_wrong_is_refused_in_a_sentence(given, changes, told):
    with pytest.raises(UserError, match=told):
        Study.of(given, changes)


# results


def test_results_have_a_row_for_every_run_condition_and_metric(found):
    frame = found.results()
    assert list(frame)[:11] == [
        *AXES,
        "configuration",
        "stage",
        "seed",
        "split",
        "condition",
        "metric",
        "value",
    ]
    assert list(frame)[11:] == ["status", "epochs", "seconds", "key"]
    key = frame[(frame.method == "right") & (frame.stage == "final") & (frame.seed == 101)]
    assert [*map(tuple, key[["split", "condition", "metric"]].to_numpy())] == [
        ("validation", "", "accuracy"),
        ("validation", "", "loss"),
        ("test", "clean", "accuracy"),
        ("test", "gaussian-5", "accuracy"),
    ]
    assert set(frame[frame.stage == "search"].split) == {"validation"}
    clean, noisy = key[key.split == "test"].value
    assert clean - noisy == pytest.approx(0.1)
    assert not frame.duplicated(["key", "split", "condition", "metric", "method"]).any()


def test_a_run_that_failed_has_a_row_too(found):
    frame = found.results()
    (lost,) = frame[frame.status == "failed"].itertuples()
    assert (lost.method, lost.stage, lost.seed, lost.metric) == ("<left>", "final", 101, "")
    assert lost.value != lost.value


def test_the_table_is_that_of_the_report_in_numbers_or_as_text(found):
    frame = found.results()
    table = found.table(columns=["condition"], metrics="accuracy")
    own = frame[(frame.method == "right") & (frame.split == "test")].groupby("condition").value
    for condition in ("clean", "gaussian-5"):
        cell = table.loc["right", (condition,)]
        assert cell["mean"] == pytest.approx(own.mean()[condition])
        assert cell["std"] == pytest.approx(own.std()[condition])
        assert cell["n"] == 2
    assert table.loc["<left>", ("clean", "n")] == 1
    assert table.loc["<left>", ("clean", "mean")] != table.loc["<left>", ("clean", "mean")]
    assert found.table(columns=["condition"], metrics="accuracy", partial=True).notna()["clean", "mean"].all()
    assert "n=1/2" in found.table(format="md", partial=True)
    assert found.table(format="latex").startswith("% \\usepackage{booktabs}")
    assert not found.complete
    with pytest.raises(UserError, match="did you mean 'latex'"):
        found.table(format="latx")
    with pytest.raises(UserError, match="unknown axis 'metod'"):
        found.table(rows=["metod"])


def test_a_notebook_shows_the_table_with_its_marks_and_its_caption(found):
    shown = found._repr_html_()
    assert "&lt;left&gt;" in shown
    assert "<left>" not in shown
    assert "Tuning seeds 0, 1; report seeds 100, 101." in shown
    assert "n=1/2" in shown


def test_selected_and_searched_tell_parameters(found):
    chosen = found.selected()
    assert list(chosen[["method", "done", "planned"]].itertuples(index=False, name=None)) == [
        ("<left>", 1, 2),
        ("right", 2, 2),
    ]
    tried = found.searched()
    right = tried[tried.method == "right"]
    assert set(right.configuration) == {0, 1, 2}
    best = right[right.configuration == chosen.configuration[1]]
    assert set(best["train.lr"]) == {chosen["train.lr"][1]}
    assert right.accuracy.between(0.5, 0.75).all()


def test_curves_are_what_runs_logged_or_else_what_the_ledger_has(found):
    curves = found.curves()
    logged, known = curves[curves.seed == 100], curves[curves.seed == 101]
    assert set(logged.quantity) == {"weight/m0"}
    assert list(logged[logged.method == "right"].value) == pytest.approx([0.1, 0.2])
    assert set(known.quantity) == {"validation/accuracy"}
    assert set(known.method) == {"right"}
    assert list(known.epoch) == [1, 2]
    assert set(found.curves("search").stage) == {"search"}
    with pytest.raises(UserError, match="unknown stage 'finale'"):
        found.curves("finale")


def test_figures_are_pictures_by_name(found):
    figures = found.figures()
    assert {"table", "validation", "search"} <= set(figures)
    assert figures["table"]._repr_png_().startswith(b"\x89PNG")
    assert figures._repr_html_().count("<img") == len(figures)


def test_what_is_not_there_is_named(storage):
    with pytest.raises(UserError, match="unknown study 'tinny' in the ledger; did you mean 'tiny'"):
        load("tinny", storage)
    with pytest.raises(UserError, match="there is no MLflow database"):
        load("tiny", from_mlflow=f"sqlite:///{storage}/none.db")


# carrying out


@pytest.fixture
def standing_in(tmp_path, monkeypatch, storage):
    """Let a shell script stand in for the process that carries a study out."""

    def put(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(api.sys, "executable", str(path))

    return put


def test_what_a_study_says_is_passed_on_and_its_results_returned(standing_in, storage, capsys):
    standing_in('echo runs 1/2 >&2; echo "$@"')
    assert run(TINY, storage).study == "tiny"
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "runs 1/2\n")


@pytest.mark.parametrize(
    ("script", "error", "told"),
    [
        ("echo 'sweeper: arm a: it does not fit' >&2; exit 2", UserError, "^arm a: it does not fit$"),
        ("echo 'sweeper: interrupted; go on' >&2; exit 130", KeyboardInterrupt, "interrupted; go on"),
        ("echo 'sweeper: Ray is gone' >&2; exit 1", RuntimeError, "exit code 1: Ray is gone"),
        ("exit 7", RuntimeError, "exit code 7: it said nothing"),
    ],
)
def test_how_a_study_ends_that_is_not_carried_out(standing_in, storage, script, error, told):
    standing_in(script)
    with pytest.raises(error, match=told):
        run(TINY, storage)


def test_an_incomplete_table_is_a_result(standing_in, storage):
    standing_in("echo a table; exit 1")
    assert not run(TINY, storage).complete


def test_an_interrupt_is_passed_on_and_waited_for(standing_in, storage, tmp_path, capsys):
    trap = f"trap 'echo sweeper: stopping >&2; sleep 0.3; touch {tmp_path}/saved; exit 130' INT"
    standing_in(f"{trap}; touch {tmp_path}/began; while true; do sleep 0.05; done")

    def press() -> None:
        while not (tmp_path / "began").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(KeyboardInterrupt, match="stopping"):
        run(TINY, storage)
    pressing.join()
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_study_is_carried_out_and_a_second_time_redoes_nothing(tmp_path, capsys):
    study = Study.of(TINY, {"methods": ["joint"], "search.configurations": 2})
    found = run(study, tmp_path / "store")
    assert found.complete
    told = capsys.readouterr()
    assert (told.out, "runs " in told.err) == ("", True)
    assert set(found.results().status) == {"done"}
    before = (tmp_path / "store" / "ledger.jsonl").read_bytes()
    again = run(study, tmp_path / "store")
    assert (tmp_path / "store" / "ledger.jsonl").read_bytes() == before
    assert again.results().equals(found.results())
