"""What commands print for programs: JSON, with the same facts as their text."""

from __future__ import annotations

import json
import math

import pytest

from sweeper import bridge
from sweeper.cli import main
from sweeper.commands.base import dumped
from sweeper.commands.catalogue import PARTS
from tests.sweeper.test_cli import begun, said  # noqa: F401 - fixtures


def read(text: str):
    """Return JSON, of which NaN is no part."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_numbers_that_json_does_not_know_are_null():
    found = {"a": math.nan, 1: (math.inf, 0.5), "b": {"c": [-math.inf]}}
    assert read(dumped(found)) == {"a": None, "1": [None, 0.5], "b": {"c": [None]}}


def test_a_plan(said, begun):  # noqa: F811
    found = read(said("plan", begun(5), "--json")[1])
    assert [(arm["name"], arm["configurations"], arm["runs"], arm["done"]) for arm in found["arms"]] == [
        ("joint", 3, 7, 3),
        ("ogm", 3, 7, 2),
    ]
    assert (found["left"]["runs"], found["left"]["seconds"]) == (9, 27.0)
    assert found["report_seeds"] == [100, 101]
    joint = found["arms"][0]
    assert joint["known"][0]["configuration"] == 0
    assert joint["known"][0]["parameters"]["train.lr"] == 0.01
    assert joint["searched"]["train.batch_size"] == {"choice": [32, 64, 128]}
    assert joint["searched"]["train.lr"][0] == {
        "float": [0.001, 0.3],
        "log": True,
        "when": {"train.optimizer": ["sgd"]},
    }
    assert found["warnings"] == found["left_out"] == []


def test_what_is_left_out_of_a_plan(said, study_file):  # noqa: F811
    path = study_file(methods=["joint", "lfm"], dataset={"name": "synthetic", "modalities": 1})
    (left,) = read(said("plan", path, "--skip-unfit", "--json")[1])["left_out"]
    assert left["axes"]["method"] == "lfm"
    assert "at least 2 modalities" in left["reason"]


def test_status_and_report(said, begun):  # noqa: F811
    assert read(said("status", "--json")[1]) == []
    begun()
    (found,) = read(said("status", "--json")[1])
    runs = {"final": {"done": 4}, "search": {"done": 10}}
    assert found == {"study": "tiny", "arms": 2, "selected": 2, "runs": runs, "now": None}
    report = read(said("report", "tiny", "--json")[1])
    assert report == read(said("report", "tiny", "--format", "json")[1])
    assert (report["rows"], report["columns"], report["complete"]) == (["method"], ["metric"], True)
    text = said("report", "tiny")[1]
    for cell in report["cells"]:
        assert cell["mean"] == pytest.approx(sum(cell["values"].values()) / cell["n"])
        assert f"{100 * cell['mean']:.1f} ± " in text
    assert {cell["axes"]["method"] for cell in report["cells"]} == {"joint", "ogm"}
    assert all(sentence.split(".")[0] in text for sentence in report["caption"])


@pytest.mark.parametrize("command", ["methods", *PARTS, "conditions", "metrics"])
def test_the_catalogue(said, command):  # noqa: F811
    every = read(said(command, "--json")[1])
    names = [own["name"] for own in every]
    assert all(name in said(command)[1] for name in names)
    assert read(said(command, names[-1], "--json")[1]) == every[-1:]
    code, out, err = said(command, "nothing-such", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_what_is_told_of_methods_and_datasets(said):  # noqa: F811
    (found,) = read(said("methods", "ogm", "--json")[1])
    assert found["parameters"]["alpha"]["default"] == bridge.entry("method", "ogm").defaults()["alpha"]
    assert (found["modalities"], found["hooks"]) == ([2, None], ["modulate"])
    assert "CVPR 2022" in found["paper"]
    (dataset,) = read(said("datasets", "mvsa_single", "--json")[1])
    assert dataset["published"]["licence"]


def test_what_a_storage_holds_for_nobody(said, begun, tmp_path):  # noqa: F811
    begun()
    (tmp_path / "store" / "runs" / "0123").mkdir(parents=True)
    (tmp_path / "store" / "runs" / "0123" / "result.json").write_text("{}")
    found = read(said("gc", "--json")[1])
    (waste,) = found["waste"]
    assert (waste["why"], waste["bytes"], found["removed"]) == ("a run that no study refers to", 2, False)
    assert read(said("gc", "--json", "--remove")[1])["removed"] is True
    assert read(said("gc", "--json")[1]) == {"waste": [], "bytes": 0, "removed": False}


def test_checks(said):  # noqa: F811
    code, out, _ = said("doctor", "--json")
    found = read(out)
    assert code == (0 if all(check["ok"] for check in found) else 1)
    assert any(check["check"].startswith("Python 3") for check in found)


def test_a_run_done_again(here, study_file, tmp_path, capsys):
    study = {"methods": ["joint"], "search": {"configurations": 1}, "final": {"seeds": [100]}}
    assert here("run", study_file(**study)).code == 0
    (key,) = (path.name for path in (tmp_path / "store" / "runs").iterdir())
    assert main(["repro", key[:8], "--json"]) == 0
    found = read(capsys.readouterr().out)
    assert (found["key"], found["matches"]) == (key, True)
    assert found["said"][-1].startswith("matches to the bit")
