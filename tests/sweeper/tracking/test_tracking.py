"""MLflow shows what the ledger says: all of it, once, after whatever went wrong."""

import contextlib
import errno
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sweeper.ledger.file import Ledger
from sweeper.ledger.history import History
from sweeper.ledger.records import Announced, ArmPlan, Proposed, RunRecord, Selected, Shared
from sweeper.ledger.storage import Storage
from sweeper.models.errors import UserError
from sweeper.reports import report
from sweeper.study.arms import short_names
from sweeper.study.schema import Final, Layout, Search, Select
from sweeper.tracking import connection, predictions
from sweeper.tracking import view as outline
from sweeper.tracking import writing as tracking
from sweeper.tracking.connection import fetch_records
from sweeper.tracking.writing import Tracker

AXES = {"dataset": "digits", "encoders": "left: mlp", "fusion": "concat"}
DEAD = "http://127.0.0.1:9"
STARTED = 1_700_000_000.25
EPOCHS = 4
PREDICTED = {
    "index": np.array([7, 8, 9]),
    "target": np.array([0, 1, 1]),
    "predicted": np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], "float32"),
    "unimodal_left": np.array([[0.25, 0.75], [0.25, 0.75], [0.25, 0.75]], "float32"),
}
RULE = "best mean of accuracy on validation over 2 tuning seeds"


def plan(arms=("joint", "lfm"), study="study"):
    return Announced(
        study=study,
        arms=tuple(ArmPlan(key=f"arm-{m}", axes={**AXES, "method": m}, code="c") for m in arms),
        search=Search(configurations=2, seeds=[0, 1], racing="none"),
        final=Final(seeds=[100, 101, 102]),
        select=Select(),
        layout=Layout(),
        git="abc",
    )


def parameters(k):
    return {"train.lr": 10.0**-k, "tau β": f"{k}!"}


def proposed(method, k):
    return Proposed(arm=f"arm-{method}", configuration=k, parameters=parameters(k))


def selected(method, k, keys, study="study"):
    return Selected(
        study=study,
        arm=f"arm-{method}",
        axes={**AXES, "method": method},
        configuration=k,
        parameters=parameters(k),
        rule=RULE,
        runs=keys,
    )


def run(method, k, stage, seed, status="done", *, key=None, study="study", started=STARTED):
    record = RunRecord(
        key=key or f"{method}-{k}-{stage}-{seed}",
        study=study,
        arm=f"arm-{method}",
        axes={**AXES, "method": method},
        configuration=k,
        parameters=parameters(k),
        stage=stage,
        seed=seed,
        started=started,
        seconds=2.5,
        host="here",
        status=status,
        git="abc+",
        versions="torch-2",
    )
    if status in ("failed", "diverged"):
        error = {"class": "RuntimeError", "message": "no convergence"}
        return replace(record, error=error, trace="Traceback: line 7")
    value = 0.5 + k / 10 + seed / 1000 + len(method) / 77
    scores = {"accuracy": value, "accuracy/left": value / 2, "macro_f1": value / 3, "gap": 0.1}
    metrics = {"validation": scores}
    if stage == "final":
        metrics["test/clean"] = {name: x - 0.05 for name, x in scores.items()}
    curve = [value * e / EPOCHS for e in range(1, EPOCHS + 1)]
    return replace(record, metrics=metrics, curve=curve, epochs=EPOCHS, best_epoch=EPOCHS)


def written(storage, record):
    """Leave what a worker leaves in a run's folder."""
    folder = storage.run(record.key)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"key": record.key}))
    if record.curve:
        curve = [
            {"epoch": e, "loss/fused": 1 / e, "validation/accuracy": v} for e, v in enumerate(record.curve, 1)
        ]
        (folder / "curve.json").write_text(json.dumps(curve))
        np.savez(folder / "predictions.npz", **PREDICTED)
        (folder / "best.pt").write_bytes(b"weights")
    return record


def whole_study():
    """A finished study: joint #1 selected; lfm #0 pruned and diverged, #1 failed once and selected."""
    yield plan()
    for method in ("joint", "lfm"):
        for k in (0, 1):
            yield proposed(method, k)
    for k in (0, 1):
        yield from (run("joint", k, "search", seed) for seed in (0, 1))
    yield run("lfm", 0, "search", 0, "pruned")
    yield run("lfm", 0, "search", 1, "diverged")
    yield from (run("lfm", 1, "search", seed) for seed in (0, 1))
    for method in ("joint", "lfm"):
        yield selected(method, 1, {s: f"{method}-1-final-{s}" for s in (100, 101, 102)})
    yield from (run("joint", 1, "final", seed) for seed in (100, 101, 102))
    yield from (run("lfm", 1, "final", seed) for seed in (100, 101))
    yield run("lfm", 1, "final", 102, "failed")


def append(storage, records):
    ledger = Ledger(storage.ledger)
    for record in records:
        ledger.append(written(storage, record) if isinstance(record, RunRecord) else record)
    return ledger


def uri_of(storage):
    return f"sqlite:///{storage.root}/mlflow.db"


def mirror(storage, study="study", uri=None):
    """Start a tracker on what the ledger holds and close it."""
    tracker = Tracker(study, storage, Ledger(storage.ledger), uri)
    tracker.start()
    tracker.close()
    return tracker


class View:
    """What MLflow's own client reads."""

    def __init__(self, storage, study="study"):
        self.client, self.folder = tracking.connect(uri_of(storage)), storage.root / "mlartifacts"
        self.experiment = self.client.get_experiment_by_name(study)
        runs = self.client.search_runs([self.experiment.experiment_id])
        assert len({r.info.run_name for r in runs}) == len(runs)
        self.runs = {r.info.run_name: r for r in runs}

    def __getitem__(self, name):
        return self.runs[name]

    def tag(self, name, tag):
        return self[name].data.tags[f"sweeper.{tag}"]

    def statuses(self):
        return {name: r.info.status for name, r in self.runs.items()}

    def children(self, name):
        parent = self[name].info.run_id
        return {n for n, r in self.runs.items() if r.data.tags.get("mlflow.parentRunId") == parent}

    def artifact(self, name, path):
        """What a server that is given the folder beside the database would send."""
        place = self[name].info.artifact_uri
        assert place == f"mlflow-artifacts:/{self[name].info.run_id}/artifacts"
        return (self.folder / place.removeprefix("mlflow-artifacts:/") / path).read_bytes()


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def first_use(tmp_path_factory):
    """A storage on which a tracker has made the database, and what that printed."""
    storage, terminal = Storage(tmp_path_factory.mktemp("first")), io.StringIO()
    append(storage, [plan(study="other")])
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        mirror(storage, "other")
    return storage, terminal.getvalue()


@pytest.fixture(scope="module")
def schema(first_use):
    """A database to start from, as making one takes seconds."""
    return (first_use[0].root / "mlflow.db").read_bytes()


@pytest.fixture
def storage(tmp_path, schema):
    (tmp_path / "mlflow.db").write_bytes(schema)
    return Storage(tmp_path)


@pytest.fixture(scope="module")
def shown(tmp_path_factory, schema):
    """The whole study mirrored: its storage, the tracker, and what MLflow shows."""
    storage = Storage(tmp_path_factory.mktemp("whole"))
    (storage.root / "mlflow.db").write_bytes(schema)
    ledger = append(storage, whole_study())
    storage.study("study").mkdir(parents=True)
    report.write(report.build(History.of("study", ledger.records)), storage.study("study"))
    (storage.study("study") / "figures").mkdir()
    (storage.study("study") / "figures" / "table.png").write_bytes(b"drawn")
    tracker = mirror(storage)
    return storage, tracker, View(storage)


def test_importing_it_does_not_import_mlflow():
    code = "import sys, sweeper.tracking.writing; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_making_the_database_prints_nothing(first_use):
    assert (first_use[0].root / "mlflow.db").exists()
    assert first_use[1] == ""


def test_an_experiment_is_a_study_described_with_its_table(shown):
    storage, tracker, view = shown
    note = view.experiment.tags["mlflow.note.content"]
    assert "| joint" in note
    assert view["study"].data.tags["mlflow.note.content"] == note
    assert tracker.how_to_open().startswith(f"sweeper ui --storage {storage.root}  # ")
    assert f"#/experiments/{view.experiment.experiment_id}/runs" in tracker.how_to_open()


def test_a_parent_is_a_configuration_and_a_child_is_a_run(shown):
    view = shown[2]
    kinds = Counter(r.data.tags["sweeper.kind"] for r in view.runs.values())
    assert kinds == {"study": 1, "configuration": 4, "run": 14}
    finals = {f"joint #1, final seed {seed}" for seed in (100, 101, 102)}
    assert view.children("joint #1") == {"joint #1, seed 0", "joint #1, seed 1"} | finals
    assert view.children("lfm #0") == {"lfm #0, seed 0", "lfm #0, seed 1"}


def test_a_parent_carries_parameters_axes_and_what_became_of_it(shown):
    view = shown[2]
    assert view["joint #1"].data.params == {"train.lr": "0.1", "tau β": "1!"}
    assert {view["joint #1"].data.tags[axis] for axis in AXES} == set(AXES.values())
    assert [view.tag(f"joint #{k}", "selected") for k in (0, 1)] == ["false", "true"]
    assert [view.tag(f"joint #{k}", "default") for k in (0, 1)] == ["true", "false"]
    assert RULE in view["joint #1"].data.tags["mlflow.note.content"]


@pytest.mark.parametrize("metric", ["accuracy", "accuracy/left", "gap"])
def test_mean_std_n_are_numpys_with_ddof_1(shown, metric):
    view, name = shown[2], metric.replace("/", ".")
    records = [r for r in whole_study() if isinstance(r, RunRecord) and r.done]
    for method in ("joint", "lfm"):
        found = view[f"{method} #1"].data.metrics
        for stage, split, prefix in (("search", "validation", ""), ("final", "test/clean", "test.")):
            values = [
                r.metrics[split][metric]
                for r in records
                if (r.arm, r.configuration, r.stage) == (f"arm-{method}", 1, stage)
            ]
            assert found[f"{prefix}{name}.mean"] == pytest.approx(np.mean(values), rel=1e-12)
            assert found[f"{prefix}{name}.std"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
            assert found[f"{prefix}{name}.n"] == len(values)
    assert found["test.accuracy.n"] == 2  # one of lfm's three failed, and says so


def test_a_parent_has_few_metrics_and_only_the_selected_one_has_test_metrics(shown):
    view = shown[2]
    names = {f"{m}.{s}" for m in ("accuracy", "accuracy.left", "gap") for s in ("mean", "std", "n")}
    curve = {f"validation/accuracy.{which}" for which in ("mean", "min", "max")}
    assert set(view["joint #0"].data.metrics) == names | curve
    assert set(view["joint #1"].data.metrics) == names | curve | {f"test.{name}" for name in names}
    assert view["lfm #0"].data.metrics == {}  # pruned and diverged: no mean


def test_statuses_say_how_it_ended(shown):
    expected = dict.fromkeys(shown[2].runs, "FINISHED")
    expected |= {"lfm #0, seed 0": "KILLED", "lfm #0, seed 1": "FAILED", "lfm #1, final seed 102": "FAILED"}
    assert shown[2].statuses() == expected


def test_a_child_carries_times_provenance_results_and_curves(shown):
    view, record = shown[2], run("joint", 1, "final", 100)
    child = view["joint #1, final seed 100"]
    assert (child.info.start_time, child.info.end_time) == (STARTED * 1000, (STARTED + 2.5) * 1000)
    for name in ("key", "stage", "seed", "status", "git", "versions", "arm"):
        assert child.data.tags[f"sweeper.{name}"] == str(getattr(record, name))
    assert child.data.params == view["joint #1"].data.params
    assert child.data.metrics["accuracy"] == record.validation["accuracy"]
    assert child.data.metrics["test.accuracy.left"] == record.metrics["test/clean"]["accuracy/left"]
    history = view.client.get_metric_history(child.info.run_id, "validation/accuracy")
    assert [(m.step, m.value) for m in history] == list(enumerate(record.curve, 1))
    assert [m.timestamp for m in history] == [
        int(STARTED * 1000 + 2500 * e / EPOCHS) for e in range(1, EPOCHS + 1)
    ]


def test_artifacts_are_there(shown):
    storage, _, view = shown
    for name in ("run.json", "curve.json", "predictions.npz", "best.pt"):
        own = (storage.run("joint-0-search-0") / name).read_bytes()
        assert view.artifact("joint #0, seed 0", name) == own
    for name in ("table.md", "table.html", "table.tex", "table.csv", "figures/table.png"):
        assert view.artifact("study", name) == (storage.study("study") / name).read_bytes()


def test_a_runs_files_are_there_once(shown):
    """A hard link in MLflow's folder; where the file system has none, a copy."""
    storage, _, view = shown
    place = storage.root / "mlartifacts" / view["joint #0, seed 0"].info.run_id / "artifacts"
    for name in ("run.json", "curve.json", "predictions.npz", "best.pt"):
        assert (place / name).samefile(storage.run("joint-0-search-0") / name)
    summary = storage.root / "mlartifacts" / view["study"].info.run_id / "artifacts"
    assert not (summary / "table.md").samefile(storage.study("study") / "table.md")  # it is written anew


def test_files_are_copied_where_they_cannot_be_linked(storage, monkeypatch):
    def refuses(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(connection.os, "link", refuses)
    append(storage, few(["joint"]))
    mirror(storage)
    assert View(storage).artifact("joint #0, seed 0", "best.pt") == b"weights"


def test_a_failed_run_tells_why(shown):
    view = shown[2]
    assert view.tag("lfm #1, final seed 102", "error") == "RuntimeError: no convergence"
    assert view.artifact("lfm #1, final seed 102", "traceback.txt") == b"Traceback: line 7"


def test_a_moved_storage_is_still_whole(storage, tmp_path_factory):
    """Artifacts by a server at the new place, the table without one, and what is missing by the study's next start."""
    append(storage, few(["joint"]))
    mirror(storage)
    place = tmp_path_factory.mktemp("elsewhere") / "store"
    shutil.move(storage.root, place)
    moved = Storage(place)
    assert fetch_records(uri_of(moved), "study") == list(few(["joint"]))
    append(moved, [run("joint", 0, "search", 1)])
    mirror(moved)
    for seed in (0, 1):
        assert View(moved).artifact(f"joint #0, seed {seed}", "best.pt") == b"weights"
    assert not storage.root.exists()


def test_what_is_of_a_language_model_is_not_shown(shown):
    assert shown[2].experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_final_run_shows_its_predictions_as_a_table_and_a_search_run_does_not(shown):
    view = shown[2]
    final = view["joint #1, final seed 100"]
    assert json.loads(final.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "predictions.json", "type": "table"}
    ]
    assert json.loads(view.artifact("joint #1, final seed 100", "predictions.json")) == {
        "columns": ["row", "target", "predicted", "predicted by left alone", "probability", "right"],
        "data": [[7, 0, 0, 1, 0.75, True], [8, 1, 0, 1, 0.5, False], [9, 1, 1, 1, 0.875, True]],
    }
    folder = view.folder / view["joint #1, seed 0"].info.run_id / "artifacts"
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "curve.json",
        "predictions.npz",
        "best.pt",
    }


def test_a_selected_configuration_shows_confusion_over_its_seeds(shown):
    view = shown[2]
    page = view.artifact("joint #1", "confusion.html").decode()
    assert "validation, tuning seeds: 66.7% of 6 right" in page
    assert "test, clean, report seeds: 66.7% of 9 right" in page
    assert (
        "test, clean: 66.7% of 3 right"
        in view.artifact("joint #1, final seed 100", "confusion.html").decode()
    )
    assert not (view.folder / view["joint #0"].info.run_id).exists()


def test_predictions_of_numbers_have_errors_and_those_of_many_targets_no_table(tmp_path):
    number = {"index": np.arange(2), "target": np.array([1.0, 2.0]), "predicted": np.array([1.5, 1.75])}
    several = {**PREDICTED, "target": np.eye(3)}
    np.savez(tmp_path / "predictions.npz", **number)
    np.savez(tmp_path / "predictions-gaussian-5.npz", **several)
    found = predictions.read(tmp_path)
    assert json.loads(predictions.table(found))["data"] == [[0, 1.0, 1.5, 0.5], [1, 2.0, 1.75, -0.25]]
    assert predictions.table({"clean": found["gaussian-5"]}) == ""
    assert [predictions.confusion(arrays) for arrays in found.values()] == [None, None]
    assert predictions.page({}) == ""


def test_a_configuration_shows_its_mean_curve_between_the_extremes_of_its_seeds(shown):
    view = shown[2]
    curves = [run("joint", 0, "search", seed).curve for seed in (0, 1)]
    one = view["joint #0"]
    assert one.data.tags["sweeper.curve"] == "0, 1"
    for name, of in (("mean", np.mean), ("min", np.min), ("max", np.max)):
        history = view.client.get_metric_history(one.info.run_id, f"validation/accuracy.{name}")
        assert [m.step for m in history] == [1, 2, 3, 4]
        assert [m.value for m in history] == pytest.approx(of(curves, axis=0))
    assert "sweeper.curve" not in view["lfm #0"].data.tags  # none of its runs was finished


def test_a_curve_over_more_seeds_takes_the_place_of_the_first(storage):
    first = [run("joint", 0, "search", 0), selected("joint", 0, {})]
    append(storage, [plan(["joint"]), proposed("joint", 0), *first])
    mirror(storage)
    assert View(storage)["joint #0"].data.tags["sweeper.curve"] == "0"
    append(storage, [run("joint", 0, "search", 1)])
    mirror(storage)
    view = View(storage)
    assert view["joint #0"].data.tags["sweeper.curve"] == "0, 1"
    assert view.children("joint #0") == {"joint #0, seed 0", "joint #0, seed 1"}
    history = view.client.get_metric_history(view["joint #0"].info.run_id, "validation/accuracy.mean")
    assert len(history) == EPOCHS


def test_what_a_run_used_is_among_the_systems_metrics(storage):
    used = replace(run("joint", 0, "search", 0), memory_mb=800.0)
    append(storage, [plan(["joint"]), used])
    mirror(storage)
    metrics = View(storage)["joint #0, seed 0"].data.metrics
    assert {k: v for k, v in metrics.items() if k.startswith("system/")} == {
        "system/seconds": 2.5,
        "system/memory_mb": 800.0,
    }


def test_saved_views_name_columns_that_exist(shown):
    view = shown[2]
    known = {f"metrics.`{m}`" for m in view["joint #1"].data.metrics}
    known |= {f"params.`{p}`" for p in view["joint #1"].data.params}
    for key, names in (
        ("best", {f"{m} #{k}" for m in ("joint", "lfm") for k in (0, 1)}),
        ("reported", {"joint #1", "lfm #1"}),
    ):
        state = json.loads(json.loads(view.experiment.tags[f"mlflow.sharedViewState.{key}"])["state"])
        assert {state["orderByKey"], *state["selectedColumns"]} <= known | {"params.`tau β`"}
        found = view.client.search_runs([view.experiment.experiment_id], state["searchFilter"])
        assert {r.info.run_name for r in found} == names


def test_the_same_table_can_be_built_from_the_server_alone(shown):
    storage = shown[0]
    records = fetch_records(uri_of(storage), "study")
    assert records == list(whole_study())
    own = report.build(History.of("study", Ledger(storage.ledger).records)).text()
    assert report.build(History.of("study", records)).text() == own


def test_only_records_that_concern_the_study_are_kept(storage):
    others = [plan(["mla"], "other"), proposed("mla", 0), run("mla", 0, "search", 0, study="other")]
    append(storage, [*others, *whole_study(), selected("joint", 0, {}, "other")])
    mirror(storage)
    assert fetch_records(uri_of(storage), "study") == list(whole_study())
    assert not any("mla" in name for name in View(storage).runs)


def test_a_run_of_another_study_counts_for_the_configuration_that_shares_it(storage):
    elsewhere = run("mla", 0, "final", 1, key="common", study="other")
    shared = Shared(arm="arm-joint", configuration=0, stage="search", seed=1, key="common")
    own = [plan(["joint"]), proposed("joint", 0), run("joint", 0, "search", 0), shared]
    append(storage, [elsewhere, *own])
    mirror(storage)
    seen = View(storage)
    values = [r.validation["accuracy"] for r in (elsewhere, own[2])]
    assert seen["joint #0"].data.metrics["accuracy.mean"] == pytest.approx(np.mean(values))
    assert seen["joint #0"].data.metrics["accuracy.n"] == 2
    assert not any(
        name.startswith("test") for name in seen["joint #0, seed 1"].data.metrics
    )  # not tuning's to see
    assert {"joint #0", "joint #0, seed 0", "joint #0, seed 1"} < set(seen.runs)
    assert fetch_records(uri_of(storage), "study") == [elsewhere, *own]


def test_fetching_an_unknown_study_names_the_known_ones(shown):
    with pytest.raises(UserError, match=r"stduy.*study"):
        fetch_records(uri_of(shown[0]), "stduy")


def content(storage):
    """Every row that counts."""
    with contextlib.closing(sqlite3.connect(storage.root / "mlflow.db")) as database:
        tables = ("experiments", "experiment_tags", "runs", "metrics", "latest_metrics", "params", "tags")
        return {table: sorted(map(repr, database.execute(f"select * from {table}"))) for table in tables}


def test_a_second_start_writes_nothing(storage):
    append(storage, whole_study())
    mirror(storage)
    before, (ledger,) = content(storage), (storage.root / "mlartifacts").rglob("ledger.jsonl")
    age = ledger.stat().st_mtime_ns
    mirror(storage)
    assert content(storage) == before
    assert ledger.stat().st_mtime_ns == age


@pytest.mark.parametrize(
    ("call", "nth"), [("create_run", 9), ("log_batch", 1), ("add", 2), ("set_terminated", 8)]
)
def test_a_crash_in_the_middle_is_made_good_at_the_next_start(storage, shown, monkeypatch, call, nth):
    from mlflow import MlflowClient

    ledger = append(storage, whole_study())
    owner = connection.Artifacts if call == "add" else MlflowClient
    real, calls = getattr(owner, call), []

    def dies(*args, **kwargs):
        calls.append(args)
        if len(calls) == nth:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, call, dies)
    with pytest.raises(KeyboardInterrupt):
        tracking.Mirror(uri_of(storage), "study", storage).update(ledger.records, False)
    monkeypatch.undo()
    mirror(storage)
    view = View(storage)
    assert view.statuses() == shown[2].statuses()
    for name, one in shown[2].runs.items():
        if name != "study":
            assert (view[name].data.metrics, view[name].data.params) == (one.data.metrics, one.data.params)


def test_a_dead_server_costs_one_sentence_and_is_made_good(storage, capfd):
    append(storage, whole_study())
    began = time.monotonic()
    tracker = mirror(storage, uri=DEAD)
    assert time.monotonic() - began < 30
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert DEAD in err
    assert DEAD in tracker.how_to_open()
    mirror(storage)
    assert len(View(storage).runs) == 19


def test_closing_is_bounded_even_if_the_server_hangs(storage, capfd, monkeypatch):
    append(storage, [plan()])
    monkeypatch.setattr(tracking, "connect", lambda uri: time.sleep(3))
    tracker = Tracker("study", storage, Ledger(storage.ledger))
    tracker.start()
    began = time.monotonic()
    tracker.close(0.2)
    assert time.monotonic() - began < 2
    assert "0 s" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://me:secret@host/at", "https://***@host/at"),
        ("postgresql+psycopg2://me:s/cr@t@host/db", "postgresql+psycopg2://***@host/db"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_passwords_are_told_to_nobody(storage, capfd, monkeypatch, uri, told):
    def fails(uri):
        raise OSError(f"no way to {uri}")

    append(storage, [plan()])
    monkeypatch.setattr(tracking, "connect", fails)
    tracker = mirror(storage, uri=uri)
    assert told in tracker.how_to_open()
    err = capfd.readouterr().err
    assert f"MLflow at {told} lacks" in err
    assert f"no way to {told}" in err
    monkeypatch.setattr(connection, "connect", fails)
    if "sqlite" not in uri:
        with pytest.raises(UserError) as raised:
            fetch_records(uri, "study")
        assert str(raised.value) == f"MLflow at {told} cannot be read (no way to {told})"


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_it_follows_a_study_that_goes_on(storage):
    ledger = append(storage, [plan(["joint"]), proposed("joint", 0), run("joint", 0, "search", 0)])
    tracker = Tracker("study", storage, ledger)
    tracker.start()
    tracking.connect(uri_of(storage))
    wait_for(
        lambda: View(storage).statuses().get("joint #0, seed 0") == "FINISHED" if tracker.page else False
    )
    assert View(storage).statuses()["joint #0"] == "RUNNING"
    ledger.append(run("joint", 0, "search", 1))
    tracker.wake()
    wait_for(lambda: View(storage)["joint #0"].data.metrics["accuracy.n"] == 2)
    tracker.close()
    assert View(storage).statuses()["joint #0"] == "KILLED"  # interrupted: nothing was selected
    append(storage, [selected("joint", 0, {100: "joint-0-final-100"}), run("joint", 0, "final", 100)])
    mirror(storage)
    assert View(storage).statuses()["joint #0"] == "FINISHED"
    assert View(storage)["joint #0"].data.metrics["test.accuracy.n"] == 1


def test_what_is_shown_after_its_first_run_ended_lasts_no_negative_time(storage):
    append(storage, [plan(), proposed("joint", 0)])
    mirror(storage)
    append(storage, [run("joint", 0, "search", 0)])
    mirror(storage)
    info = View(storage)["joint #0"].info
    assert info.end_time == info.start_time > STARTED * 1000


def test_a_run_carried_out_again_takes_the_place_of_the_failed_one(storage):
    append(storage, [plan(["joint"]), proposed("joint", 0), run("joint", 0, "search", 0, "failed")])
    mirror(storage)
    assert View(storage).statuses()["joint #0"] == "FAILED"
    append(storage, [run("joint", 0, "search", 0, started=STARTED + 60)])
    mirror(storage)
    view = View(storage)
    assert view.children("joint #0") == {"joint #0, seed 0"}
    assert view["joint #0, seed 0"].info.status == "FINISHED"
    assert view["joint #0"].data.metrics["accuracy.n"] == 1


def test_a_run_of_another_study_is_shown_where_it_counts(storage):
    reused = run("other", 5, "final", 100, key="shared", study="earlier")
    append(storage, [plan(["joint"]), reused, selected("joint", 0, {100: "shared"})])
    mirror(storage)
    view = View(storage)
    assert view.children("joint #0") == {"joint #0, final seed 100"}
    assert view["joint #0"].data.metrics["test.accuracy.mean"] == reused.metrics["test/clean"]["accuracy"]
    assert reused in fetch_records(uri_of(storage), "study")


def test_only_seeds_of_the_study_are_averaged(storage):
    append(storage, [plan(["joint"]), run("joint", 0, "search", 0), run("joint", 0, "search", 7)])
    mirror(storage)
    assert View(storage)["joint #0"].data.metrics["accuracy.n"] == 1
    assert len(View(storage).children("joint #0")) == 2


def few(arms=("joint", "lfm")):
    yield plan(arms)
    yield from (run(method, 0, "search", 0) for method in arms)


def test_what_an_earlier_version_of_the_study_showed_is_marked(storage):
    append(storage, few())
    mirror(storage)
    append(storage, [plan(["joint"])])
    mirror(storage)
    view = View(storage)
    assert view.tag("lfm #0 (superseded)", "kind") == "superseded"
    assert view.tag("joint #0", "kind") == "configuration"
    append(storage, [plan()])
    mirror(storage)
    assert View(storage).tag("lfm #0", "kind") == "configuration"


@pytest.mark.parametrize("name", ["joint #0", "joint #0, seed 0", "study"])
def test_what_was_deleted_by_hand_is_shown_again(storage, name):
    append(storage, few(["joint"]))
    mirror(storage)
    view = View(storage)
    view.client.delete_run(view[name].info.run_id)
    mirror(storage)
    assert View(storage).runs.keys() == view.runs.keys()
    assert View(storage).children("joint #0") == {"joint #0, seed 0"}


def test_a_deleted_experiment_is_restored(storage):
    append(storage, few())
    mirror(storage)
    view = View(storage)
    view.client.delete_experiment(view.experiment.experiment_id)
    mirror(storage)
    assert View(storage).runs.keys() == view.runs.keys()


def test_one_broken_folder_does_not_hide_the_other_runs(storage, capfd):
    append(storage, whole_study())
    (storage.run("joint-0-search-0") / "curve.json").write_text("{")
    mirror(storage)
    assert capfd.readouterr().err.count("\n") == 1
    assert "joint #0, seed 0" not in View(storage).runs
    assert View(storage).statuses()["lfm #1, final seed 101"] == "FINISHED"


def test_labels_tell_arms_apart_with_as_few_axes_as_possible():
    def names(*axes):
        return short_names(axes)

    joint, other = {**AXES, "method": "joint"}, {**AXES, "method": "lfm", "fusion": "sum"}
    assert names(joint, other) == ["joint", "lfm"]
    assert names(joint, {**joint, "fusion": "sum"}) == ["joint concat", "joint sum"]
    assert names(joint, {**joint, "dataset": "fsdd", "encoders": "a: cnn"}) == ["joint digits", "joint fsdd"]


def test_results_are_called_by_split_and_metric():
    assert outline.title("validation", "accuracy/left") == "accuracy.left"
    assert outline.title("test/clean", "accuracy") == "test.accuracy"
    assert outline.title("test/gaussian-5", "accuracy") == "test.gaussian-5.accuracy"
