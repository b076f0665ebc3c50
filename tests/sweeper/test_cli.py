"""The command line as its user reads it, run in this process; what only reads writes nothing."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from sweeper import ROOT, bridge, cli
from sweeper.ledger import uris
from sweeper.ledger.file import Ledger
from sweeper.ledger.provenance import package
from sweeper.planning.planner import Planner
from sweeper.running import fitting
from sweeper.service.session import announcement, as_record, proposals
from sweeper.study import schema as study
from sweeper.study.editors import json_schema
from sweeper.study.unfold import unfold

CHANGES = {"methods": ["joint", {"name": "ogm", "space": {"ge": False}}], "dataset": "synthetic"}


@pytest.fixture
def said(tmp_path, capsys, monkeypatch):
    """Run a command on a storage below tmp_path and return (exit code, what it printed, its errors)."""
    monkeypatch.setenv("SWEEPER_STORAGE", str(tmp_path / "store"))
    monkeypatch.delenv("SWEEPER_DATA", raising=False)

    def call(*arguments):
        try:
            code = cli.main(list(map(str, arguments)))
        except SystemExit as end:
            code = end.code
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def begun(tmp_path, study_file):
    """Carry out the first runs of a study with made-up results and return its file."""

    def fill(n=10**9, **changes):
        path = study_file(**CHANGES, **changes)
        loaded = study.load(str(path))
        unfolded = unfold(loaded)
        ledger = Ledger(uris.open_storage(str(tmp_path / "store")).ledger)
        origin = {"git": "abc", "versions": "v"}
        ledger.note(announcement(loaded, unfolded, [], "abc"))
        planner = Planner(loaded, unfolded, ledger.runs, proposals(unfolded, ledger), ledger.note)
        while n and (run := planner.take()) is not None:
            n -= 1
            scores = {"accuracy": 0.5 + int(run.key[:4], 16) / 2**18, "loss": 0.1}
            result = {
                "status": "done",
                "metrics": {"validation": scores, "test/clean": scores},
                "curve": [0.5],
            }
            result |= {"epochs": 1, "seconds": 3.0, "bytes": 2**20}
            record = as_record(loaded, run, result, origin)
            ledger.append(record)
            planner.settle(run.key, record)
        return path

    return fill


# init


def test_a_new_study_can_be_planned_and_is_not_written_over(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = said("init", "mine.yaml")
    assert (code, out.split(",")[0]) == (0, "written: mine.yaml")
    assert said("plan", "mine.yaml")[1].startswith("study mine: ")
    before = (tmp_path / "mine.yaml").read_text()
    code, out, err = said("init", "mine.yaml")
    assert (code, out, err) == (2, "", "sweeper: 'mine.yaml' is there already; name another file\n")
    assert (tmp_path / "mine.yaml").read_text() == before
    assert "cannot be written" in said("init", "no/folder.yaml")[2]
    assert said("init")[0] == 0
    assert said("plan", "study.yaml")[1].startswith("study study: ")
    assert said("init", "my study.yaml")[0] == 0
    assert said("plan", "my study.yaml")[1].startswith("study my_study: ")


# plan


def test_a_plan_lists_arms_configurations_runs_and_writes_nothing(said, study_file, tmp_path):
    code, out, err = said("plan", study_file(**CHANGES))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == (
        "study tiny: 2 arms, up to 14 runs, 0 done; tuning seeds [0, 1], report seeds [100, 101], tpe, racing halving"
    )
    assert lines[1] == "joint: 3 configurations, up to 7 runs, 0 done"
    assert lines[2] == (
        "  #0 the published defaults: train.epochs 2, train.optimizer sgd,"
        " train.weight_decay 0.0001, train.batch_size 64, train.lr 0.01"
    )
    assert lines[3].startswith(
        "  and 2 more from: train.optimizer sgd|adam, train.weight_decay 1e-06…0.01 log"
    )
    assert "train.batch_size 32|64|128, train.lr 0.001…0.3 log or 0.0001…0.01 log" in lines[3]
    assert lines[4] == "ogm: 3 configurations, up to 7 runs, 0 done"
    assert "ge False" in lines[5]
    assert lines[-2].startswith("at once: up to ")
    assert lines[-1] == "time and disk: unknown until a first run is recorded"
    assert not (tmp_path / "store").exists()


def test_a_plan_tells_the_disk_that_files_take_once_they_are_read(said, study_file, tmp_path):
    rows = "".join(f"{i},a word,{'yes' if i % 2 else 'no'}\n" for i in range(64))
    (tmp_path / "mine.csv").write_text("id,text,label\n" + rows)
    text = {"text": {"name": "text", "features": 4096}}
    dataset = {"name": "table", "path": str(tmp_path / "mine.csv"), "columns": text}
    twice = [dataset, {**dataset, "validation_fraction": 0.3, "label": "b"}]
    out = said("plan", study_file(dataset=twice, methods=["joint"]))[1]
    assert "samples, read once on each machine: about 2.0 MB of disk" in out


def test_a_plan_knows_what_is_done_and_estimates_the_rest(said, begun):
    path = begun(5)
    code, out, _ = said("plan", path)
    assert code == 0
    assert "2 arms, up to 14 runs, 5 done" in out
    assert "joint: 3 configurations, up to 7 runs, 3 done" in out
    assert "#1 proposed: " in out
    assert "left: up to 9 runs, 27 s of training, about" in out
    assert "9.0 MB of disk" in out
    begun()
    assert "left: up to 0 runs, 0 s of training" in said("plan", path)[1]


def test_a_plan_takes_overrides_and_names_of_shipped_studies(said, study_file):
    code, out, _ = said("plan", study_file(), "--set", "search.configurations=5", "--set", "final.seeds=[7]")
    assert code == 0
    assert "joint: 5 configurations, up to 9 runs" in out
    assert "at once: up to " in out
    code, out, _ = said("plan", "quickstart")
    assert code == 0
    assert out.startswith("study quickstart: ")


def test_a_plan_says_of_what_nothing_is_searched(said, study_file, tmp_path, monkeypatch):
    plugin = """from sweeper.models.method import Method


class Own(Method):
    \"\"\"Own.\"\"\"

    def __init__(self, net, task, *, weight: float = 0.5) -> None:
        super().__init__(net, task)
"""
    (tmp_path / "own_method.py").write_text(plugin)
    monkeypatch.syspath_prepend(tmp_path)
    fixed = {"train.optimizer": "sgd", "train.lr": 0.1, "train.weight_decay": 0.0, "train.batch_size": 64}
    methods = ["joint", "own", {"name": "joint", "label": "fixed", "space": fixed}]
    lines = said("plan", study_file(methods=methods, plugins=["own_method"]))[1].splitlines()
    told = [line.partition(" done")[2] for line in lines if " configurations, up to " in line]
    assert told == [
        "",
        "; of the method's own parameters none is searched (weight)",
        "; nothing of it is searched",
    ]


def test_a_plan_for_more_than_this_machine_has_warns(said, study_file, monkeypatch):
    monkeypatch.setattr(fitting, "address", lambda: None)
    study = study_file(resources={"cpus": 1000})
    code, out, _ = said("plan", study)
    assert (code, out.splitlines()[-1].split(", but")[0]) == (0, "warning: a run needs 1 × (1000 CPU, 0 GPU)")
    monkeypatch.setattr(fitting, "address", lambda: "head:6379")  # of a cluster, Ray knows what it has
    assert "warning" not in said("plan", study)[1]


def test_a_plan_of_a_grid_counts_its_points(said, study_file):
    two = {
        "train.lr": {"choice": [0.1, 0.2]},
        "train.optimizer": "sgd",
        "train.weight_decay": 0.0,
        "train.batch_size": 64,
    }
    search = {"sampler": "grid", "configurations": 50, "seeds": [0]}
    _, out, _ = said("plan", study_file(methods=["joint"], space=two, search=search))
    assert "joint: 3 configurations, up to 5 runs" in out  # two points and the default


# status, report


def test_status_says_how_far_every_study_is(said, begun, tmp_path):
    assert said("status") == (0, f"no study in {tmp_path / 'store'} yet\n", "")
    begun(5)
    assert said("status") == (0, "tiny: 0 of 2 arms selected; 5 search done\n", "")
    begun()
    everything = "tiny: 2 of 2 arms selected; 10 search done, 4 final done\n"
    assert said("status") == said("status", "tiny") == (0, everything, "")
    begun(0, study="another")
    assert said("status", "tiny")[1] == everything
    assert "another: 0 of 2 arms selected; 10 search done, 4 final done\n" in said("status")[1]


def test_a_line_that_cannot_be_read_is_reported(said, begun, tmp_path):
    begun()
    path = tmp_path / "store" / "ledger.jsonl"
    lines = path.read_text().count("\n")
    with path.open("a") as ledger:
        ledger.write('{"kind":"run","key"')
    code, out, err = said("status")
    assert (code, out.count("\n")) == (0, 1)
    assert err == f"ledger line {lines + 1} cannot be read; it is kept and skipped\n"


def test_a_report_prints_the_table_and_touches_nothing(said, begun, tmp_path):
    begun()
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    code, out, err = said("report", "tiny")
    assert (code, err) == (0, "")
    assert out.startswith("| method ")
    assert "Test looks per arm: 1." in out
    for form, mark in (("latex", r"\toprule"), ("html", "<table"), ("csv", "method"), ("md", "| joint ")):
        code, out, _ = said("report", "tiny", "--format", form)
        assert code == 0
        assert mark in out
    code, out, _ = said(
        "report", "tiny", "--format", "csv", "--rows", "metric", "--columns", "method", "--metric", "loss"
    )
    assert {(row["method"], row["metric"]) for row in csv.DictReader(io.StringIO(out))} == {
        ("joint", "loss"),
        ("ogm", "loss"),
    }
    assert said("report", "tiny", "--comparisons")[1].startswith("# tiny: who differs from whom, by accuracy")
    assert said("report", "tiny", "--comparisons", "--format", "csv")[1].count("\n") > 1
    code, _, err = said("report", "tiny", "--comparisons", "--format", "html")
    assert (code, err) == (2, "sweeper: unknown format 'html'; admissible: csv, md\n")
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()} == before


def test_a_report_of_half_a_study_shows_means_only_when_asked(said, begun):
    begun(13)
    assert "n=1/2" in said("report", "tiny")[1]
    assert "(n=1/2)" in said("report", "tiny", "--partial")[1]


# methods, datasets, help


@pytest.mark.parametrize(("command", "kind"), [("methods", "method"), ("datasets", "dataset")])
def test_what_can_be_named_is_listed(said, command, kind):
    code, out, err = said(command)
    assert (code, err) == (0, "")
    listed = [line.split()[0].removesuffix(":") for line in out.splitlines() if not line.startswith(" ")]
    assert listed == [*(["method"] if kind == "method" else []), *bridge.entries(kind)]


@pytest.mark.parametrize(
    ("command", "names"), [("methods", ["ogm", "joint"]), ("datasets", ["fsdd", "digits"])]
)
def test_what_is_named_is_shown_in_full_in_the_order_asked_for(said, command, names):
    code, out, err = said(command, *names)
    assert (code, err) == (0, "")
    assert [page.splitlines()[0] for page in out.split("\n\n\n")] == names
    for page, name in zip(out.split("\n\n\n"), names, strict=True):
        entry = bridge.entry(command.removesuffix("s"), name)
        assert entry.doc in page
        for key, parameter in entry.parameters.items():
            assert any(
                line.startswith(f"{key} ") and line.endswith(parameter.admissible)
                for line in page.splitlines()
            )


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["methods", "joint", "lable_smoothing"], "unknown method 'lable_smoothing'; did you mean 'label_smoothing'?"),
        (["datasets", "digit3"], "unknown dataset 'digit3'; did you mean 'digits3'?"),
    ],
)  # fmt: skip
def test_a_name_that_is_misspelt_is_told_with_the_nearest(said, command, sentence):
    code, out, err = said(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"sweeper: {sentence}")


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in cli.COMMANDS)])
def test_help_is_there(said, arguments):
    code, out, err = said(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("usage: sweeper")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run"], "the following arguments are required: study"),
        (["plan", "quickstart", "--sett", "a=b"], "unrecognized arguments: --sett a=b"),
        (["plan", "quickstart", "--se", "a=b"], "unrecognized arguments: --se a=b"),
        (["report", "tiny", "--format"], "argument --format: expected one argument"),
    ],
)
def test_a_command_that_is_wrong_is_told_in_one_line(said, tmp_path, arguments, sentence):
    code, out, err = said(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("sweeper")
    assert sentence in err
    assert "--help" in err
    assert not (tmp_path / "store").exists()


def test_the_version_is_told(said):
    assert said("--version") == (0, f"sweeper {package()}\n", "")


def test_the_schema_of_studies_is_printed(said):
    code, out, err = said("schema")
    assert (code, json.loads(out), err) == (0, json_schema(), "")


def test_a_reader_that_stops_reading_is_no_error():
    command = f"{sys.executable} -m sweeper.cli methods | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
